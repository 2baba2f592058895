//! What an expression of PromQL asks for: names and labels, not what it makes of them. That it is one, `promtool` says.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::vec::IntoIter;

/// A metric as an expression names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub name: String,
    /// Those it is chosen by, and those it is grouped by.
    pub labels: BTreeSet<String>,
    /// Labels and the values that are asked for.
    pub values: Vec<(String, String)>,
}

/// The metrics of an expression, and all labels that it groups by.
#[derive(Debug, Default)]
pub struct Query {
    pub used: Vec<Used>,
    pub by: BTreeSet<String>,
}

impl Query {
    pub fn parse(text: &str) -> Self {
        let mut query = Query::default();
        let mut tokens = tokens(text).into_iter().peekable();
        query.expression(&mut tokens, text);
        assert!(tokens.next().is_none(), "unbalanced: {text}");
        query
    }

    /// Up to a closing bracket or the end.
    fn expression(&mut self, tokens: &mut Peekable<IntoIter<Token>>, text: &str) {
        while let Some(token) = tokens.next_if(|token| *token != Token::Mark(')')) {
            match token {
                Token::Mark('(') => self.bracket(tokens, text),
                Token::Name(name) => match name.as_str() {
                    "and" | "or" | "unless" | "bool" | "offset" => {}
                    "by" => {
                        let labels = label_list(tokens, text);
                        assert_eq!(
                            tokens.next(),
                            Some(Token::Mark('(')),
                            "write `by (…)` before what it groups: {text}"
                        );
                        let before = self.used.len();
                        self.bracket(tokens, text);
                        self.used.iter_mut().skip(before).for_each(|used| used.labels.extend(labels.clone()));
                        self.by.extend(labels);
                    }
                    "without" | "on" | "ignoring" | "group_left" | "group_right" => {
                        panic!("not read here: {name}: {text}")
                    }
                    _ if tokens.peek().is_some_and(|next| *next == Token::Mark('(') || *next == Token::by()) => {} // a function
                    _ => {
                        let values = if tokens.next_if_eq(&Token::Mark('{')).is_some() {
                            matchers(tokens, text)
                        } else {
                            Vec::new()
                        };
                        let labels = values.iter().map(|(label, _)| label.clone()).collect();
                        self.used.push(Used { name, labels, values });
                    }
                },
                _ => {}
            }
        }
    }

    fn bracket(&mut self, tokens: &mut Peekable<IntoIter<Token>>, text: &str) {
        self.expression(tokens, text);
        assert_eq!(tokens.next(), Some(Token::Mark(')')), "{text}");
    }
}

fn label_list(tokens: &mut Peekable<IntoIter<Token>>, text: &str) -> BTreeSet<String> {
    assert_eq!(tokens.next(), Some(Token::Mark('(')), "{text}");
    let mut labels = BTreeSet::new();
    loop {
        match tokens.next() {
            Some(Token::Name(label)) => drop(labels.insert(label)),
            Some(Token::Mark(',')) => {}
            Some(Token::Mark(')')) => return labels,
            other => panic!("{other:?} among labels: {text}"),
        }
    }
}

/// Up to `}`. Values only where certain ones are asked for: `=`, and `=~` with plain alternatives.
fn matchers(tokens: &mut Peekable<IntoIter<Token>>, text: &str) -> Vec<(String, String)> {
    let mut values = Vec::new();
    loop {
        let label = match tokens.next() {
            Some(Token::Mark('}')) => return values,
            Some(Token::Mark(',')) => continue,
            Some(Token::Name(label)) => label,
            other => panic!("{other:?} among matchers: {text}"),
        };
        let mut operator = String::new();
        let value = loop {
            match tokens.next() {
                Some(Token::Mark(mark)) => operator.push(mark),
                Some(Token::Text(value)) => break value,
                other => panic!("{other:?} among matchers: {text}"),
            }
        };
        let plain = |c: char| c.is_alphanumeric() || "_-|".contains(c);
        match operator.as_str() {
            "=" => values.push((label, value)),
            "=~" if value.chars().all(plain) => {
                values.extend(value.split('|').map(|one| (label.clone(), one.to_owned())))
            }
            _ => values.push((label, String::new())),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Mark(char),
}

impl Token {
    fn by() -> Self {
        Token::Name("by".to_owned())
    }
}

/// Without numbers, ranges and white space.
fn tokens(text: &str) -> Vec<Token> {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let cut = |end: Option<usize>| end.unwrap_or(rest.len());
        let len = match first {
            '"' => 2 + rest[1..].find('"').expect("an end of the text"),
            '[' => 1 + rest.find(']').expect("an end of the range"),
            _ if begins(first) => cut(rest.find(|c: char| !begins(c) && !c.is_ascii_digit() && c != ':')),
            _ if first.is_ascii_digit() => cut(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.')),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(len);
        match first {
            '"' => tokens.push(Token::Text(token.trim_matches('"').to_owned())),
            _ if begins(first) => tokens.push(Token::Name(token.to_owned())),
            '[' | '0'..='9' => {}
            _ if first.is_whitespace() => {}
            _ => tokens.push(Token::Mark(first)),
        }
        rest = after;
    }
    tokens
}

#[test]
fn names_and_labels_are_found() {
    let query = Query::parse(
        r#"histogram_quantile(0.99, sum by (a, le) (rate(x_bucket{b=~"c|d",e!="f"}[5m]))) > 2 * (y{g="h"} or vector(0)) and rec:z:1m"#,
    );
    let used = |name: &str, labels: &[&str], values: &[(&str, &str)]| Used {
        name: name.to_owned(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        values: values.iter().map(|&(label, value)| (label.to_owned(), value.to_owned())).collect(),
    };
    let expected = [
        used("x_bucket", &["a", "b", "e", "le"], &[("b", "c"), ("b", "d"), ("e", "")]),
        used("y", &["g"], &[("g", "h")]),
        used("rec:z:1m", &[], &[]),
    ];
    assert_eq!(query.used, expected);
    assert_eq!(query.by.into_iter().collect::<Vec<_>>(), ["a", "le"]);
}
