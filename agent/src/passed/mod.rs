//! Sockets that the service manager passed to this process (systemd's socket activation), by their names.
//!
//! They are open before the program starts and stay open when it ends: nobody is refused meanwhile, and nothing that waits in
//! them is lost.

mod name;
mod sockets;

pub(crate) use name::PREFIX;
pub use name::{NameError, PassedName, Place, PlaceError};
pub use sockets::{LineSocket, PassedError, PassedSockets};
