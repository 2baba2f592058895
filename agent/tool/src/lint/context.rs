//! What one version of HAProxy reads: its sections, and each filter with its SPOE file.

use std::collections::{HashMap, HashSet};

use super::condition::Version;
use super::model::{Line, Section};

/// A filter of a proxy and the scope of the SPOE file that belongs to it.
pub(super) struct Engine<'c> {
    pub(super) name: String,
    /// The sections of its scope; none if the file was not found.
    pub(super) spoe: Vec<&'c Section>,
    /// The proxy, if the configuration of HAProxy is there.
    pub(super) proxy: Option<&'c Section>,
}

/// What one version reads.
pub(super) struct Context<'c> {
    pub(super) version: Version,
    pub(super) haproxy: &'c [Section],
    pub(super) engines: Vec<Engine<'c>>,
    /// By the names of log profiles.
    profiles: HashMap<&'c str, Vec<Element<'c>>>,
    /// By their names; the first of a name counts.
    pub(super) rings: HashMap<&'c str, &'c Section>,
    /// The lines `log …` of the section `global`.
    logs: Vec<&'c Line>,
}

/// An element otel@32473 and the line that has it.
pub(super) type Element<'c> = (&'c Line, &'c str);

const ELEMENT: &str = "[otel@32473";

/// So many lines of a `defaults` are looked at, and log lines of `global`, and elements of log profiles: each proxy that inherits or
/// names them has them again.
const MAX_SHARED: usize = 1000;

impl<'c> Engine<'c> {
    pub(super) fn sections(&self, kind: &'static str) -> impl Iterator<Item = &'c Section> + '_ {
        self.spoe.iter().copied().filter(move |section| section.kind() == kind)
    }

    /// The line that asks for it.
    pub(super) fn filter(&self, proxy: &'c Section) -> &'c Line {
        let mut filters = proxy.all(&["filter", "spoe"]);
        filters.find(|line| line.behind("engine").unwrap_or_default() == self.name).unwrap_or(&proxy.head)
    }
}

impl<'c> Context<'c> {
    pub(super) fn new(version: Version, haproxy: &'c [Section], engines: Vec<Engine<'c>>) -> Self {
        let mut profiles = HashMap::<_, Vec<_>>::new();
        for profile in haproxy.iter().filter(|section| section.kind() == "log-profile") {
            let elements = profile.lines.iter().filter_map(|line| Some((line, line.behind("sd")?)));
            profiles.entry(profile.name()).or_default().extend(elements.filter(|(_, sd)| sd.contains(ELEMENT)));
        }
        let rings = haproxy.iter().rev().filter(|section| section.kind() == "ring");
        let rings = rings.map(|ring| (ring.name(), ring)).collect();
        let global = haproxy.iter().filter(|section| section.kind() == "global");
        let logs = global.flat_map(|section| &section.lines).filter(|line| line.word(0) == "log");
        Context { version, haproxy, engines, profiles, rings, logs: logs.take(MAX_SHARED).collect() }
    }

    /// The elements in the log lines of a proxy that has these lines: that of its `log-format-sd`, and those of its targets' profiles.
    pub(super) fn elements(&self, lines: &[&'c Line]) -> Vec<Element<'c>> {
        // The proxy's own comes last and counts.
        let own = lines.iter().rfind(|line| line.word(0) == "log-format-sd").map(|line| (*line, line.word(1)));
        let targets = self.targets(lines).into_iter();
        // Several targets with one profile have its elements in common.
        let mut seen = HashSet::new();
        let profiles = targets.filter_map(|target| target.behind("profile")).filter(|profile| seen.insert(*profile));
        let named = profiles.filter_map(|profile| self.profiles.get(profile)).flatten().copied().take(MAX_SHARED);
        own.filter(|(_, element)| element.contains(ELEMENT)).into_iter().chain(named).collect()
    }

    /// The lines `log …` of a proxy; `log global` stands for those of the section `global`, once, as HAProxy takes it.
    pub(super) fn targets(&self, lines: &[&'c Line]) -> Vec<&'c Line> {
        let mut global = Some(&self.logs[..]);
        let logs = lines.iter().filter(|line| line.word(0) == "log");
        let one_or_all = logs.flat_map(|line| match line.word(1) {
            "global" => global.take().unwrap_or_default(),
            _ => std::slice::from_ref(line),
        });
        one_or_all.copied().collect()
    }

    /// The groups that rules send, each behind its engine.
    pub(super) fn sent_groups(&self) -> impl Iterator<Item = (&'c str, &'c str)> {
        let lines = self.haproxy.iter().flat_map(|section| &section.lines);
        lines.filter_map(|line| {
            let at = line.words.iter().position(|word| word == "send-spoe-group")?;
            Some((line.word(at + 1), line.word(at + 2)))
        })
    }

    /// What holds for a proxy: its own lines, and those of the defaults that it inherits, without what a later `no` takes back.
    pub(super) fn inherited(&self, proxy: &'c Section) -> Vec<&'c Line> {
        let defaults = proxy.defaults.and_then(|n| self.haproxy.get(n)).map_or(&[][..], |section| &section.lines);
        let defaults = defaults.get(..MAX_SHARED).unwrap_or(defaults);
        let mut taken_back = HashSet::new();
        let from_the_last = defaults.iter().chain(&proxy.lines).rev().filter(|line| match line.word(0) {
            "no" => {
                taken_back.insert((line.word(1), line.word(2)));
                false
            }
            "option" => !taken_back.contains(&("option", line.word(1))),
            "log" => !taken_back.contains(&("log", "")),
            _ => true,
        });
        let mut lines: Vec<_> = from_the_last.collect();
        lines.reverse();
        lines
    }
}

/// The arguments of a message: its key, if it has one, and the sample, with the line.
pub(super) fn arguments(message: &Section) -> impl Iterator<Item = (&Line, Option<&str>, &str)> {
    message.all(&["args"]).flat_map(|line| {
        line.words.iter().skip(1).map(move |word| match word.split_once('=') {
            // A key is a name; `=` inside of a sample's own arguments is none.
            Some((key, sample)) if !key.contains(['(', ',']) => (line, Some(key), sample),
            _ => (line, None, word.as_str()),
        })
    })
}
