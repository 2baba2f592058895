//! Sockets that somebody else made listen, and the change from one server to the next at them.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use spop_agent::{Ack, ListeningSocket, Notify, Result, Scope, Server};
use spop_core::ClientConfig;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::common::{Event, Peer, patiently};

/// Tells its number in each answer.
fn numbered(number: i64) -> Server {
    Server::new(move |_: &Notify<'_>, ack: &mut Ack<'_>| -> Result {
        ack.set_var(Scope::Transaction, "by", number)?;
        Ok(())
    })
}

struct Served {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn serve(server: Server) -> Served {
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    Served { stop, task }
}

impl Served {
    async fn end(self) {
        self.stop.send(()).unwrap();
        patiently("the server ends", self.task).await.unwrap();
    }
}

/// Who answers a NOTIFY of this connection.
async fn who(peer: &mut Peer, stream_id: u64) -> String {
    peer.notify(stream_id, "m", 1).await;
    let (_, vars) = peer.ack().await;
    vars[0].2.clone()
}

#[tokio::test]
async fn who_connects_between_two_servers_waits_for_the_second() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    let first = numbered(1).listen_on(socket.try_clone().unwrap()).unwrap();
    assert_eq!(first.addrs().next().unwrap().to_string(), addr);
    let first = serve(first);
    let mut peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
    assert_eq!(who(&mut peer, 1).await, "Int64(1)");
    first.end().await;
    assert!(matches!(peer.event().await, Event::Disconnect(_)));

    let mut between = Peer::connect(&addr, ClientConfig::DEFAULT).await;
    between.send_own().await;
    let second = serve(numbered(2).listen_on(socket).unwrap());
    assert_eq!(between.event().await, Event::Hello);
    assert_eq!(who(&mut between, 1).await, "Int64(2)");
    second.end().await;
}

#[tokio::test]
async fn two_servers_share_a_socket_and_each_keeps_its_connections() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    let old = serve(numbered(1).listen_on(socket.try_clone().unwrap()).unwrap());
    let mut peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
    let new = serve(numbered(2).listen_on(socket).unwrap());
    assert_eq!(who(&mut peer, 1).await, "Int64(1)");
    old.end().await;
    let mut peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
    assert_eq!(who(&mut peer, 1).await, "Int64(2)");
    new.end().await;
}

#[tokio::test]
async fn the_file_and_the_name_of_a_unix_socket_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spoa.sock");
    let abstract_name = format!("spop-passed-{}", std::process::id());
    let mut padded = abstract_name.clone().into_bytes();
    padded.resize(107, 0);
    let named_by = |bytes: &[u8]| UnixListener::bind_addr(&SocketAddr::from_abstract_name(bytes).unwrap()).unwrap();
    for (socket, shown) in [
        (UnixListener::bind(&path).unwrap(), format!("unix:{}", path.display())),
        (named_by(abstract_name.as_bytes()), format!("abnsz@{abstract_name}")),
        (named_by(&padded), format!("abns@{abstract_name}")),
    ] {
        let server = numbered(1).listen_on(ListeningSocket::from(socket.try_clone().unwrap())).unwrap();
        assert_eq!(server.addrs().next().unwrap().to_string(), shown);
        serve(server).end().await;
        let again = UnixStream::connect_addr(&socket.local_addr().unwrap());
        assert!(again.is_ok(), "{shown}: it still listens");
    }
    assert!(path.exists());
}

/// A watchdog is not told that all is well if nobody is accepted any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_handler_that_hangs_is_noticed() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, mut hangs) = tokio::sync::mpsc::unbounded_channel();
    let wait = std::sync::Mutex::new(wait);
    let server = Server::new(move |_: &Notify<'_>, _: &mut Ack<'_>| {
        begun.send(()).unwrap();
        wait.lock().unwrap().recv()?;
        Ok(())
    });
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let (addr, pulse) = (server.addrs().next().unwrap().to_string(), server.pulse());
    let served = serve(server);
    let mut peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
    let alive = async || {
        patiently("it is alive", async {
            while !pulse.is_alive() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    // Asked and answered, as long as nothing hangs.
    alive().await;
    alive().await;
    peer.notify(1, "m", 1).await;
    patiently("the handler hangs", hangs.recv()).await.unwrap();
    let _may_be_of_before = pulse.is_alive();
    for _ in 0..3 {
        assert!(!pulse.is_alive());
    }
    go.send(()).unwrap();
    peer.ack().await;
    alive().await;
    served.end().await;
    alive().await;
    assert!(pulse.is_alive(), "what has ended does not hang");
}
