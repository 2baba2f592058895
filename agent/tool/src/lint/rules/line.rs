//! The log line of which spoa-otel makes spans (agent/docs/log-line.md).

use super::super::finding::{Findings, Level::Error, Level::Warning, Rule};
use super::super::model::Section;
use super::{Context, Line};

static LOG_TOO_SHORT: Rule = Rule {
    name: "log-line-too-short",
    level: Error,
    about: "a log line has 1024 bytes unless `len` says more: one that is cut makes no span",
};
static LOG_FORMAT: Rule = Rule {
    name: "log-format-rfc5424",
    level: Error,
    about: "only the format rfc5424 has structured data, where spoa-otel finds its element",
};
static LOG_IN_PART: Rule = Rule {
    name: "log-left-out",
    level: Error,
    about: "`option dontlog-normal` leaves out the lines of requests that did well, and their spans",
};
static LOG_EARLY: Rule = Rule {
    name: "log-early",
    level: Error,
    about: "`option logasap` writes the line before the end: the span ends too early",
};
static ELEMENT_END: Rule = Rule {
    name: "element-without-end",
    level: Error,
    about: "the element otel@32473 ends with z=\"1\": without it no line can be known to be whole",
};
static LOG_FORMAT_SHORT: Rule = Rule {
    name: "log-format-without-end",
    level: Warning,
    about: "HAProxy writes the line as early as its format allows: with nothing of the end in log-format (%B, %Ta) it comes too early",
};

pub(super) static RULES: &[&Rule] =
    &[&LOG_TOO_SHORT, &LOG_FORMAT, &LOG_IN_PART, &LOG_EARLY, &ELEMENT_END, &LOG_FORMAT_SHORT];

/// What the shipped configurations may need at most.
const LEN: usize = 8192;

const ELEMENT: &str = "[otel@32473";

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    let version = context.version;
    let proxies = context.haproxy.iter().filter(|section| matches!(section.kind(), "frontend" | "listen"));
    for proxy in proxies {
        let lines = context.inherited(proxy);
        // The proxy's own comes last and counts.
        let Some(format) = lines.iter().rfind(|line| line.word(0) == "log-format-sd") else { continue };
        let element = format.word(1);
        if !element.contains(ELEMENT) {
            continue;
        }
        if !element.trim_end().ends_with("z=\"1\"]") {
            let text = "the element otel@32473 has to end with z=\"1\", so that a line that was cut is known";
            findings.add(version, &ELEMENT_END, format, text);
        }
        for (option, rule, text) in [
            ("dontlog-normal", &LOG_IN_PART, "leaves out requests that did well: their spans are never made"),
            ("logasap", &LOG_EARLY, "writes the line before the end of the request: its span would end too early"),
        ] {
            if let Some(line) = lines.iter().find(|line| line.is(&["option", option])) {
                findings.add(version, rule, line, format!("option {option} {text}"));
            }
        }
        let own = lines.iter().rfind(|line| line.word(0) == "log-format");
        let tells_the_end =
            |format: &Line| ["%B", "%Ta", "%Tt", "%Td", "%U", "%ts"].iter().any(|part| format.word(1).contains(part));
        if let Some(own) = own.filter(|own| !tells_the_end(own)) {
            let text = "this format has nothing of the end: HAProxy writes the line early; add %B or %Ta";
            findings.add(version, &LOG_FORMAT_SHORT, own, text);
        }
        for target in targets(context, &lines) {
            check_target(context, target, findings);
        }
    }
}

/// The lines `log …` of a proxy; `log global` stands for those of the section `global`.
fn targets<'c>(context: &Context<'c>, lines: &[&'c Line]) -> Vec<&'c Line> {
    let logs = lines.iter().copied().filter(|line| line.word(0) == "log");
    let global = context.haproxy.iter().filter(|section| section.kind() == "global");
    let of_global: Vec<_> =
        global.flat_map(|section: &'c Section| &section.lines).filter(|line| line.word(0) == "log").collect();
    logs.flat_map(|line| if line.word(1) == "global" { of_global.clone() } else { vec![line] }).collect()
}

/// Those that go to a program that might be spoa-otel: not to the standard output.
fn check_target(context: &Context<'_>, target: &Line, findings: &mut Findings) {
    let format = target.behind("format");
    if matches!(target.word(1), "stdout" | "stderr")
        || format.is_some_and(|format| !matches!(format, "rfc5424" | "rfc3164" | "local"))
    {
        return;
    }
    if format != Some("rfc5424") {
        // Other logs go elsewhere: only one with room for long lines is meant for the agent.
        if target.behind("len").is_some() {
            let text = "the element otel@32473 is written in `format rfc5424` only";
            findings.add(context.version, &LOG_FORMAT, target, text);
        }
        return;
    }
    let len = target.behind("len").and_then(|len| len.parse().ok()).unwrap_or(1024);
    if len < LEN {
        let text = format!("lines are cut at {len} bytes, and a line that is cut makes no span: `len 65535`");
        findings.add(context.version, &LOG_TOO_SHORT, target, text);
    }
}
