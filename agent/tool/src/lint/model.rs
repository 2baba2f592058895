//! Configurations as one version of HAProxy reads them: sections with their lines.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::condition::{Conditions, Version};
use super::words::{Environment, split};

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: Rc<str>,
    pub(super) text: Rc<str>,
    /// Where it lies.
    pub(super) folder: PathBuf,
}

/// A line that HAProxy reads.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) file: Rc<str>,
    pub(super) number: usize,
    pub(super) words: Vec<String>,
    /// Rules that a comment names: `# spop-lint: allow RULE`.
    pub(super) allowed: Vec<String>,
}

fn allowed(text: &str) -> Vec<String> {
    let rules = text.split("spop-lint: allow ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    rules.map(str::to_owned).collect()
}

impl Line {
    /// Does it begin so?
    pub(super) fn is(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len() && self.words.iter().zip(words).all(|(word, wanted)| word == wanted)
    }

    /// The word behind this one.
    pub(super) fn behind(&self, word: &str) -> Option<&str> {
        let at = self.words.iter().position(|other| other == word)?;
        self.words.get(at + 1).map(String::as_str)
    }

    pub(super) fn word(&self, n: usize) -> &str {
        self.words.get(n).map_or("", String::as_str)
    }
}

/// A section: its first line, and those below it.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) head: Line,
    pub(super) lines: Vec<Line>,
    /// Of an SPOE file, in brackets.
    pub(super) scope: String,
    /// The `defaults` that it inherits, among the sections of its files.
    pub(super) defaults: Option<usize>,
}

impl Section {
    pub(super) fn kind(&self) -> &str {
        self.head.word(0)
    }

    pub(super) fn name(&self) -> &str {
        self.head.word(1)
    }

    /// The lines that begin so.
    pub(super) fn all<'s>(&'s self, words: &'s [&'s str]) -> impl Iterator<Item = &'s Line> {
        self.lines.iter().filter(move |line| line.is(words))
    }

    pub(super) fn has(&self, words: &[&str]) -> bool {
        self.all(words).next().is_some()
    }
}

/// A file as this version reads it.
pub(super) fn read(source: &Source, version: Version, environment: &mut Environment) -> Vec<Section> {
    let (mut sections, mut conditions, mut scope) = (Vec::<Section>::new(), Conditions::default(), String::new());
    for (n, text) in source.text.lines().enumerate() {
        if conditions.reads() && text.trim_start().starts_with(".alert") {
            // This version refuses to load it.
            return Vec::new();
        }
        if conditions.take(text, version, environment) || !conditions.reads() {
            continue;
        }
        let Some(words) = split(text, environment).filter(|words| !words.is_empty()) else { continue };
        let line = Line { file: source.name.clone(), number: n + 1, words, allowed: allowed(text) };
        if let Some(name) = line.word(0).strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut scope);
            continue;
        }
        match line.word(0) {
            "presetenv" | "setenv" => environment.set(line.word(1), line.word(2), line.word(0) == "presetenv"),
            _ => {}
        }
        if SECTIONS.contains(&line.word(0)) {
            sections.push(Section { head: line, lines: Vec::new(), scope: scope.clone(), defaults: None });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        }
    }
    sections
}

const SECTIONS: [&str; 22] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "ring",
    "cache",
    "peers",
    "userlist",
    "resolvers",
    "mailers",
    "program",
    "http-errors",
    "log-forward",
    "log-profile",
    "fcgi-app",
    "crt-store",
    "traces",
    "acme",
    "spoe-agent",
    "spoe-message",
    "spoe-group",
];

/// Finds the `defaults` of each section: those that it names, else the last before it.
pub(super) fn link(sections: &mut [Section]) {
    let (mut named, mut last) = (HashMap::new(), None);
    for (n, section) in sections.iter_mut().enumerate() {
        section.defaults = section.head.behind("from").map_or(last, |name| named.get(name).copied());
        if section.kind() == "defaults" {
            named.insert(section.name().to_owned(), n);
            last = Some(n);
            section.defaults = None;
        }
    }
}

/// Is it an SPOE file? Else it is a configuration of HAProxy.
pub(super) fn is_spoe(text: &str) -> bool {
    let kinds = ["spoe-agent", "spoe-message", "spoe-group"];
    text.lines().any(|line| kinds.iter().any(|kind| line.trim_start().starts_with(kind)))
}

/// The path of a file that a configuration names.
pub(super) fn resolve(source: &Source, default_path: Option<&str>, named: &str) -> Vec<PathBuf> {
    let named = Path::new(named);
    let of_config = source.folder.join(named);
    match default_path {
        Some("config" | "parent") => vec![of_config],
        Some(path) if path.starts_with("origin") => {
            vec![Path::new(path.trim_start_matches("origin").trim()).join(named)]
        }
        // HAProxy takes the folder that it was started in; who checks stands elsewhere as a rule.
        _ => vec![named.to_owned(), of_config],
    }
}
