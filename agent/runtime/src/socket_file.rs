//! The file of a unix socket that others connect or send to: who may, and the end of the file.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};
use tokio::net::{UnixListener, UnixSocket};

use crate::addr::Access;

/// As many connections as the standard library lets wait to be accepted.
const BACKLOG: u32 = 1024;

/// The file, removed with this.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: at the end the path may be another's.
    id: (u64, u64),
}

impl SocketFile {
    /// Listens at a path; nobody can connect before `access` is in force. A socket that nobody serves any more is replaced.
    ///
    /// # Errors
    /// The path is in use or not allowed; there is no such user or group.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen(path: &Path, access: &Access) -> io::Result<(UnixListener, Self)> {
        let socket = UnixSocket::new_stream()?;
        let file = Self::bind(&socket, path, access)?;
        Ok((socket.listen(BACKLOG)?, file))
    }

    /// Takes datagrams at a path, in blocking mode; nobody can send before `access` is in force. A socket that nobody
    /// reads any more is replaced.
    ///
    /// # Errors
    /// The path is in use or not allowed; there is no such user or group.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn datagrams(path: &Path, access: &Access) -> io::Result<(UnixDatagram, Self)> {
        let socket = UnixSocket::new_datagram()?;
        if access.mode.is_some() {
            // The file gets the mode of the socket: here nothing like the step to listening comes after the permissions.
            File::from(socket.as_fd().try_clone_to_owned()?).set_permissions(Permissions::from_mode(0o000))?;
        }
        let file = Self::bind(&socket, path, access)?;
        let socket = socket.datagram()?.into_std()?;
        socket.set_nonblocking(false)?;
        Ok((socket, file))
    }

    fn bind(socket: &UnixSocket, path: &Path, access: &Access) -> io::Result<Self> {
        let ids = Ids::of(access)?;
        remove_stale(path)?;
        socket.bind(path)?;
        let file = Self { path: path.to_owned(), id: id(path)? };
        if ids.user.is_some() || ids.group.is_some() {
            lchown(path, ids.user, ids.group)
                .map_err(|error| cannot("give the socket to another user or group", error))?;
        }
        if let Some(mode) = access.mode {
            std::fs::set_permissions(path, Permissions::from_mode(mode))
                .map_err(|error| cannot("set the mode", error))?;
        }
        Ok(file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let removed = match id(&self.path) {
            Ok(id) if id == self.id => std::fs::remove_file(&self.path),
            // Gone, or of an agent that took over: not ours to remove.
            _ => return,
        };
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// The numbers of a user and a group.
struct Ids {
    user: Option<u32>,
    group: Option<u32>,
}

impl Ids {
    fn of(access: &Access) -> io::Result<Self> {
        let user = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
        let group = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
        Ok(Self {
            user: access.user.as_deref().map(|name| number("user", name, user)).transpose()?,
            group: access.group.as_deref().map(|name| number("group", name, group)).transpose()?,
        })
    }
}

/// A number as it is, or that of a name.
fn number(kind: &str, name: &str, find: impl Fn(&str) -> io::Result<Option<u32>>) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("there is no {kind} {name:?}"));
    find(name)?.ok_or_else(unknown)
}

fn cannot(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what}: {error}"))
}

/// Removes the socket of a process that is gone; one that is alive, or another kind of file, stays and fails the bind.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        return Ok(());
    }
    // Whatever its type: a socket of streams that is alive refuses datagrams as the wrong type, and notices nothing.
    match UnixDatagram::unbound()?.connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
