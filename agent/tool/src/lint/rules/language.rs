//! The message language of spoa-otel (its manual: agent/docs/message-language.md).

use std::collections::HashMap;

use super::super::context::{Context, Engine, arguments};
use super::super::finding::{Findings, Level::Error, Rule};
use super::super::model::{Line, Section};
use super::super::nearest::nearest;

static UNKNOWN_ARGUMENT: Rule = Rule {
    name: "unknown-argument",
    level: Error,
    about: "an argument that the message language of spoa-otel does not have is skipped",
};
static MISPLACED_ARGUMENT: Rule = Rule {
    name: "misplaced-argument",
    level: Error,
    about: "arguments are read in order: id= first, then service=, and what belongs to a span behind its span=",
};
static MESSAGE_WITHOUT_ID: Rule = Rule {
    name: "message-without-id",
    level: Error,
    about: "a message without id= is rejected; only otel:request (lean mode) has none",
};
static UNIQUE_ID_FORMAT: Rule = Rule {
    name: "unique-id-format",
    level: Error,
    about: "unique-id is empty without `unique-id-format` in the frontend: an agent takes all requests for one, spoa-otel takes none",
};
static CLIENT_CHOSEN_ID: Rule = Rule {
    name: "client-chosen-id",
    level: Error,
    about: "ids that clients choose come twice: requests at the same time would share their spans",
};
static HEADER_CUT_AT_COMMAS: Rule = Rule {
    name: "header-cut-at-commas",
    level: Error,
    about: "req.hdr cuts a header's line at commas, req.fhdr does not: tracestate, baggage and User-Agent have commas",
};

pub(super) static RULES: &[&Rule] = &[
    &UNKNOWN_ARGUMENT,
    &MISPLACED_ARGUMENT,
    &MESSAGE_WITHOUT_ID,
    &UNIQUE_ID_FORMAT,
    &CLIENT_CHOSEN_ID,
    &HEADER_CUT_AT_COMMAS,
];

/// The arguments of a message with an id.
const ARGUMENTS: [&str; 21] = [
    "id",
    "service",
    "span",
    "child-of",
    "follows-from",
    "kind",
    "status",
    "tag",
    "event",
    "log",
    "baggage",
    "extract",
    "extract-tracestate",
    "extract-baggage",
    "extract-b3",
    "extract-b3multi",
    "extract-jaeger",
    "inject",
    "start",
    "end",
    "finish",
];
/// Those of the message of lean mode.
const LEAN_ARGUMENTS: [&str; 10] = [
    "service",
    "baggage",
    "extract",
    "extract-tracestate",
    "extract-baggage",
    "extract-b3",
    "extract-b3multi",
    "extract-jaeger",
    "path",
    "method",
];
/// They belong to the span before them.
const OF_A_SPAN: [&str; 9] = ["child-of", "follows-from", "kind", "status", "tag", "event", "log", "start", "end"];

/// Headers whose values have commas, in lower case.
const WITH_COMMAS: [&str; 8] =
    ["traceparent", "tracestate", "baggage", "user-agent", "b3", "uber-trace-id", "date", "if-modified-since"];

/// Is it a message for spoa-otel?
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with("otel:") || name.starts_with("opentracing:")
}

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    for engine in &context.engines {
        check_unique_id(context, engine, findings);
        let variables = by_clients(engine);
        for line in engine.proxy.into_iter().flat_map(|proxy| &proxy.lines) {
            if let Some((_, sample)) = set_var(line) {
                check_header(context, line, None, sample, findings);
            }
        }
        for message in engine.sections("spoe-message") {
            if is_ours(message.name()) {
                check_order(context, message, findings);
                check_id(context, &variables, message, findings);
            }
            check_headers(context, message, findings);
        }
    }
}

fn check_order(context: &Context<'_>, message: &Section, findings: &mut Findings) {
    let version = context.version;
    let lean = message.name() == "otel:request" && arguments(message).all(|(_, key, _)| key != Some("id"));
    let known: Vec<_> = if lean { LEAN_ARGUMENTS.to_vec() } else { ARGUMENTS.to_vec() };
    let (mut in_span, mut before) = (false, None);
    for (n, (line, key, sample)) in arguments(message).enumerate() {
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            if before.is_none() {
                let text = format!("{sample} has no name and continues nothing: it is skipped");
                findings.add(version, &MISPLACED_ARGUMENT, line, text);
            }
            continue;
        };
        let misplaced = if !known.contains(&key) {
            let advice = nearest(key, &known).map_or_else(String::new, |known| format!("; did you mean {known}=?"));
            let in_lean = if lean { " in lean mode" } else { "" };
            findings.add(
                version,
                &UNKNOWN_ARGUMENT,
                line,
                format!("there is no argument {key}={in_lean}: it is skipped{advice}"),
            );
            None
        } else if key == "id" && n > 0 {
            Some("id= has to be the first argument".to_owned())
        } else if key == "service" && n > usize::from(!lean) {
            Some("service= has to stand right behind id=".to_owned())
        } else if OF_A_SPAN.contains(&key) && !in_span {
            Some(format!("{key}= belongs to a span: put it behind span="))
        } else {
            None
        };
        if let Some(text) = misplaced {
            findings.add(version, &MISPLACED_ARGUMENT, line, text);
        }
        in_span |= key == "span";
        before = Some(key);
    }
}

fn check_id(context: &Context<'_>, variables: &HashMap<&str, &Line>, message: &Section, findings: &mut Findings) {
    let version = context.version;
    let Some((line, _, sample)) = arguments(message).find(|(_, key, _)| *key == Some("id")) else {
        if message.name() != "otel:request" {
            let text =
                format!("the message {} has no id=, so it is rejected: begin with `id=unique-id`", message.name());
            findings.add(version, &MESSAGE_WITHOUT_ID, &message.head, text);
        }
        return;
    };
    if by_client(sample) {
        let text = format!(
            "the client chooses {sample}, and may choose the same for two requests: take id=unique-id with `unique-id-format %[uuid]`"
        );
        findings.add(version, &CLIENT_CHOSEN_ID, line, text);
    }
    let Some(name) = sample.strip_prefix("var(").and_then(|rest| rest.split([')', ',']).next()) else { return };
    if let Some(line) = variables.get(name) {
        let text = format!("the client chooses {name}, which is the id of {}: take id=unique-id", message.name());
        findings.add(version, &CLIENT_CHOSEN_ID, line, text);
    }
}

/// The variables that rules of a proxy fill with what clients send.
fn by_clients<'c>(engine: &Engine<'c>) -> HashMap<&'c str, &'c Line> {
    let lines = engine.proxy.into_iter().flat_map(|proxy| &proxy.lines);
    let set = lines.filter_map(|line| {
        let (name, sample) = set_var(line)?;
        by_client(sample).then_some((name, line))
    });
    set.collect()
}

/// The variable that a rule sets, and the sample.
pub(super) fn set_var(line: &Line) -> Option<(&str, &str)> {
    line.words.iter().zip(line.words.iter().skip(1)).find_map(|(action, sample)| {
        let name = action.strip_prefix("set-var(")?.split([')', ',']).next()?;
        Some((name, sample.as_str()))
    })
}

/// The frontend makes the unique-id; a filter of a backend has that of any frontend.
fn check_unique_id(context: &Context<'_>, engine: &Engine<'_>, findings: &mut Findings) {
    let version = context.version;
    let takes = |sample: &str| sample == "unique-id" || sample.starts_with("unique-id,");
    let Some(proxy) = engine.proxy.filter(|proxy| matches!(proxy.kind(), "frontend" | "listen")) else { return };
    let uses = |message: &Section| arguments(message).any(|(_, _, sample)| takes(sample));
    if !engine.sections("spoe-message").any(uses) {
        return;
    }
    let lines = context.inherited(proxy);
    let Some(format) = lines.into_iter().rfind(|line| line.word(0) == "unique-id-format") else {
        let text = format!(
            "the messages of {} take the unique-id, and {} {} has no `unique-id-format %[uuid]`",
            engine.name,
            proxy.kind(),
            proxy.name()
        );
        findings.add(version, &UNIQUE_ID_FORMAT, engine.filter(proxy), text);
        return;
    };
    let is_key = |message: &Section| {
        is_ours(message.name()) && arguments(message).any(|(_, key, sample)| key == Some("id") && takes(sample))
    };
    if engine.sections("spoe-message").any(is_key) && by_client(&format.words.join(" ")) {
        let text = "the client chooses this id, and may choose the same for two requests: `unique-id-format %[uuid]`";
        findings.add(version, &CLIENT_CHOSEN_ID, format, text);
    }
}

/// Does a sample come from the request as it is?
pub(super) fn by_client(sample: &str) -> bool {
    ["req.hdr(", "req.fhdr(", "hdr(", "req.cook(", "url_param(", "urlp("].iter().any(|fetch| {
        sample
            .match_indices(fetch)
            .any(|(at, _)| !sample[..at].ends_with(|c: char| c.is_alphanumeric() || "._".contains(c)))
    })
}

fn check_headers(context: &Context<'_>, message: &Section, findings: &mut Findings) {
    for (line, key, sample) in arguments(message) {
        check_header(context, line, key, sample, findings);
    }
}

fn check_header(context: &Context<'_>, line: &Line, key: Option<&str>, sample: &str, findings: &mut Findings) {
    for fetch in ["req.hdr(", "hdr("] {
        let Some(rest) = sample.strip_prefix(fetch) else { continue };
        let name = rest.split([',', ')']).next().unwrap_or_default().to_ascii_lowercase();
        if WITH_COMMAS.contains(&name.as_str()) || key.is_some_and(|key| key.starts_with("extract")) {
            let text = format!("{fetch}{name}) cuts the header at commas: take req.fhdr({name})");
            findings.add(context.version, &HEADER_CUT_AT_COMMAS, line, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The first column of a table of the manual.
    fn told(heading: &str) -> Vec<String> {
        let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/message-language.md");
        let manual = std::fs::read_to_string(manual).unwrap();
        let part = manual.split(heading).nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
        let cells = part.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next().map(str::to_owned));
        let names = cells.flat_map(|cell| {
            let words: Vec<_> =
                cell.split(['`', ',', ' ']).filter_map(|word| word.strip_suffix('=')).map(str::to_owned).collect();
            words
        });
        names.collect()
    }

    fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
        list.sort();
        list
    }

    /// What the agent reads: its source says `b"name" => Keyword::Name`.
    #[test]
    fn the_language_is_that_of_the_agent() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/tracer/language.rs");
        let source = std::fs::read_to_string(source).unwrap();
        let keywords = source.lines().filter(|line| line.contains("=> Keyword::"));
        let names = keywords.filter_map(|line| line.trim().strip_prefix("b\"")?.split('"').next().map(str::to_owned));
        let all: HashSet<_> = ARGUMENTS.into_iter().chain(LEAN_ARGUMENTS).map(str::to_owned).collect();
        assert_eq!(sorted(names.collect()), sorted(all.into_iter().collect()));
    }

    #[test]
    fn the_language_is_that_of_the_manual() {
        assert_eq!(sorted(told("# The message language")), sorted(ARGUMENTS.to_vec()));
        let kin = ["extract-tracestate", "extract-baggage", "extract-b3", "extract-b3multi", "extract-jaeger"];
        let mut lean: Vec<_> = told("## One message, and nothing kept").into_iter().collect();
        lean.extend(kin.map(str::to_owned));
        assert_eq!(sorted(lean), sorted(LEAN_ARGUMENTS.to_vec()));
    }
}
