//! `spop lint`: what HAProxy's own check does not say of SPOE configurations.

mod condition;
mod context;
mod files;
mod finding;
mod model;
mod nearest;
mod rules;
mod words;

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use condition::Version;
use context::{Context, Engine};
use finding::{Findings, Level};
use model::{Section, Source};
use nearest::nearest;
use words::Environment;

/// Look for traps in configurations of HAProxy and SPOE that HAProxy's own check does not name
///
/// Give it HAProxy's configuration, several files if it has several; the SPOE files that it names are read, too. An SPOE file alone is
/// looked at by itself. Environment variables are those of this process and those that the configuration sets. What `haproxy -c` says is not said again:
/// run both. A comment `# spop-lint: allow RULE` at the end of a line leaves out what that rule finds there.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// Configurations of HAProxy, SPOE files
    #[arg(required_unless_present = "list_rules", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only what concerns this version; may be given several times [default: 2.6 2.8 3.0 3.2 3.4]
    #[arg(long, value_name = "VERSION")]
    haproxy_version: Vec<Version>,
    /// Leave out what this rule finds; may be given several times
    #[arg(long, value_name = "RULE", value_parser = rule_name)]
    allow: Vec<String>,
    /// Leave out warnings: what works until something goes wrong
    #[arg(long)]
    errors_only: bool,
    /// Say what the rules are, and end
    #[arg(long)]
    list_rules: bool,
    /// Print one JSON object per finding, or per rule
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  spop lint /etc/haproxy/haproxy.cfg
  spop lint --haproxy-version 3.2 haproxy.cfg --allow reconnect-loop
  spop lint spoe.cfg --json
Exit code 1 if something was found.";

/// All that are looked at if none is named.
const VERSIONS: [Version; 5] = [Version(2, 6), Version(2, 8), Version(3, 0), Version(3, 2), Version(3, 4)];

fn rule_name(name: &str) -> Result<String, String> {
    if rules::all().any(|rule| rule.name == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = rules::all().map(|rule| rule.name).collect();
    let advice = nearest(name, &names).map_or_else(String::new, |name| format!("; did you mean {name}?"));
    Err(format!("there is no rule {name}{advice} (--list-rules has all)"))
}

pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    if options.list_rules {
        return list_rules(options.json, out);
    }
    let sources = options.files.iter().map(|path| files::read(path)).collect::<Result<Vec<_>, _>>()?;
    let versions = if options.haproxy_version.is_empty() { &VERSIONS[..] } else { &options.haproxy_version };
    let mut findings = Findings::default();
    for version in versions {
        check(&sources, *version, &mut findings);
    }
    findings.retain(|rule| !options.allow.iter().any(|allowed| allowed == rule));
    if options.errors_only {
        let errors: Vec<_> = rules::all().filter(|rule| rule.level == Level::Error).map(|rule| rule.name).collect();
        findings.retain(|rule| errors.contains(&rule));
    }
    findings.print(out, options.json, versions)?;
    match findings.len() {
        0 => Ok(()),
        n => Err(Failure::Unexpected(format!(
            "{n} found (--list-rules says why they matter, --allow RULE leaves one out)"
        ))),
    }
}

/// What this version would read, and what is wrong with it.
fn check(sources: &[Source], version: Version, findings: &mut Findings) {
    let mut environment = Environment::of_process();
    let (spoe, haproxy): (Vec<_>, Vec<_>) = sources.iter().partition(|source| model::is_spoe(&source.text));
    let mut sections = Vec::new();
    for source in &haproxy {
        sections.extend(model::read(source, version, &mut environment));
    }
    model::link(&mut sections);
    let given: Vec<Section> = spoe.iter().flat_map(|source| model::read(source, version, &mut environment)).collect();
    let filters = files::filters(&sections, &haproxy, version, &mut environment, &given, findings);
    let mut engines: Vec<Engine<'_>> = filters
        .iter()
        .map(|filter| Engine {
            name: filter.engine.clone(),
            spoe: filter.file.as_deref().unwrap_or(&given).iter().filter(|section| filter.reads(section)).collect(),
            proxy: sections.get(filter.proxy),
        })
        .collect();
    // Those of the command line that no filter names.
    let named: HashSet<_> = filters.iter().map(|filter| filter.engine.as_str()).collect();
    let mut others = BTreeMap::<_, Vec<_>>::new();
    for section in given.iter().filter(|section| !named.contains(section.scope.as_str())) {
        others.entry(section.scope.as_str()).or_default().push(section);
    }
    for (scope, spoe) in others {
        if let (files::MAX_FILTERS.., Some(section)) = (engines.len(), spoe.first()) {
            let text = "this scope and those behind it are too many to be looked at";
            findings.add(version, &rules::UNREAD_FILE, &section.head, text);
            break;
        }
        engines.push(Engine { name: scope.to_owned(), spoe, proxy: None });
    }
    rules::check(&Context::new(version, &sections, engines), findings);
}

fn list_rules(json: bool, out: &mut impl Write) -> Result<(), Failure> {
    for rule in rules::all() {
        let level = if rule.level == Level::Error { "error" } else { "warning" };
        if json {
            serde_json::to_writer(
                &mut *out,
                &serde_json::json!({ "rule": rule.name, "level": level, "about": rule.about }),
            )
            .map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{:<28} {level:<8} {}", rule.name, rule.about)?;
        }
    }
    Ok(())
}
