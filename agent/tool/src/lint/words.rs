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
        let value = self.get(name).filter(|value| !value.is_empty())?;
        self.left.set(self.left.get().checked_sub(value.len())?);
        Some(value)
    }
}

/// Splits a line. `None` if a quote is not closed, which HAProxy refuses itself.
pub(super) fn split(line: &str, environment: &Environment) -> Option<Vec<String>> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), c) => word.push(c),
            (None, '#') => break,
            (None, c) if c.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (_, '\\') => word.extend(chars.next().map(|escaped| match escaped {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            })),
            (Some('"'), '$') => {
                let braces = chars.next_if_eq(&'{').is_some();
                let name: String =
                    std::iter::from_fn(|| chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_')).collect();
                let rest: String = if braces {
                    let rest = std::iter::from_fn(|| chars.next_if(|c| *c != '}')).collect();
                    chars.next();
                    rest
                } else {
                    String::new()
                };
                let value = environment.expand(&name);
                match (value, rest.strip_prefix('-')) {
                    (Some(value), _) if rest.starts_with("[*]") => {
                        // Several words, of which the last one may go on.
                        let mut parts = value.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                        let last = parts.pop().unwrap_or_default();
                        words.extend(parts);
                        word.push_str(&last);
                    }
                    (Some(value), _) => word.push_str(value),
                    (None, Some(default)) => word.push_str(default),
                    (None, None) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_haproxy_splits() {
        let mut environment = Environment::default();
        environment.set("A", "a b", false);
        environment.set("A", "other", true);
        for (line, expected) in [
            ("  args  a=str(\"x y\") b  # c", &["args", "a=str(x y)", "b"][..]),
            ("a\\ b c\\#d 'e \"f\"' \"g 'h'\"", &["a b", "c#d", "e \"f\"", "g 'h'"]),
            ("\"${A}\" ${A} '${A}'", &["a b", "${A}", "${A}"]),
            ("x\"${A[*]}\"y \"${B-c}$B\" \"\"", &["a", "xby", "c", ""]),
            ("# only", &[]),
            ("", &[]),
        ] {
            assert_eq!(split(line, &environment).unwrap(), expected, "{line}");
        }
        for _ in 0..64 {
            environment.set("B", &split("\"$B$A${B-x}\"", &environment).unwrap().concat(), false);
        }
        assert!(environment.get("B").unwrap().len() <= MAX_EXPANDED);
        assert_eq!(split("a 'b", &environment), None);
        assert_eq!(split("a \"b", &environment), None);
    }
}
