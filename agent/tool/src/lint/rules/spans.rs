//! What messages say of spans: names that are opened, values that are taken.

use std::collections::HashSet;

use super::super::context::{Context, Engine, arguments};
use super::super::finding::{Findings, Level::Error, Rule};
use super::super::model::Line;
use super::language::is_ours;

static UNKNOWN_SPAN: Rule = Rule {
    name: "unknown-span",
    level: Error,
    about: "child-of=, follows-from=, inject= and finish= name a span that a span= opens",
};
static UNKNOWN_VALUE: Rule = Rule {
    name: "unknown-value",
    level: Error,
    about: "kind= is one of five words, status= ok, error or a number, start= and end= microseconds: others are ignored",
};
static FOREIGN_MESSAGE: Rule = Rule {
    name: "foreign-message",
    level: Error,
    about: "spoa-otel answers a message whose name begins neither with otel: nor with opentracing: and does nothing",
};

pub(super) static RULES: &[&Rule] = &[&UNKNOWN_SPAN, &UNKNOWN_VALUE, &FOREIGN_MESSAGE];

const KINDS: [&str; 5] = ["server", "client", "internal", "producer", "consumer"];

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    for engine in &context.engines {
        check_names(context, engine, findings);
        check_values(context, engine, findings);
        check_foreign(context, engine, findings);
    }
}

/// The text of `str("…")`.
fn constant(sample: &str) -> Option<&str> {
    sample.strip_prefix("str(")?.strip_suffix(')').map(|text| text.trim_matches(['"', '\'']))
}

/// The arguments of the engine's messages, those without a name under the one before them.
fn all<'c>(engine: &Engine<'c>) -> impl Iterator<Item = (&'c Line, &'c str, &'c str)> {
    engine.sections("spoe-message").filter(|message| is_ours(message.name())).flat_map(|message| {
        arguments(message).scan("", |last, (line, key, sample)| {
            *last = key.filter(|key| !key.is_empty()).unwrap_or(last);
            Some((line, *last, sample))
        })
    })
}

fn check_names(context: &Context<'_>, engine: &Engine<'_>, findings: &mut Findings) {
    let opened = || all(engine).filter(|(_, key, _)| *key == "span").map(|(_, _, sample)| constant(sample));
    if opened().any(|name| name.is_none()) {
        // A name that only the request knows.
        return;
    }
    let opened: HashSet<_> = opened().flatten().collect();
    for (line, key, sample) in all(engine) {
        let refers = matches!(key, "child-of" | "follows-from" | "inject" | "finish");
        let Some(name) = constant(sample).filter(|_| refers) else { continue };
        let of_all = key == "finish" && matches!(name, "" | "*");
        if !of_all && !opened.contains(name) {
            let text = format!("no message opens the span {name:?} that {key}= names: write it as its span= does");
            findings.add(context.version, &UNKNOWN_SPAN, line, text);
        }
    }
}

fn check_values(context: &Context<'_>, engine: &Engine<'_>, findings: &mut Findings) {
    let mut last = "";
    for (line, key, sample) in all(engine) {
        // A status may have a description behind it.
        let first = std::mem::replace(&mut last, key) != key || key != "status";
        let text = match (key, constant(sample)) {
            ("kind", Some(kind)) if !KINDS.contains(&kind) => {
                format!("there is no kind {kind:?}: it is one of {}", KINDS.join(", "))
            }
            ("status", Some(status))
                if first && !matches!(status, "ok" | "error") && status.parse::<u16>().is_err() =>
            {
                format!("there is no status {status:?}: it is ok, error or an HTTP status")
            }
            ("start" | "end", _) if !in_microseconds(sample) => {
                format!("{sample} is not in microseconds: date(0,us), accept_date(us), request_date(us)")
            }
            _ => continue,
        };
        findings.add(context.version, &UNKNOWN_VALUE, line, text);
    }
}

/// Only HAProxy's dates are known to be in another unit.
fn in_microseconds(sample: &str) -> bool {
    let fetch = sample.split_once(')').map_or(sample, |(fetch, _)| fetch);
    let (name, arguments) = fetch.split_once('(').unwrap_or((fetch.split(',').next().unwrap_or_default(), ""));
    !matches!(name, "date" | "accept_date" | "request_date") || arguments.split(',').any(|unit| unit.trim() == "us")
}

fn check_foreign(context: &Context<'_>, engine: &Engine<'_>, findings: &mut Findings) {
    for agent in engine.sections("spoe-agent") {
        let lines = || agent.all(&["messages"]);
        if !lines().any(|line| line.words.iter().skip(1).any(|name| is_ours(name))) {
            continue;
        }
        for line in lines() {
            for name in line.words.iter().skip(1).filter(|name| !is_ours(name)) {
                let text =
                    format!("spoa-otel does nothing with {name}: name it otel:{name}, or give it an agent of its own");
                findings.add(context.version, &FOREIGN_MESSAGE, line, text);
            }
        }
    }
}
