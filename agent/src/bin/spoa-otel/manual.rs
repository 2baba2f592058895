//! `--generate`: documentation for packagers.

use std::io::{self, Write};

use clap::{Arg, ArgAction};
use spop_agent::generate::roff::{Roff, bold, italic, roman};
use spop_agent::generate::{Generate, Page};

use crate::settings::{command, heading, is_switch, settings_of};

/// Writes what is asked for, to standard output if not into a directory.
///
/// # Errors
/// It cannot be written; that whoever reads it has seen enough is none.
pub fn generate(wanted: &Generate) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match wanted.run(command(), &[configuration_page()], &mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

const DESCRIPTION: [&str; 3] = [
    "The configuration file of spoa-otel(1), read at the start by --config. It is TOML: each option of the command line by its name \
     without the dashes, and OpenTelemetry's variables in the table [environment]. What can be given several times is a list, a flag is \
     true or false, sizes and times are texts, such as \"64MiB\" and \"1m30s\".",
    "The command line comes before OTEL_ variables, these before the file, and the file before the defaults. \
     spoa-otel --config FILE --check tells all mistakes with their lines, --print-config what holds and why.",
    "The file has at most 256 KiB. A key that does not exist is a mistake, and so is a value that cannot be used.",
];

/// spoa-otel.toml(5).
fn configuration_page() -> Page {
    let mut command = command();
    command.build();
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]).text([roman("spoa-otel.toml - configuration of spoa-otel")]);
    roff.control("SH", ["SYNOPSIS"]).text([roman("/etc/spoa-otel/config.toml")]);
    roff.control("SH", ["DESCRIPTION"]);
    for (nth, paragraph) in DESCRIPTION.into_iter().enumerate() {
        if nth > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph)]);
    }
    let mut under = String::new();
    let mut settings: Vec<_> = settings_of(&command).collect();
    // Options of a heading need not stand together.
    let mut headings: Vec<String> = Vec::new();
    for arg in &settings {
        if !headings.contains(&heading(arg)) {
            headings.push(heading(arg));
        }
    }
    settings.sort_by_key(|arg| headings.iter().position(|one| *one == heading(arg)));
    for arg in settings {
        if heading(arg) != under {
            under = heading(arg);
            roff.control("SH", [under.to_uppercase().as_str()]);
        }
        entry(&mut roff, arg);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([
        roman("The table "),
        bold("[environment]"),
        roman(" takes the OTEL_ variables that spoa-otel(1) lists, as texts."),
    ]);
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in EXAMPLE.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("SH", ["SEE ALSO"]).text([bold("spoa-otel"), roman("(1), "), bold("spop"), roman("(1)")]);
    Page::new("spoa-otel.toml", 5, roff.render())
}

const EXAMPLE: &str = r#"listen = ["127.0.0.1:7000"]
log-listen = ["udp://127.0.0.1:5140"]
otlp = "http://127.0.0.1:4318"
max-memory = "128MiB"
keep-errors = true

[environment]
OTEL_SERVICE_NAME = "edge"
"#;

/// A key, the form of its value, its default and its meaning.
fn entry(roff: &mut Roff, arg: &Arg) {
    let value = arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    let form = match arg.get_action() {
        _ if is_switch(arg) => "true|false".to_owned(),
        ArgAction::Append => format!("[\"{value}\", ...]"),
        _ if value == "N" => value,
        _ => format!("\"{value}\""),
    };
    roff.control("TP", []);
    roff.text([bold(arg.get_long().unwrap_or_default()), roman(" = "), italic(form)]);
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if arg.get_action().takes_values() {
        if !values.is_empty() {
            help += &format!(" ({})", values.join(", "));
        }
        if let Some(default) = arg.get_default_values().first() {
            help += &format!(" [default: {}]", default.to_string_lossy());
        }
    }
    roff.text([roman(help)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_file_has_every_setting() {
        let page = configuration_page();
        let mut command = command();
        command.build();
        for arg in settings_of(&command) {
            let name = arg.get_long().unwrap().replace('-', "\\-");
            assert!(page.text.contains(&format!("\n\\fB{name}\\fR = ")), "{name}: {}", page.text);
        }
        for not_there in ["config", "generate"] {
            assert!(!page.text.contains(&format!("\n\\fB{not_there}\\fR")), "{not_there}");
        }
        for part in [
            "\\fBkeep\\-errors\\fR = \\fItrue|false",
            "\\fBlisten\\fR = \\fI[\"ADDR\", ...]",
            "[default: 127.0.0.1:7000]",
        ] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
    }
}
