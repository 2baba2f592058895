//! Files that are read: those of the command line, and those that filters name.

use std::collections::HashMap;
use std::io::{Error, Read};
use std::path::Path;
use std::rc::Rc;

use super::condition::Version;
use super::finding::Findings;
use super::model::{self, Section, Source};
use super::rules::UNREAD_FILE;
use super::words::Environment;
use crate::failure::Failure;

/// A configuration has so many bytes at most.
const MAX_FILE: u64 = 16 << 20;

/// And so many filters, or engines, of which each is looked at with its file.
pub(super) const MAX_FILTERS: usize = 256;

/// And so many sections in all these files.
const MAX_SECTIONS: usize = 50_000;

/// A line `filter spoe`.
pub(super) struct Filter {
    /// Which section it stands in.
    pub(super) proxy: usize,
    pub(super) engine: String,
    /// What it names; nothing if the SPOE files of the command line have the engine.
    pub(super) file: Option<Rc<[Section]>>,
}

impl Filter {
    /// Does a section of the file belong to it?
    pub(super) fn reads(&self, section: &Section) -> bool {
        section.scope == self.engine || section.scope.is_empty() && self.file.is_some()
    }
}

pub(super) fn read(path: &Path) -> Result<Source, Failure> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .and_then(|n| if n as u64 > MAX_FILE { Err(Error::other("longer than 16 MiB")) } else { Ok(()) })
        .map_err(|error| Failure::File { name: name.clone(), error })?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(Source { name: name.into(), text: String::from_utf8_lossy(&bytes).into(), folder })
}

/// The filters of a configuration. What cannot be read is a finding.
pub(super) fn filters(
    sections: &[Section],
    sources: &[&Source],
    version: Version,
    environment: &mut Environment,
    given: &[Section],
    findings: &mut Findings,
) -> Vec<Filter> {
    let global = sections.iter().filter(|section| section.kind() == "global");
    let default_path = global
        .flat_map(|section| section.all(&["default-path"]))
        .last()
        .map(|line| line.words.iter().skip(1).map(String::as_str).collect::<Vec<_>>().join(" "));
    let mut known = HashMap::<_, Option<Rc<[Section]>>>::new();
    let (mut filters, mut taken) = (Vec::new(), 0);
    let lines = sections.iter().enumerate().flat_map(|(n, section)| section.lines.iter().map(move |line| (n, line)));
    for (proxy, line) in lines.filter(|(_, line)| line.is(&["filter", "spoe"])) {
        if filters.len() == MAX_FILTERS || taken > MAX_SECTIONS {
            findings.add(version, &UNREAD_FILE, line, "this filter and those behind it are too many to be looked at");
            break;
        }
        let engine = line.behind("engine").unwrap_or_default().to_owned();
        if given.iter().any(|section| section.scope == engine) {
            taken += given.len();
            filters.push(Filter { proxy, engine, file: None });
            continue;
        }
        let named = line.behind("config").unwrap_or_default();
        let source = sources.iter().find(|source| source.name == line.file);
        let paths = source.map(|source| model::resolve(source, default_path.as_deref(), named)).unwrap_or_default();
        let file = paths.into_iter().find_map(|path| {
            let file = known.entry(path).or_insert_with_key(|path| {
                // A pipe might wait for ever.
                let source = path.is_file().then(|| read(path).ok()).flatten()?;
                Some(model::read(&source, version, environment).into())
            });
            file.clone()
        });
        if file.is_none() {
            let text = if named.is_empty() {
                "the name of the file is empty: is a variable of the environment unset?".to_owned()
            } else {
                format!("{named} cannot be read: name it on the command line as well, wherever it is")
            };
            findings.add(version, &UNREAD_FILE, line, text);
        }
        let file = file.unwrap_or_default();
        taken += file.len();
        filters.push(Filter { proxy, engine, file: Some(file) });
    }
    filters
}
