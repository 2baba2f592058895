//! The scopes of variables.

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
