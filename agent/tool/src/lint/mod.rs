//! `spop lint`: what HAProxy's own check does not say of SPOE configurations.

mod condition;
mod finding;
mod model;
mod rules;
mod words;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;
use condition::Version;
use finding::{Findings, Level};
use model::{Section, Source};
use rules::{Context, Engine};
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

/// A configuration has so many bytes at most.
const MAX_FILE: u64 = 16 << 20;

fn rule_name(name: &str) -> Result<String, String> {
    if rules::all().any(|rule| rule.name == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = rules::all().map(|rule| rule.name).collect();
    let advice = nearest(name, &names).map_or_else(String::new, |name| format!("; did you mean {name}?"));
    Err(format!("there is no rule {name}{advice} (--list-rules has all)"))
}

/// The name that was meant.
fn nearest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let close = names.iter().map(|known| (strsim::jaro_winkler(name, known), *known));
    close.filter(|(similarity, _)| *similarity > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    if options.list_rules {
        return list_rules(options.json, out);
    }
    let sources = options.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let versions = if options.haproxy_version.is_empty() { &VERSIONS[..] } else { &options.haproxy_version };
    let mut findings = Findings::default();
    let mut unread = Vec::new();
    for version in versions {
        check(&sources, *version, &mut findings, &mut unread);
    }
    findings.retain(|rule| !options.allow.iter().any(|allowed| allowed == rule));
    if options.errors_only {
        let errors: Vec<_> = rules::all().filter(|rule| rule.level == Level::Error).map(|rule| rule.name).collect();
        findings.retain(|rule| errors.contains(&rule));
    }
    findings.print(out, options.json, versions)?;
    unread.sort();
    unread.dedup();
    for file in unread {
        eprintln!("spop: {file}");
    }
    match findings.len() {
        0 => Ok(()),
        n => Err(Failure::Unexpected(format!(
            "{n} found (--list-rules says why they matter, --allow RULE leaves one out)"
        ))),
    }
}

fn read(path: &Path) -> Result<Source, Failure> {
    use std::io::Read;
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .and_then(|n| if n as u64 > MAX_FILE { Err(std::io::Error::other("longer than 16 MiB")) } else { Ok(()) })
        .map_err(|error| Failure::File { name: name.clone(), error })?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(Source { name: name.into(), text: String::from_utf8_lossy(&bytes).into(), folder })
}

/// What this version would read, and what is wrong with it.
fn check(sources: &[Source], version: Version, findings: &mut Findings, unread: &mut Vec<String>) {
    let mut environment = Environment::of_process();
    let (spoe, haproxy): (Vec<_>, Vec<_>) = sources.iter().partition(|source| model::is_spoe(&source.text));
    let mut sections = Vec::new();
    for source in &haproxy {
        sections.extend(model::read(source, version, &mut environment));
    }
    // (scope, sections) of the files of the command line; each filter's own file comes with it.
    let given: Vec<Section> = spoe.iter().flat_map(|source| model::read(source, version, &mut environment)).collect();
    let filters: Vec<(usize, String, Vec<Section>)> =
        filters(&sections, &haproxy, version, &mut environment, &given, unread);
    let mut engines: Vec<Engine<'_>> = filters
        .iter()
        .map(|(proxy, name, file)| Engine {
            name: name.clone(),
            spoe: file.iter().filter(|section| section.scope.is_empty() || section.scope == *name).collect(),
            proxy: sections.get(*proxy),
        })
        .collect();
    let mut scopes: Vec<_> = given.iter().map(|section| section.scope.clone()).collect();
    scopes.dedup();
    for scope in scopes {
        if !engines.iter().any(|engine| engine.name == scope) {
            let spoe = given.iter().filter(|section| section.scope == scope).collect();
            engines.push(Engine { name: scope, spoe, proxy: None });
        }
    }
    rules::check(&Context { version, haproxy: &sections, engines }, findings);
}

/// Of each `filter spoe`: its proxy, the engine, and the sections of its file.
fn filters(
    sections: &[Section],
    sources: &[&Source],
    version: Version,
    environment: &mut Environment,
    given: &[Section],
    unread: &mut Vec<String>,
) -> Vec<(usize, String, Vec<Section>)> {
    let global = sections.iter().filter(|section| section.kind() == "global");
    let default_path = global
        .flat_map(|section| section.all(&["default-path"]))
        .last()
        .map(|line| line.words.iter().skip(1).map(String::as_str).collect::<Vec<_>>().join(" "));
    let mut filters = Vec::new();
    for (n, section) in sections.iter().enumerate() {
        for line in section.all(&["filter", "spoe"]) {
            let engine = line.behind("engine").unwrap_or_default().to_owned();
            let file = line.behind("config").unwrap_or_default();
            let source = sources.iter().find(|source| source.name == line.file);
            let paths = source.map(|source| model::resolve(source, default_path.as_deref(), file)).unwrap_or_default();
            let found = paths.iter().find_map(|path| read(path).ok());
            let of_given: Vec<_> = given.iter().filter(|section| section.scope == engine).cloned().collect();
            let own = match (of_given.is_empty(), found) {
                (false, _) => of_given,
                (true, Some(source)) => model::read(&source, version, environment),
                (true, None) => {
                    unread.push(format!(
                        "{}:{}: {file} cannot be read: what is in it is not looked at",
                        line.file, line.number
                    ));
                    Vec::new()
                }
            };
            filters.push((n, engine, own));
        }
    }
    filters
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
