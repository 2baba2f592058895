//! The value of a setting, as a configuration file has it.

use std::fmt;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches};
use toml::Value as Toml;

use crate::origin::Origin;

/// An option with its value.
#[derive(Clone, Debug)]
pub struct Setting {
    pub name: String,
    /// The section of `--help`.
    pub heading: String,
    pub value: Value,
    pub origin: Origin,
}

/// What an option is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Switch(bool),
    Text(String),
    List(Vec<String>),
    /// Nothing; what then holds, in words.
    Unset(String),
}

impl Setting {
    /// What clap read of an option.
    pub fn new(arg: &Arg, matches: &ArgMatches, origin: Origin) -> Self {
        let id = arg.get_id().as_str();
        let mut texts = matches.get_raw(id).into_iter().flatten().map(|text| text.to_string_lossy().into_owned());
        let value = match arg.get_action() {
            _ if is_switch(arg) => Value::Switch(matches.get_flag(id)),
            ArgAction::Append => Value::List(texts.collect()),
            _ => texts.next_back().map_or_else(|| Value::Unset(told_default(arg)), Value::Text),
        };
        Self { name: arg.get_long().unwrap_or_default().to_owned(), heading: heading(arg), value, origin }
    }
}

/// An option that is on or off: `--name=false` holds against a file that says `true`.
pub fn switch(arg: Arg) -> Arg {
    let arg = arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true");
    arg.value_name("BOOL").default_value("false").hide_default_value(true).hide_possible_values(true)
}

/// Is it on or off?
pub fn is_switch(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == ValueParser::bool().type_id()
}

/// What `--help` says of an option without a default of clap's.
fn told_default(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let told = help.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
    told.unwrap_or("not set").to_owned()
}

/// The section of an option.
pub fn heading(arg: &Arg) -> String {
    arg.get_help_heading().unwrap_or("Where HAProxy connects").to_owned()
}

impl fmt::Display for Value {
    /// In TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let toml = match self {
            Self::Switch(switch) => Toml::Boolean(*switch),
            Self::Text(text) => scalar(text),
            Self::List(texts) => Toml::Array(texts.iter().map(|text| Toml::String(text.clone())).collect()),
            Self::Unset(told) => return f.write_str(told),
        };
        toml.fmt(f)
    }
}

/// A number that is written as TOML writes it is one.
fn scalar(text: &str) -> Toml {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Toml::Integer(number),
        _ => Toml::String(text.to_owned()),
    }
}
