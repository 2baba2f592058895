//! The command line: all that is wrong with it, not only the first.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, Error};

use super::mistake::{Mistake, told};

/// A command line without what is wrong with it.
#[derive(Debug)]
pub struct CommandLine {
    /// The program's name first.
    pub args: Vec<OsString>,
    pub matches: ArgMatches,
    pub mistakes: Vec<Mistake>,
    /// As clap tells it, if there is one mistake.
    pub error: Option<Error>,
}

impl CommandLine {
    /// Reads it again and again, each time without the argument that was found wrong.
    ///
    /// # Errors
    /// It asks for `--help` or `--version`, or what is wrong is not a single argument.
    pub fn read(command: &Command, mut args: Vec<OsString>) -> Result<Self, (Error, Vec<Mistake>)> {
        let (mut mistakes, mut first) = (Vec::new(), None);
        loop {
            let error = match command.clone().try_get_matches_from(&args) {
                Ok(matches) => {
                    let error = first.filter(|_| mistakes.len() == 1);
                    return Ok(Self { args, matches, mistakes, error });
                }
                Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                    return Err((error, Vec::new()));
                }
                Err(error) => error,
            };
            mistakes.push(Mistake::new(told(&error.render())));
            // Each time there is one argument less.
            if !remove(&mut args, &error) {
                return Err((error, mistakes));
            }
            first.get_or_insert(error);
        }
    }
}

/// Takes out the argument that an error is about; false if it cannot be told.
fn remove(args: &mut Vec<OsString>, error: &Error) -> bool {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(&**text),
        _ => None,
    };
    let Some(named) = context(ContextKind::InvalidArg) else { return false };
    // As in `--queue-spans <N>`.
    let name = named.split(' ').next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    let after = |arg: &OsStr| arg.to_str().and_then(|arg| arg.strip_prefix(name)).map(str::to_owned);
    let is_value = |arg: Option<&OsString>| {
        let arg = arg.map(|arg| arg.to_string_lossy().into_owned());
        arg.zip(value).is_some_and(|(arg, value)| arg == value || arg.split(',').any(|part| part == value))
    };
    let is_it = |at: &usize| {
        let rest = args.get(*at).and_then(|arg| after(arg));
        match (rest.as_deref(), error.kind()) {
            (None, _) => false,
            (Some(""), ErrorKind::InvalidValue | ErrorKind::ValueValidation) => {
                value.is_none_or(str::is_empty) || is_value(args.get(*at + 1))
            }
            (Some(""), _) => true,
            (Some(rest), _) => rest.strip_prefix('=').is_some_and(|given| {
                value.is_none_or(|value| given == value || given.split(',').any(|part| part == value))
            }),
        }
    };
    let Some(at) = (1..args.len()).find(is_it) else { return false };
    let takes_next = args.get(at).is_some_and(|arg| arg == name)
        && args.get(at + 1).is_some_and(|next| !next.to_string_lossy().starts_with('-'));
    args.drain(at..=at + usize::from(takes_next));
    true
}
