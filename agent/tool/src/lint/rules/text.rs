//! What clients send, on its way into the log line.

use std::collections::HashMap;

use super::super::context::Context;
use super::super::finding::{Findings, Level::Error, Level::Warning, Rule};
use super::super::model::Line;
use super::language::{by_client, set_var};

static UNESCAPED: Rule = Rule {
    name: "log-unescaped",
    level: Error,
    about: "every text that a client can touch goes through url_enc into the element: a quote or a line feed would end the line",
};
static UNBOUNDED: Rule = Rule {
    name: "log-unbounded",
    level: Warning,
    about: "what a client can make long has an end before it comes into the line: a line that does not fit is empty",
};

pub(super) static RULES: &[&Rule] = &[&UNESCAPED, &UNBOUNDED];

/// Fetches of what clients send, beside those of headers.
const OF_CLIENTS: [&str; 9] =
    ["capture.req", "capture.hdr", "path", "pathq", "query", "url", "base", "ssl_fc_sni", "req.body"];

/// Variables of log formats that clients write; HAProxy leaves a backslash in them as it is.
const ALIASES: [&str; 7] = ["%HP", "%HPO", "%HU", "%HQ", "%r", "%hr", "%hrl"];

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    for proxy in context.haproxy.iter().filter(|section| matches!(section.kind(), "frontend" | "listen")) {
        let lines = context.inherited(proxy);
        let elements = context.elements(&lines);
        if elements.is_empty() {
            continue;
        }
        // A variable that a rule checks is what the check lets pass.
        let checked =
            |line: &Line| line.words.iter().any(|word| matches!(word.as_str(), "reg" | "len" | "str" | "int"));
        let rules = lines.iter().filter(|line| !checked(line));
        let set = rules.filter_map(|line| set_var(line).map(|(name, sample)| (name, (sample, line))));
        let variables: HashMap<_, _> = set.filter(|(_, (sample, _))| of_client(sample)).collect();
        for (format, element) in elements {
            for sample in samples(element) {
                let name = sample.strip_prefix("var(").and_then(|rest| rest.split([')', ',']).next());
                let variable = name.and_then(|name| variables.get(name));
                if (of_client(sample) || variable.is_some())
                    && !encoded(sample)
                    && !variable.is_some_and(|(set, _)| encoded(set))
                {
                    let text =
                        format!("clients write what is in %[{sample}], and may end the value there: add url_enc to it");
                    findings.add(context.version, &UNESCAPED, format, text);
                }
                if let Some((set, line)) =
                    variable.filter(|(set, _)| !set.contains(",bytes(") && !set.contains(",field("))
                {
                    let text = format!("clients make {set} as long as they like: add bytes(0,512) to it");
                    findings.add(context.version, &UNBOUNDED, line, text);
                }
            }
            for alias in element.split('"').filter(|value| ALIASES.contains(value)) {
                let text = format!(
                    "a backslash at the end of {alias} takes the quote behind it: take %[capture.req.uri,url_enc]"
                );
                findings.add(context.version, &UNESCAPED, format, text);
            }
        }
    }
}

/// Nothing of a client's syntax is left.
fn encoded(sample: &str) -> bool {
    [",url_enc", ",hex", ",length", ",md5", ",sha", ",xxh", ",crc32", ",bool"]
        .iter()
        .any(|converter| sample.contains(converter))
}

fn of_client(sample: &str) -> bool {
    let fetch = sample.split([',', '(']).next().unwrap_or_default();
    by_client(sample)
        || OF_CLIENTS
            .iter()
            .any(|known| fetch == *known || fetch.strip_prefix(known).is_some_and(|rest| rest.starts_with('.')))
}

/// The samples of a format: what stands in `%[…]`.
fn samples(format: &str) -> impl Iterator<Item = &str> {
    format.split("%[").skip(1).filter_map(|rest| rest.split(']').next())
}
