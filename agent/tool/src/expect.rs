//! What an ACK has to say.

use std::str::FromStr;

use spop_core::{Action, Actions, DecodeError, Scope};
use thiserror::Error;

use crate::message::{self, OwnedValue};
use crate::show::{Deed, Name, Typed, type_name};

/// What the help of a command says about expectations.
pub(crate) const GRAMMAR: &str = "\
An expectation is SCOPE.NAME=TYPE, SCOPE.NAME=TYPE:VALUE or SCOPE.NAME=unset; SCOPE is proc, sess, txn, req or res, NAME
stands without the engine's var-prefix. Every expectation has to be met; an ACK may do more than that.";

/// One action that an ACK must have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expected {
    scope: Scope,
    name: Vec<u8>,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Type(String),
    Value(OwnedValue),
    Unset,
}

/// How an ACK falls short.
#[derive(Debug, Error)]
pub(crate) enum Mismatch {
    #[error("the actions are malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("no action on {0}")]
    Missing(String),
    #[error("{0}")]
    WrongType(String),
    #[error("{0}")]
    WrongValue(String),
}

impl Expected {
    /// A set-var of this type.
    pub(crate) fn of_type(scope: Scope, name: &str, kind: &str) -> Self {
        Expected { scope, name: name.as_bytes().to_vec(), what: What::Type(kind.to_owned()) }
    }

    fn meets(&self, action: &Action<'_>) -> Result<(), Mismatch> {
        let found = || format!("{} where {self} was expected", Deed(action));
        match (action, &self.what) {
            (Action::UnsetVar { .. }, What::Unset) => Ok(()),
            (Action::SetVar { value, .. }, What::Type(kind)) if type_name(value) == kind => Ok(()),
            (Action::SetVar { value, .. }, What::Value(wanted)) => {
                let wanted = wanted.as_value();
                if *value == wanted {
                    Ok(())
                } else if value.data_type() == wanted.data_type() {
                    Err(Mismatch::WrongValue(found()))
                } else {
                    Err(Mismatch::WrongType(found()))
                }
            }
            _ => Err(Mismatch::WrongType(found())),
        }
    }

    fn names(&self, action: &Action<'_>) -> bool {
        let (Action::SetVar { scope, name, .. } | Action::UnsetVar { scope, name }) = action;
        *scope == self.scope && *name == self.name
    }
}

/// Reads the actions to their end and looks for all of `expected`. Of several actions on a variable the last counts, as
/// in HAProxy.
pub(crate) fn check(expected: &[Expected], actions: Actions<'_>) -> Result<(), Mismatch> {
    for action in actions.clone() {
        action?;
    }
    for wanted in expected {
        let found = actions.clone().flatten().filter(|action| wanted.names(action)).last();
        match found {
            Some(action) => wanted.meets(&action)?,
            None => return Err(Mismatch::Missing(format!("{}.{}", wanted.scope.prefix(), Name(&wanted.name)))),
        }
    }
    Ok(())
}

impl FromStr for Expected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?}: write SCOPE.NAME=TYPE or SCOPE.NAME=TYPE:VALUE");
        let (variable, what) = text.split_once('=').ok_or_else(form)?;
        let (scope, name) = message::variable(variable)?;
        let what = match what {
            "unset" => What::Unset,
            "bool" | "int32" | "uint32" | "int64" | "uint64" | "ipv4" | "ipv6" | "string" | "binary" => {
                What::Type(what.to_owned())
            }
            _ => What::Value(OwnedValue::parse(what.as_bytes())?),
        };
        Ok(Expected { scope, name, what })
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}=", self.scope.prefix(), Name(&self.name))?;
        match &self.what {
            What::Type(kind) => f.write_str(kind),
            What::Value(value) => Typed(&value.as_value()).fmt(f),
            What::Unset => f.write_str("unset"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spop_core::{Value, Writer};

    fn verdict(expected: &[&str]) -> Result<(), Mismatch> {
        let expected: Vec<Expected> = expected.iter().map(|text| text.parse().unwrap()).collect();
        let mut bytes = [0; 100];
        let mut w = Writer::new(&mut bytes);
        w.set_var(Scope::Session, b"score", Value::Int64(1)).unwrap();
        w.set_var(Scope::Session, b"score", Value::Int64(42)).unwrap();
        w.set_var(Scope::Transaction, b"id", Value::String(b"a")).unwrap();
        w.unset_var(Scope::Request, b"old").unwrap();
        check(&expected, Actions::new(w.written()))
    }

    #[test]
    fn every_kind() {
        assert!(verdict(&[]).is_ok());
        assert!(verdict(&["sess.score=int64", "session.score=int64:42", "txn.id=string:a", "req.old=unset"]).is_ok());
        assert!(matches!(verdict(&["txn.score=int64"]), Err(Mismatch::Missing(_))));
        assert!(matches!(verdict(&["sess.scor=int64"]), Err(Mismatch::Missing(_))));
        assert!(matches!(verdict(&["sess.score=int32"]), Err(Mismatch::WrongType(_))));
        assert!(matches!(verdict(&["sess.score=int32:42"]), Err(Mismatch::WrongType(_))));
        assert!(matches!(verdict(&["sess.score=int64:1"]), Err(Mismatch::WrongValue(_))));
        assert!(matches!(verdict(&["sess.score=unset"]), Err(Mismatch::WrongType(_))));
        assert!(matches!(verdict(&["req.old=int64"]), Err(Mismatch::WrongType(_))));
        let cut = Actions::new(&[1, 3, 2, 5, b'a']);
        assert!(matches!(check(&[], cut), Err(Mismatch::Malformed(_))));
    }

    #[test]
    fn bad_texts() {
        for text in ["score=int64", "sess.score", "x.score=int64", "sess.score=number", "sess.score=int64:x"] {
            assert!(text.parse::<Expected>().is_err(), "{text}");
        }
    }
}
