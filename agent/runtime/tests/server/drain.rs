//! A stop under load: each NOTIFY that HAProxy sent before it knew gets its ACK or is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::common::{Event, Peer, Running, config, patiently};
use futures_util::FutureExt;
use spop_agent::{Ack, Answer, Notify, Request, Result, Server};
use spop_core::{ClientConfig, Scope, Value};
use tokio::io::AsyncWriteExt;

const CONNECTIONS: usize = 100;
/// NOTIFYs without an ACK, on a connection.
const AT_ONCE: usize = 50;

/// What a client did until its connection ended.
#[derive(Debug, Default)]
struct Sent {
    notifies: u64,
    acks: u64,
    disconnected: bool,
}

/// Sends NOTIFYs without a break until it gets a DISCONNECT.
async fn load(addr: String, total: Arc<AtomicU64>) -> Sent {
    let mut peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
    let mut sent = Sent::default();
    loop {
        let open = (sent.notifies - sent.acks) as usize;
        let event = if open < AT_ONCE {
            let frame = peer.encode_notify(sent.notifies, 1, |notify| {
                notify.message(b"m").unwrap();
                notify.arg(b"n", Value::Int64(sent.notifies as i64)).unwrap();
            });
            // In two parts now and then, so that the stop finds half frames.
            let cut = if sent.notifies % 7 == 0 { frame.len() / 2 } else { 0 };
            for part in [&frame[..cut], &frame[cut..]] {
                peer.stream.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            sent.notifies += 1;
            total.fetch_add(1, Relaxed);
            peer.event().now_or_never()
        } else {
            Some(peer.event().await)
        };
        match event {
            Some(Event::Ack { .. }) => sent.acks += 1,
            Some(Event::Disconnect(_)) => {
                sent.disconnected = true;
                return sent;
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
}

async fn stop_under_load(server: Server) {
    let server = Running::start(server).await;
    let total = Arc::<AtomicU64>::default();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(load(server.addr.clone(), total.clone()))).collect();
    patiently("load", async {
        while total.load(Relaxed) < 20_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let stats = server.stats.clone();
    let stopped = server.stop();
    let mut all = Sent::default();
    for client in clients {
        let sent = patiently("the client ends", client).await.unwrap();
        assert!(sent.disconnected);
        all.notifies += sent.notifies;
        all.acks += sent.acks;
    }
    patiently("the server ends", stopped).await.unwrap();
    let stats = stats.snapshot();
    assert_eq!(all.acks, stats.acks, "each ACK arrived: {stats:?}");
    assert_eq!(stats.notifies, stats.acks, "each NOTIFY taken was answered: {stats:?}");
    assert_eq!(all.notifies, stats.notifies + stats.late, "each NOTIFY sent was taken or counted: {stats:?}");
    assert_eq!((stats.unanswered, stats.connections_open, stats.protocol_errors), (0, 0, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_answers_at_once() {
    let handler = |notify: &Notify<'_>, ack: &mut Ack<'_>| -> Result {
        for message in notify.messages() {
            ack.set_var(Scope::Transaction, b"n", message.arg("n").unwrap_or(Value::Null))?;
        }
        Ok(())
    };
    stop_under_load(Server::new(handler)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_takes_its_time() {
    let handler = |request: Request| async move {
        let Some(message) = request.messages().next() else { return Ok(Answer::new()) };
        let Some(Value::Int64(n)) = message.arg("n") else { return Ok(Answer::new()) };
        tokio::time::sleep(Duration::from_millis(n as u64 % 20)).await;
        let mut answer = Answer::new();
        answer.set_var(Scope::Transaction, "n", n);
        Ok(answer)
    };
    stop_under_load(Server::new_async(handler).config(config(|config| config.max_in_flight = 20))).await;
}

/// Asks again and again; how many of its questions were answered that it sent when nobody could connect any more.
async fn answered_at_the_end() -> u64 {
    let server = Running::start(Server::new(|_: &Notify<'_>, _: &mut Ack<'_>| Ok(()))).await;
    let addr = server.addr.clone();
    let mut peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
    let (mut stopped, mut late, mut n) = (None, 0, 0);
    let mut server = Some(server);
    loop {
        let ends = stopped.is_some() && std::net::TcpStream::connect(&addr).is_err();
        peer.notify(n, "m", 1).await;
        n += 1;
        match peer.event().await {
            Event::Ack { .. } => late += u64::from(ends),
            Event::Disconnect(_) => break,
            other => panic!("{other:?}"),
        }
        if n == 20 {
            stopped = server.take().map(Running::stop);
        }
    }
    if let Some(stopped) = stopped {
        patiently("the server ends", stopped).await.unwrap();
    }
    late
}

/// What asks without a pause is served for a while, so that no NOTIFY crosses the DISCONNECT.
#[tokio::test]
async fn a_connection_ends_when_nothing_comes() {
    let mut answered = 0;
    // A machine that stands still for a moment makes a pause, too.
    for _ in 0..5 {
        answered = answered.max(answered_at_the_end().await);
    }
    assert!(answered > 1, "{answered}");
}
