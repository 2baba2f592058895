//! Unix sockets: who may connect, whose file it is at the end, and names that are in no file system.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use spop_agent::{Ack, Notify, Server};

use crate::common::patiently;

async fn bind(addr: &str) -> std::io::Result<Server> {
    Server::new(|_: &Notify<'_>, _: &mut Ack<'_>| Ok(())).bind(addr).await
}

/// Serves and stops.
async fn end(server: Server) {
    patiently("the server ends", server.run(async {})).await;
}

#[tokio::test]
async fn mode_owner_and_group_are_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spoa.sock");
    let own = dir.path().metadata().unwrap();
    // Root may give it away.
    let (user, group) = if own.uid() == 0 { (65534, 65533) } else { (own.uid(), own.gid()) };
    for mode in [0o600, 0o660, 0o666, 0o777] {
        let addr = format!("unix:{},mode={mode:o},user={user},group={group}", path.display());
        let server = bind(&addr).await.unwrap();
        assert_eq!(server.addrs().next().unwrap().to_string(), format!("unix:{}", path.display()));
        let file = path.symlink_metadata().unwrap();
        assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (mode, user, group));
        UnixStream::connect(&path).unwrap();
        end(server).await;
        assert!(!path.exists());
    }
    let name = if own.uid() == 0 { "user=root,group=root" } else { "mode=600" };
    let named = bind(&format!("unix:{},{name}", path.display())).await.unwrap();
    end(named).await;
}

#[tokio::test]
async fn what_cannot_be_had_is_said_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spoa.sock");
    for (option, said) in
        [("user=no-such-one", "no user \"no-such-one\""), ("group=no-such-one", "no group \"no-such-one\"")]
    {
        let error = bind(&format!("unix:{},{option}", path.display())).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(!path.exists());
    }
    if dir.path().metadata().unwrap().uid() != 0 {
        let error = bind(&format!("unix:{},user=0", path.display())).await.unwrap_err();
        assert!(error.to_string().contains("cannot give the socket"), "{error}");
        assert!(!path.exists());
    }
}

/// Another agent took the path over meanwhile.
#[tokio::test]
async fn the_file_of_another_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spoa.sock");
    type Taker = fn(&Path) -> Option<UnixListener>;
    let takers: [Taker; 3] = [
        |path| Some(UnixListener::bind(path).unwrap()),
        |path| std::fs::write(path, "precious").map(|()| None).unwrap(),
        |path| std::os::unix::fs::symlink("/dev/null", path).map(|()| None).unwrap(),
    ];
    for take in takers {
        let server = bind(&format!("unix:{}", path.display())).await.unwrap();
        // Moved, not removed, so that the inode is not given again.
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        let taken = take(&path);
        end(server).await;
        assert!(path.symlink_metadata().is_ok(), "removed");
        drop(taken);
        std::fs::remove_file(&path).unwrap();
    }
    // One that is gone is no trouble.
    let server = bind(&format!("unix:{}", path.display())).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    end(server).await;
}

#[tokio::test]
async fn abstract_names_are_as_in_haproxy() {
    let name = format!("spop-agent-{}", std::process::id());
    let mut padded = name.clone().into_bytes();
    padded.resize(107, 0);
    for (form, bytes) in [("abns", padded), ("abnsz", name.clone().into_bytes())] {
        let addr = format!("{form}@{name}");
        let server = bind(&addr).await.unwrap();
        assert_eq!(server.addrs().next().unwrap().to_string(), addr);
        UnixStream::connect_addr(&SocketAddr::from_abstract_name(&bytes).unwrap()).unwrap();
        assert!(bind(&addr).await.is_err(), "in use");
        end(server).await;
    }
}
