//! The payload of ACK: a list of actions (SPOE.txt, sections 3.1 and 3.4).

use crate::error::{DecodeError, DecodeReason};
use crate::reader::Reader;
use crate::value::Value;

/// The type number of set-var.
pub const ACTION_SET_VAR: u8 = 1;
/// The type number of unset-var.
pub const ACTION_UNSET_VAR: u8 = 2;

/// The scope of a variable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Scope {
    /// `proc`: the process. HAProxy sets only names that its configuration knows.
    Process = 0,
    /// `sess`: the client's session.
    Session = 1,
    /// `txn`: request and response.
    Transaction = 2,
    /// `req`: the request.
    Request = 3,
    /// `res`: the response.
    Response = 4,
}

impl Scope {
    /// The scope of a byte; `None` above 4.
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Scope::Process,
            1 => Scope::Session,
            2 => Scope::Transaction,
            3 => Scope::Request,
            4 => Scope::Response,
            _ => return None,
        })
    }

    /// HAProxy's prefix for variables of this scope: `proc`, `sess`, `txn`, `req`, `res`.
    pub const fn prefix(self) -> &'static str {
        match self {
            Scope::Process => "proc",
            Scope::Session => "sess",
            Scope::Transaction => "txn",
            Scope::Request => "req",
            Scope::Response => "res",
        }
    }
}

/// What HAProxy is to do with a variable. HAProxy puts the scope and the engine's prefix before the name; together
/// they may have 63 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action<'a> {
    /// Set a variable.
    SetVar {
        /// Its scope.
        scope: Scope,
        /// Its name.
        name: &'a [u8],
        /// Its value; [`Value::Null`] unsets it.
        value: Value<'a>,
    },
    /// Unset a variable.
    UnsetVar {
        /// Its scope.
        scope: Scope,
        /// Its name.
        name: &'a [u8],
    },
}

/// The actions of an ACK, to the end of the payload. The list may be empty.
///
/// A fused iterator: after an error it ends. HAProxy applies the actions before an error and drops the rest.
#[derive(Clone, Debug)]
pub struct Actions<'a> {
    reader: Reader<'a>,
}

impl<'a> Actions<'a> {
    /// The actions in `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Actions::at(Reader::new(payload))
    }

    /// The actions from `reader` on.
    pub const fn at(reader: Reader<'a>) -> Self {
        Actions { reader }
    }

    /// Where the next action begins.
    pub const fn reader(&self) -> Reader<'a> {
        self.reader
    }

    #[inline]
    fn step(&mut self) -> Result<Action<'a>, DecodeError> {
        let start = self.reader;
        let action_type = self.reader.u8()?;
        let expected = match action_type {
            ACTION_SET_VAR => 3,
            ACTION_UNSET_VAR => 2,
            other => return start.error(DecodeReason::UnknownAction(other)),
        };
        let arg_count = self.reader;
        let count = self.reader.u8()?;
        if count != expected {
            return arg_count.error(DecodeReason::BadArgCount(count));
        }
        let scope_at = self.reader;
        let scope = self.reader.u8()?;
        let Some(scope) = Scope::from_u8(scope) else { return scope_at.error(DecodeReason::BadScope(scope)) };
        let name = self.reader.string()?;
        Ok(if action_type == ACTION_SET_VAR {
            Action::SetVar { scope, name, value: Value::decode(&mut self.reader)? }
        } else {
            Action::UnsetVar { scope, name }
        })
    }
}

impl<'a> Iterator for Actions<'a> {
    type Item = Result<Action<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(step)
    }
}

impl core::iter::FusedIterator for Actions<'_> {}
