//! The words of a configuration line, as HAProxy splits it: quotes, escapes, comments, the environment in double quotes.

use std::cell::Cell;
use std::collections::HashMap;

/// Variables of the environment, and those that the configuration sets.
#[derive(Debug)]
pub(super) struct Environment {
    variables: HashMap<String, String>,
    /// How many bytes may still be put in: a variable that doubles itself in each line would fill any memory.
    left: Cell<usize>,
}

/// What all variables of a run may put in.
const MAX_EXPANDED: usize = 16 << 20;

impl Default for Environment {
    fn default() -> Self {
        Environment { variables: HashMap::new(), left: Cell::new(MAX_EXPANDED) }
    }
}

impl Environment {
    pub(super) fn of_process() -> Self {
        // What is no text is no part of a configuration.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Environment { variables: variables.collect(), ..Environment::default() }
    }

    pub(super) fn set(&mut self, name: &str, value: &str, only_if_unset: bool) {
        if !(only_if_unset && self.variables.contains_key(name)) {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// What stands for it in a line.
    fn expand(&self, name: &str) -> Option<&str> {
        let value = self.get(name)?;
        self.left.set(self.left.get().checked_sub(value.len())?);
        Some(value)
    }
}

/// Splits a line. `None` if a quote is not closed or the like, which HAProxy refuses itself.
pub(super) fn split(line: &str, environment: &Environment) -> Option<Vec<String>> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), c) => word.push(c),
            (None, '#') => break,
            (None, c) if is_space(c) => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (quote, '\\') => word.push(escaped(&mut chars, quote.is_some())?),
            (Some('"'), '$') => {
                let (value, several) = variable(&mut chars, environment)?;
                // Of several words the first one ends what stands before, and what follows ends the last one.
                let mut parts = value.split(is_space).filter(|part| !part.is_empty());
                if several {
                    let last = parts.next_back().unwrap_or_default();
                    for part in parts {
                        word.push_str(part);
                        words.push(std::mem::take(&mut word));
                    }
                    word.push_str(last);
                } else {
                    word.push_str(&value);
                }
            }
            (_, c) => word.push(c),
        }
        begun = true;
    }
    if quote.is_some() {
        return None;
    }
    if begun {
        words.push(word);
    }
    Some(words)
}

type Chars<'l> = std::iter::Peekable<std::str::Chars<'l>>;

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// What stands behind a backslash. What is no escape sequence keeps it. `None` if HAProxy refuses the line.
fn escaped(chars: &mut Chars<'_>, in_double_quotes: bool) -> Option<char> {
    let escaped = match chars.peek() {
        Some('t') => '\t',
        Some('n') => '\n',
        Some('r') => '\r',
        Some(c @ (' ' | '\\' | '#' | '\'' | '"')) => *c,
        Some('$') if in_double_quotes => '$',
        Some('x') => {
            chars.next();
            let digits = [chars.next()?.to_digit(16)?, chars.next()?.to_digit(16)?];
            return char::from_u32(digits[0] * 16 + digits[1]);
        }
        _ => return Some('\\'),
    };
    chars.next();
    Some(escaped)
}

/// A variable behind its `$`, and whether it stands for several words. `None` if HAProxy refuses the line.
fn variable(chars: &mut Chars<'_>, environment: &Environment) -> Option<(String, bool)> {
    let braces = chars.next_if_eq(&'{').is_some();
    let name: String =
        std::iter::from_fn(|| chars.next_if(|c| c.is_ascii_alphanumeric() || "_.".contains(*c))).collect();
    let value = environment.expand(&name);
    if !braces {
        return Some((value.unwrap_or_default().to_owned(), false));
    }
    let rest: String = std::iter::from_fn(|| chars.next_if(|c| *c != '}')).collect();
    chars.next()?;
    let (several, rest) = rest.strip_prefix("[*]").map_or((false, rest.as_str()), |rest| (true, rest));
    let value = value.or_else(|| rest.strip_prefix('-')).unwrap_or_default();
    Some((value.to_owned(), several))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_haproxy_splits() {
        let mut environment = Environment::default();
        environment.set("A", "a b", false);
        environment.set("A", "other", true);
        environment.set("E", "", false);
        for (line, expected) in [
            ("  args  a=str(\"x y\") b  # c", &["args", "a=str(x y)", "b"][..]),
            ("a\\ b c\\#d 'e \"f\"' \"g 'h'\"", &["a b", "c#d", "e \"f\"", "g 'h'"]),
            ("\"${A}\" ${A} '${A}'", &["a b", "${A}", "${A}"]),
            ("x\"${A[*]}\"y \"${B-c}$B\" \"\"", &["xa", "by", "c", ""]),
            ("\"${B[*]-c  d}\" \"${E-f}\"", &["c", "d", ""]),
            (r#"a\1 \$A "\$A" \x41\t\" '\n'"#, &["a\\1", "\\$A", "$A", "A\t\"", "\\n"]),
            ("a\u{a0}b\u{b}c", &["a\u{a0}b", "c"]),
            ("# only", &[]),
            ("", &[]),
        ] {
            assert_eq!(split(line, &environment).unwrap(), expected, "{line}");
        }
        for _ in 0..64 {
            environment.set("B", &split("\"$B$A${B-x}\"", &environment).unwrap().concat(), false);
        }
        assert!(environment.get("B").unwrap().len() <= MAX_EXPANDED);
        for refused in [r"a \x4", r"a \xgg", "a \"${A\""] {
            assert_eq!(split(refused, &environment), None, "{refused}");
        }
        assert_eq!(split("a 'b", &environment), None);
        assert_eq!(split("a \"b", &environment), None);
    }
}
