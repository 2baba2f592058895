//! What is found, and how it is told.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::rc::Rc;

use serde::Serialize;

use super::condition::Version;
use super::model::Line;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// It does not work.
    Error,
    /// It works until something goes wrong.
    Warning,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) level: Level,
    /// What it looks for, and why.
    pub(super) about: &'static str,
}

/// File, line, rule and text, in the order in which they are told.
type Key = (Rc<str>, usize, &'static str, String);

/// What was found, and by which versions.
#[derive(Default)]
pub(super) struct Findings(BTreeMap<Key, (Level, Vec<Version>)>);

impl Findings {
    pub(super) fn add(&mut self, version: Version, rule: &'static Rule, line: &Line, text: impl Into<String>) {
        if line.allowed.iter().any(|allowed| allowed == rule.name) {
            return;
        }
        let key = (line.file.clone(), line.number, rule.name, text.into());
        let versions = &mut self.0.entry(key).or_insert_with(|| (rule.level, Vec::new())).1;
        if versions.last() != Some(&version) {
            versions.push(version);
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(_, _, rule, _), _| keep(rule));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A line each; the versions are told if it is not all of them.
    pub(super) fn print(&self, out: &mut impl Write, json: bool, all: &[Version]) -> io::Result<()> {
        for ((file, line, rule, text), (level, versions)) in &self.0 {
            if json {
                let versions = versions.iter().map(ToString::to_string).collect();
                let finding = Finding { file, line: *line, level: *level, rule, text, haproxy_versions: versions };
                serde_json::to_writer(&mut *out, &finding)?;
                writeln!(out)?;
                continue;
            }
            let level = if *level == Level::Error { "error" } else { "warning" };
            let some = (versions.len() < all.len()).then(|| {
                let list: Vec<_> = versions.iter().map(ToString::to_string).collect();
                format!(" (HAProxy {})", list.join(", "))
            });
            let (file, text) = (Shown(file), Shown(text));
            writeln!(out, "{file}:{line}: {level}: {text}{} [{rule}]", some.unwrap_or_default())?;
        }
        Ok(())
    }
}

/// Text of a file for a terminal, which takes no orders from it.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_debug()) } else { f.write_char(c) })
    }
}

#[derive(Serialize)]
struct Finding<'a> {
    file: &'a str,
    line: usize,
    level: Level,
    rule: &'a str,
    text: &'a str,
    haproxy_versions: Vec<String>,
}
