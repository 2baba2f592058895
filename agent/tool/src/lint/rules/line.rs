//! The log line of which spoa-otel makes spans (agent/docs/log-line.md).

use super::super::condition::Version;
use super::super::context::{Context, arguments};
use super::super::finding::{Findings, Level::Error, Level::Warning, Rule};
use super::super::model::Line;
use super::super::model::Section;

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
    about: "`option dontlog-normal` leaves out the lines of requests that did well, `set-log-level silent` any, and their spans",
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
static ELEMENT_WITHOUT_IDS: Rule = Rule {
    name: "element-without-ids",
    level: Error,
    about: "a line belongs to a request by c= (lean and log-only mode) or by id= (messages)",
};
static SEVERAL_TARGETS: Rule = Rule {
    name: "several-log-targets",
    level: Warning,
    about: "HAProxy sends each line to each of its `log` targets: with two agents every span is made twice",
};
static LEAN_WITHOUT_LINE: Rule = Rule {
    name: "lean-without-line",
    level: Error,
    about: "otel:request without id= only hands out ids: the spans come with the log line, by log-format-sd or a log-profile",
};
static RING_CERTIFICATE: Rule = Rule {
    name: "ring-certificate",
    level: Error,
    about: "HAProxy 3.2 and 3.4 crash in `haproxy -c` if a server of a `ring` has `crt`",
};
static LOG_FORMAT_SHORT: Rule = Rule {
    name: "log-format-without-end",
    level: Warning,
    about: "HAProxy writes the line as early as its format allows: with nothing of the end in log-format (%B, %Ta) it comes too early",
};

pub(super) static RULES: &[&Rule] = &[
    &LOG_TOO_SHORT,
    &LOG_FORMAT,
    &LOG_IN_PART,
    &LOG_EARLY,
    &LOG_FORMAT_SHORT,
    &ELEMENT_END,
    &ELEMENT_WITHOUT_IDS,
    &SEVERAL_TARGETS,
    &LEAN_WITHOUT_LINE,
    &RING_CERTIFICATE,
];

/// What the shipped configurations may need at most.
const LEN: usize = 8192;

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    let version = context.version;
    check_lean(context, findings);
    let rings = context.haproxy.iter().filter(|section| section.kind() == "ring" && version >= Version(3, 2));
    for line in rings.flat_map(|ring| ring.all(&["server"])).filter(|line| line.behind("crt").is_some()) {
        let text = "`haproxy -c` crashes on this, and service units ask it before each start: send lines by a `mode log` backend";
        findings.add(version, &RING_CERTIFICATE, line, text);
    }
    let proxies = context.haproxy.iter().filter(|section| matches!(section.kind(), "frontend" | "listen"));
    for proxy in proxies {
        let lines = context.inherited(proxy);
        let elements = context.elements(&lines);
        let Some((format, _)) = elements.first() else { continue };
        for (line, element) in &elements {
            check_element(context, line, element, findings);
        }
        for (option, rule, text) in [
            ("dontlog-normal", &LOG_IN_PART, "leaves out requests that did well: their spans are never made"),
            ("logasap", &LOG_EARLY, "writes the line before the end of the request: its span would end too early"),
        ] {
            if let Some(line) = lines.iter().find(|line| line.is(&["option", option])) {
                findings.add(version, rule, line, format!("option {option} {text}"));
            }
        }
        let by_itself =
            |line: &Line| line.word(0) == "option" && matches!(line.word(1), "httplog" | "httpslog" | "tcplog");
        // Each replaces the one before.
        let line_format = lines.iter().rfind(|line| line.word(0) == "log-format" || by_itself(line));
        if line_format.is_none() {
            let text = "without `option httplog` or a log-format of its own the only line is that of the connect";
            findings.add(version, &LOG_FORMAT_SHORT, format, text);
        }
        for line in lines.iter().filter(|line| line.behind("set-log-level") == Some("silent")) {
            let text = "set-log-level silent silences the line of the agent, too: such requests have no span";
            findings.add(version, &LOG_IN_PART, line, text);
        }
        let tells_the_end =
            |format: &Line| ["%B", "%Ta", "%Tt", "%Td", "%U", "%ts"].iter().any(|part| format.word(1).contains(part));
        if let Some(own) = line_format.filter(|own| !by_itself(own) && !tells_the_end(own)) {
            let text = "this format has nothing of the end: HAProxy writes the line early; add %B or %Ta";
            findings.add(version, &LOG_FORMAT_SHORT, own, text);
        }
        let targets = context.targets(&lines);
        for target in &targets {
            check_target(context, target, findings);
        }
        let whole = |target: &&&Line| {
            target.behind("format") == Some("rfc5424") && length(target) >= LEN && target.behind("sample").is_none()
        };
        if let Some(second) = targets.iter().filter(whole).nth(1) {
            let text = "each target gets each line: if both are agents, every span is made twice; leave one";
            findings.add(version, &SEVERAL_TARGETS, second, text);
        }
    }
}

/// The line that lean mode needs.
fn check_lean(context: &Context<'_>, findings: &mut Findings) {
    let profiles = context.haproxy.iter().filter(|section| section.kind() == "log-profile");
    if profiles.flat_map(|profile| &profile.lines).any(|line| line.behind("sd").is_some()) {
        return;
    }
    for engine in &context.engines {
        let Some(proxy) = engine.proxy else { continue };
        let lean = |message: &Section| {
            message.name() == "otel:request" && arguments(message).all(|(_, key, _)| key != Some("id"))
        };
        let has_line = || context.inherited(proxy).iter().any(|line| line.word(0) == "log-format-sd");
        if engine.sections("spoe-message").any(lean) && !has_line() {
            let text = "the agent hands out ids, and no log line brings them back, so spans never come: add the log-format-sd of haproxy-lean.cfg";
            findings.add(context.version, &LEAN_WITHOUT_LINE, engine.filter(proxy), text);
        }
    }
}

/// What fits into a line for this target.
fn length(target: &Line) -> usize {
    target.behind("len").and_then(|len| len.parse().ok()).unwrap_or(1024)
}

/// The element itself.
fn check_element(context: &Context<'_>, line: &Line, element: &str, findings: &mut Findings) {
    if !element.trim_end().ends_with("z=\"1\"]") {
        let text = "the element otel@32473 has to end with z=\"1\", so that a line that was cut is known";
        findings.add(context.version, &ELEMENT_END, line, text);
    }
    if !element.split_whitespace().any(|pair| pair.starts_with("c=") || pair.starts_with("id=")) {
        let text = "the element has neither c=\"%[var(txn.otel.ctx)]\" nor id=\"%[unique-id,url_enc]\": its lines belong to no request";
        findings.add(context.version, &ELEMENT_WITHOUT_IDS, line, text);
    }
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
    if let Some(ring) = target.word(1).strip_prefix("ring@") {
        let maxlen = |ring: &Section| ring.all(&["maxlen"]).last().and_then(|line| line.word(1).parse().ok());
        if let Some(ring) = context.rings.get(ring) {
            let maxlen: usize = maxlen(ring).unwrap_or(1024);
            if maxlen < LEN {
                let text = format!(
                    "the ring takes {maxlen} bytes of a line, and one that is cut makes no span: `maxlen 65535`"
                );
                findings.add(context.version, &LOG_TOO_SHORT, &ring.head, text);
            }
        }
    }
    let len = length(target);
    if len < LEN {
        let text = format!("lines are cut at {len} bytes, and a line that is cut makes no span: `len 65535`");
        findings.add(context.version, &LOG_TOO_SHORT, target, text);
    }
}
