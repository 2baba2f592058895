//! Connections take turns: what one has still to be done keeps no other waiting. Counted in frames, in one thread, so
//! that neither the machine's speed nor what else it does plays a part.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::common::{Peer, Running, patiently};
use spop_agent::{Ack, Notify, Result, Server};
use spop_core::{ClientConfig, Value};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Connections that always have something to be handled.
const BUSY: usize = 3;
/// How often another one asks.
const ROUNDS: usize = 10;
/// So many of their frames are handled before it asks again.
const BETWEEN: usize = 50;

#[derive(Default)]
struct Turns {
    /// Frames of the busy connections since the other one asked, or was answered.
    handled: usize,
    waiting: bool,
}

/// A connection that asks now and then, and what it sends.
type Asking = Arc<OnceLock<(TcpStream, Vec<u8>)>>;

/// Handles the frames of the busy connections, each for so long, and lets the other one ask meanwhile. Tells for each of
/// its NOTIFYs how many of theirs came before it.
fn handler(
    takes: Duration,
    asking: Asking,
    waits: mpsc::UnboundedSender<usize>,
) -> impl Fn(&Notify<'_>, &mut Ack<'_>) -> Result {
    let turns = Mutex::new(Turns::default());
    move |notify, _| {
        let mut turns = turns.lock().unwrap();
        if notify.messages().any(|message| message.name == b"ask") {
            let _over = waits.send(turns.handled);
            *turns = Turns::default();
            return Ok(());
        }
        std::thread::sleep(takes);
        turns.handled += 1;
        if let Some((stream, frame)) = asking.get().filter(|_| !turns.waiting && turns.handled >= BETWEEN) {
            assert_eq!(stream.try_write(frame).unwrap(), frame.len());
            *turns = Turns { handled: 0, waiting: true };
        }
        Ok(())
    }
}

/// The most frames of the busy connections that come before a NOTIFY which stands in its socket already, if each has so
/// many bytes and takes the handler so long.
async fn most_before(bytes: usize, takes: Duration) -> usize {
    let (asking, (told, mut waits)) = (Asking::default(), mpsc::unbounded_channel());
    let server = Running::start(Server::new(handler(takes, asking.clone(), told))).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    let ask = peer.encode_notify(1, 1, |notify| notify.message(b"ask").unwrap());
    asking.set((peer.stream, ask)).unwrap();
    for _ in 0..BUSY {
        let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
        let frame = peer.encode_notify(1, 1, |notify| {
            notify.message(b"work").unwrap();
            notify.arg(b"bulk", Value::Binary(&vec![0; bytes])).unwrap();
        });
        // As much as the system takes, again and again.
        tokio::spawn(async move { while peer.stream.write_all(&frame).await.is_ok() {} });
    }
    let mut most = 0;
    for _ in 0..ROUNDS {
        most = most.max(patiently("the other one's turn", waits.recv()).await.unwrap());
    }
    most
}

#[tokio::test]
async fn a_notify_waits_for_one_turn_of_each_other_connection() {
    // 64 KiB are a turn.
    let many = most_before(8 << 10, Duration::ZERO).await;
    assert!(many <= BUSY * 9, "{many} frames of 8 KiB");
    // So is one NOTIFY that takes the handler longer than others should wait.
    let slow = most_before(100, Duration::from_millis(1)).await;
    assert!(slow <= BUSY, "{slow} slow frames");
}
