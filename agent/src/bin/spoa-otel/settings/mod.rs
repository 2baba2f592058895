//! What the command line, OpenTelemetry's variables and the configuration file say together.
//!
//! The options are those of the command line, and clap reads all values: what a file says is put before the command line's
//! own arguments, as far as these do not say it.

mod command_line;
#[cfg(test)]
mod example;
mod file;
mod mistake;
mod plan;
mod print;
mod value;
mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command, CommandFactory, Error, FromArgMatches};

use crate::options::Options;
use crate::origin::{InFile, Origin};
use command_line::CommandLine;
use file::{ConfigFile, Entry, Given};
pub use mistake::Mistake;
use mistake::{did_you_mean, told};
pub use plan::Plan;
pub use print::print;
use value::Setting;
use value::switch;
pub use value::{heading, is_switch};
use variables::Variables;

/// So many mistakes are told.
const MAX_MISTAKES: usize = 100;

/// Options that say what the program does, and are no settings.
const NO_SETTINGS: [&str; 6] = ["config", "check", "print-config", "generate", "help", "version"];

/// The command line of the program.
pub fn command() -> Command {
    Options::command().mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue if is_setting(&arg) => switch(arg),
        _ => arg,
    })
}

/// The options that are settings.
pub fn settings_of(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| is_setting(arg))
}

fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|name| !NO_SETTINGS.contains(&name))
}

/// All settings, and what they come to.
pub struct Settings {
    pub options: Options,
    pub plan: Plan,
    pub variables: Variables,
    /// Each option with its value and where that comes from.
    pub values: Vec<Setting>,
}

/// What was read.
pub struct Reading {
    /// With the defaults in place of what is wrong; `None` if the options do not go together.
    pub settings: Option<Settings>,
    pub mistakes: Vec<Mistake>,
    /// As clap tells it, if it is the only one.
    pub error: Option<Error>,
}

/// Where settings come from.
#[derive(Clone, Debug)]
pub struct Source {
    args: Vec<OsString>,
}

impl Source {
    /// The process's own command line.
    pub fn of_process() -> Self {
        Self { args: std::env::args_os().collect() }
    }

    /// Reads all of it, the configuration file anew.
    ///
    /// # Errors
    /// The command line asks for `--help` or `--version`.
    pub fn read(&self) -> Result<Reading, Error> {
        let mut command = command();
        command.build();
        let line = match CommandLine::read(&command, self.args.clone()) {
            Ok(line) => line,
            Err((error, mistakes)) if mistakes.is_empty() => return Err(error),
            Err((error, mistakes)) => {
                let error = Some(error).filter(|_| mistakes.len() == 1);
                return Ok(Reading { settings: None, mistakes, error });
            }
        };
        let mut mistakes = line.mistakes.clone();
        let path = line.matches.get_one::<PathBuf>("config");
        let (file, wrong) = path.map(|path| ConfigFile::read(path)).unwrap_or_default();
        mistakes.extend(wrong);
        let variables = Variables::new(file.variables, &mut mistakes);
        let is_flag = |arg: &Arg| line.matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let (mut places, mut args) = (BTreeMap::new(), line.args.iter().take(1).cloned().collect::<Vec<_>>());
        for entry in file.entries {
            match arguments(&entry, &command) {
                Ok((arg, own)) if !is_flag(arg) => {
                    places.insert(entry.key, entry.place);
                    args.extend(own);
                }
                Ok(_) => {}
                Err(wrong) => mistakes.extend(wrong),
            }
        }
        args.extend(line.args.into_iter().skip(1));
        let in_file = InFile(places);
        let read = command.clone().try_get_matches_from(args).and_then(|matches| {
            let mut options = Options::from_arg_matches(&matches)?;
            options.export.console_is_given = matches.value_source("console") == Some(ValueSource::CommandLine);
            Ok((options, matches))
        });
        let settings = match read {
            Ok((options, matches)) => {
                let (plan, wrong) = Plan::new(&options, &variables, &in_file);
                mistakes.extend(wrong);
                let origin = |arg: &Arg| {
                    let name = arg.get_long().unwrap_or_default();
                    let by_variable = || variables.counterpart(name).map(Origin::Variable);
                    if is_flag(arg) {
                        return Origin::CommandLine;
                    }
                    let place = in_file.0.get(name).cloned();
                    by_variable().or(place.map(Origin::File)).unwrap_or(Origin::Default)
                };
                let values = settings_of(&command).map(|arg| Setting::new(arg, &matches, origin(arg))).collect();
                Some(Settings { options, plan, variables, values })
            }
            Err(error) => {
                mistakes.push(Mistake::new(told(&error.render())));
                None
            }
        };
        mistakes.sort_by_key(Mistake::line);
        mistakes.dedup();
        let beyond = mistakes.len().saturating_sub(MAX_MISTAKES);
        if beyond > 0 {
            mistakes.truncate(MAX_MISTAKES);
            mistakes.push(Mistake::new(format_args!("there are {beyond} more mistakes")));
        }
        let error = line.error.filter(|_| mistakes.len() == 1);
        Ok(Reading { settings, mistakes, error })
    }
}

/// A file's entry as arguments, which clap has found right.
fn arguments<'c>(entry: &Entry, command: &'c Command) -> Result<(&'c Arg, Vec<OsString>), Vec<Mistake>> {
    let Entry { key, place, value } = entry;
    let wrong = |text: String| vec![Mistake::at(place, text)];
    if NO_SETTINGS.contains(&&**key) {
        return Err(wrong(format!("{key} is for the command line only")));
    }
    let Some(arg) = settings_of(command).find(|arg| arg.get_long() == Some(key)) else {
        let advice = did_you_mean(key, settings_of(command).filter_map(Arg::get_long));
        return Err(wrong(format!("there is no option {key}{advice}")));
    };
    let single = |text: &String| vec![(place.clone(), text.clone())];
    let texts = match (arg.get_action(), value) {
        (_, Given::Text(_) | Given::List(_)) if is_switch(arg) => return Err(wrong(format!("{key} is true or false"))),
        (_, Given::Switch(switch)) => single(&switch.to_string()),
        (_, Given::Text(text)) => single(text),
        (ArgAction::Append, Given::List(texts)) => {
            if texts.is_empty() && !arg.get_default_values().is_empty() {
                return Err(wrong(format!("{key} has no value: leave it out for its default")));
            }
            texts.clone()
        }
        (_, Given::List(_)) => return Err(wrong(format!("{key} has one value, not a list"))),
    };
    let (mut args, mut mistakes) = (Vec::new(), Vec::new());
    for (place, text) in texts {
        let argument = OsString::from(format!("--{key}={text}"));
        // Each by itself, so that it has its line; what goes with what is another matter.
        if let Err(error) = command.clone().try_get_matches_from([OsString::from("spoa-otel"), argument.clone()])
            && error.get(clap::error::ContextKind::InvalidValue).is_some()
        {
            mistakes.push(Mistake::at(place, told(&error.render())));
            continue;
        }
        args.push(argument);
    }
    if mistakes.is_empty() { Ok((arg, args)) } else { Err(mistakes) }
}
