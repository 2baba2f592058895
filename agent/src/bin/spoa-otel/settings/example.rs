//! The example of a configuration file, which has every option with its help.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, ArgAction, Command};

use super::value::{Value, heading, is_switch};

/// Values of options that have no default, or whose default is a circumstance.
const SAMPLES: [(&str, &str); 19] = [
    ("workers", "4"),
    ("otlp", "http://127.0.0.1:4318"),
    ("otlp-listen", "127.0.0.1:4319"),
    ("log-listen", "udp://127.0.0.1:5140"),
    ("log-allow", "10.0.0.0/8"),
    ("log-idle-timeout", "1h"),
    ("log-filter", "spop_agent=debug"),
    ("keep-slower-than", "1s"),
    ("connection-idle-timeout", "1h"),
    ("sample", "path=/healthz,ratio=0"),
    ("admin-host", "agent.example"),
    ("tls-cert", "/etc/spoa-otel/cert.pem"),
    ("tls-key", "/etc/spoa-otel/key.pem"),
    ("tls-client-ca", "/etc/spoa-otel/haproxys.pem"),
    ("tls-client-auth", "required"),
    ("admin-token-file", "/etc/spoa-otel/admin-tokens"),
    ("admin-basic-file", "/etc/spoa-otel/admin-users"),
    ("otlp-token-file", "/etc/spoa-otel/otlp-tokens"),
    ("otlp-basic-file", "/etc/spoa-otel/otlp-users"),
];

const HEAD: &str = "\
# Configuration of spoa-otel, for --config. Every option of the command line is here under its name, with its default or,
# where it has none, an example. Take away the # of what you set.
#
# The command line comes first, then OTEL_ variables, then this file, then the defaults. See what holds by --print-config,
# look for mistakes by --check, and have a running agent read the file again by SIGHUP.
";

const TAIL: &str = "
# OpenTelemetry's variables, those that spoa-otel --help lists; what the process's own environment has comes before them.
#[environment]
#OTEL_SERVICE_NAME = \"haproxy\"
#OTEL_RESOURCE_ATTRIBUTES = \"deployment.environment.name=production\"
#OTEL_TRACES_SAMPLER = \"parentbased_traceidratio\"
#OTEL_TRACES_SAMPLER_ARG = \"0.1\"
#OTEL_PROPAGATORS = \"tracecontext,baggage\"
";

fn example(command: &Command) -> String {
    let mut text = HEAD.to_owned();
    let mut headings: Vec<String> = Vec::new();
    for arg in super::settings_of(command) {
        let heading = heading(arg);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for of in headings {
        let _ = write!(text, "\n\n## {of}\n");
        for arg in super::settings_of(command).filter(|arg| heading(arg) == of) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let name = arg.get_long().unwrap_or_default();
            let _ = write!(text, "\n{}#{name} = {}\n", wrapped(&help), value(arg, &help));
        }
    }
    text + TAIL
}

/// The default, else an example.
fn value(arg: &Arg, help: &str) -> Value {
    let name = arg.get_long().unwrap_or_default();
    if is_switch(arg) {
        return Value::Switch(false);
    }
    let told = || help.split("[default: ").nth(1)?.split(']').next();
    let sample = SAMPLES.iter().find(|(option, _)| *option == name).map(|(_, sample)| *sample);
    let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let text = default.or(sample.or_else(told).map(str::to_owned));
    let text = text.unwrap_or_else(|| panic!("--{name} needs a line in SAMPLES"));
    if matches!(arg.get_action(), ArgAction::Append) { Value::List(vec![text]) } else { Value::Text(text) }
}

fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), "#".to_owned());
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > 120 {
            let _ = writeln!(lines, "{line}");
            line = "#".to_owned();
        }
        line = line + " " + word;
    }
    lines + &line + "\n"
}

/// Run with `UPDATE_EXAMPLE=1` to write it anew.
#[test]
fn the_example_has_every_option_with_its_help() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("spoa-otel.toml");
    let mut command = super::command();
    command.build();
    let text = example(&command);
    if std::env::var_os("UPDATE_EXAMPLE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = text.lines().zip(written.lines()).find(|(one, other)| one != other);
    assert!(
        differs.is_none() && text.len() == written.len(),
        "{differs:?}: UPDATE_EXAMPLE=1 writes {}",
        path.display()
    );
}
