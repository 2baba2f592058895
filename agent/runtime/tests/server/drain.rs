//! A stop under load: each NOTIFY that HAProxy sent before it knew gets its ACK or is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::common::{Event, Peer, Running, config, patiently};
use crate::cpu;
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

/// Asks, one after the other, until it gets a DISCONNECT: how many were answered that it sent when nobody could connect any more.
async fn ask_until_the_end(addr: String, ready: Arc<AtomicU64>) -> u64 {
    let mut peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
    let mut late = 0;
    for n in 0.. {
        let ends = n > 20 && std::net::TcpStream::connect(&addr).is_err();
        peer.notify(n, "m", 1).await;
        match peer.event().await {
            Event::Ack { .. } => late += u64::from(ends),
            other => panic!("{other:?}"),
        }
        ready.fetch_add(u64::from(n == 20), Relaxed);
        // As HAProxy does, it takes all that came before it asks again.
        match peer.event().now_or_never() {
            Some(Event::Disconnect(_)) => break,
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    late
}

/// Who asks without a pause is served for a while; then the DISCONNECT comes with an answer, so that no NOTIFY crosses it.
#[tokio::test]
async fn a_busy_connection_ends_with_an_answer() {
    let server = Running::start(Server::new(|_: &Notify<'_>, _: &mut Ack<'_>| Ok(()))).await;
    let ready = Arc::<AtomicU64>::default();
    let clients: Vec<_> =
        (0..10).map(|_| tokio::spawn(ask_until_the_end(server.addr.clone(), ready.clone()))).collect();
    patiently("load", async {
        while ready.load(Relaxed) < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let stats = server.stats.clone();
    let stopped = server.stop();
    for client in clients {
        let late = patiently("the client ends", client).await.unwrap();
        assert!(late > 1, "{late}");
    }
    patiently("the server ends", stopped).await.unwrap();
    let stats = stats.snapshot();
    assert_eq!((stats.late, stats.notifies), (0, stats.acks), "{stats:?}");
}

/// One that never lets the agent wait for its input learns of the stop all the same.
#[tokio::test]
async fn a_flood_does_not_hold_up_the_stop() {
    let handler = |_: &Notify<'_>, _: &mut Ack<'_>| Ok(());
    let server =
        Running::start(Server::new(handler).config(config(|config| config.grace = Duration::from_secs(20)))).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    let flood = peer
        .encode_notify(1, 1, |notify| {
            notify.message(b"m").unwrap();
            notify.arg(b"bulk", Value::Binary(&[0; 1000])).unwrap();
        })
        .repeat(1000);
    let (mut reader, mut writer) = peer.stream.into_split();
    // Threads of their own, so that what is read leaves room for more at once.
    let writer = tokio::spawn(async move { while writer.write_all(&flood).await.is_ok() {} });
    let reader = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    server.wait_for("the flood", |stats| stats.notifies > 10_000).await;
    let since = Instant::now();
    patiently("the server ends", server.stop()).await.unwrap();
    let took = since.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}: the whole time of grace");
    patiently("the connection ends", async { (reader.await.unwrap(), writer.await.unwrap()) }).await.0.ok();
}

/// One that is silent ends at once.
#[tokio::test]
async fn a_silent_connection_ends() {
    let server = Running::start(Server::new(|_: &Notify<'_>, _: &mut Ack<'_>| Ok(()))).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    let stopped = server.stop();
    assert!(matches!(patiently("the end", peer.event()).await, Event::Disconnect(_)));
    patiently("the server ends", stopped).await.unwrap();
}

/// Who waits for the last answers waits in peace.
#[tokio::test]
async fn an_open_notify_keeps_no_processor_busy() {
    let handler = |_: Request| async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(Answer::new())
    };
    let server = Running::start(Server::new_async(handler)).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    peer.notify(1, "m", 0).await;
    server.wait_for("it is at work", |stats| stats.in_flight == 1).await;
    let (used, since) = (cpu::of_this_thread(), Instant::now());
    let stopped = server.stop();
    assert_eq!(peer.ack().await, (1, vec![]));
    let (used, took) = (cpu::of_this_thread() - used, since.elapsed());
    assert!(took > Duration::from_secs(1) && used < took / 10, "{used:?} of {took:?}");
    assert!(matches!(peer.event().await, Event::Disconnect(_)));
    drop(peer);
    patiently("the server ends", stopped).await.unwrap();
}
