//! The scopes of variables.

use core::fmt;
use core::str::FromStr;

use crate::error::ParseError;

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
    /// All scopes, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Process, Self::Session, Self::Transaction, Self::Request, Self::Response];

    /// The scope of a byte; `None` above 4.
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Process,
            1 => Self::Session,
            2 => Self::Transaction,
            3 => Self::Request,
            4 => Self::Response,
            _ => return None,
        })
    }

    /// HAProxy's prefix for variables of this scope: `proc`, `sess`, `txn`, `req`, `res`.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Process => "proc",
            Self::Session => "sess",
            Self::Transaction => "txn",
            Self::Request => "req",
            Self::Response => "res",
        }
    }
}

/// HAProxy's prefix, as [`Scope::prefix`].
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.prefix())
    }
}

/// From HAProxy's prefix.
///
/// ```
/// use spop_core::Scope;
///
/// assert_eq!("sess".parse(), Ok(Scope::Session));
/// let error = "session".parse::<Scope>().expect_err("HAProxy says sess");
/// assert_eq!(error.to_string(), "expected proc, sess, txn, req or res");
/// ```
impl FromStr for Scope {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let scope = Self::ALL.into_iter().find(|scope| scope.prefix() == text);
        scope.ok_or(ParseError::new("proc, sess, txn, req or res"))
    }
}
