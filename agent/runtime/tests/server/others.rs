//! `async` of HAProxy up to 3.0: connections of an engine answer for each other when one is gone.

use std::time::Duration;

use spop_agent::{Answer, Request, Result, Scope, Server};
use spop_core::{Capabilities, ClientConfig, EngineId, Frame, PREFIX_LEN, Status};
use tokio::io::AsyncReadExt;

use crate::common::{Peer, Running, config, patiently};

/// Answers after so many milliseconds as the argument says.
async fn takes_its_time(request: Request) -> Result<Answer> {
    let n = request.messages().find_map(|message| message.arg("n").and_then(|value| value.as_integer())).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(n as u64)).await;
    let mut answer = Answer::new();
    answer.set_var(Scope::Transaction, "n", n as i64);
    Ok(answer)
}

async fn start(change: impl FnOnce(&mut spop_agent::ServerConfig)) -> Running {
    let config = config(|config| {
        config.async_answers = true;
        change(config);
    });
    Running::start(Server::new_async(takes_its_time).config(config)).await
}

fn of_engine(id: &str) -> ClientConfig {
    let capabilities = Capabilities::PIPELINING | Capabilities::ASYNC;
    ClientConfig::DEFAULT.with_capabilities(capabilities).with_engine_id(EngineId::new(id.as_bytes()))
}

/// The stream-ids of the ACKs that come, whatever the connection asked; none after the time.
async fn acks(peer: &mut Peer, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    // What came with the agent's HELLO is read already.
    let before = std::mem::take(&mut peer.input);
    let mut stream = before.as_slice().chain(&mut peer.stream);
    while ids.len() < count {
        let mut prefix = [0; PREFIX_LEN];
        patiently("a frame", stream.read_exact(&mut prefix)).await.unwrap();
        let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
        patiently("its body", stream.read_exact(&mut body)).await.unwrap();
        let frame = Frame::decode(&body).unwrap();
        assert_eq!(frame.actions().count(), 1, "{frame:?}");
        ids.push(frame.header.stream_id.0);
    }
    ids.sort_unstable();
    ids
}

async fn says_nothing(peer: &mut Peer) {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_millis(400), peer.stream.read(&mut byte)).await;
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test]
async fn another_connection_answers_for_one_that_is_gone() {
    let server = start(|_| {}).await;
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    let mut second = Peer::hello(&server.addr, of_engine("one")).await;
    let mut stranger = Peer::hello(&server.addr, of_engine("two")).await;
    for n in 0..5 {
        first.notify(10 + n, "m", 200).await;
    }
    server.wait_for("they are at work", |stats| stats.in_flight == 5).await;
    drop(first);
    assert_eq!(acks(&mut second, 5).await, [10, 11, 12, 13, 14]);
    says_nothing(&mut stranger).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.notifies, stats.acks, stats.answered_elsewhere, stats.unanswered), (5, 5, 5, 0), "{stats:?}");
    // It still answers its own.
    second.notify(1, "m", 0).await;
    assert_eq!(acks(&mut second, 1).await, [1]);
}

/// Also at HAProxy's own DISCONNECT: it ends connections that it has no use for, and waits for what they brought on the others.
#[tokio::test]
async fn another_connection_answers_after_a_disconnect() {
    let server = start(|_| {}).await;
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    let mut second = Peer::hello(&server.addr, of_engine("one")).await;
    first.notify(7, "m", 200).await;
    server.wait_for("it is at work", |stats| stats.in_flight == 1).await;
    first.client.close(Status::NORMAL);
    first.send_own().await;
    assert_eq!(acks(&mut second, 1).await, [7]);
    let stats = server.stats.snapshot();
    assert_eq!((stats.notifies, stats.acks, stats.answered_elsewhere, stats.unanswered), (1, 1, 1, 0), "{stats:?}");
}

/// HAProxy lets its requests wait when the last connection of an engine breaks, and connects again.
#[tokio::test]
async fn a_later_connection_answers_for_the_last_one() {
    let server = start(|_| {}).await;
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    // The one is ready before, the other one after HAProxy is back.
    first.notify(1, "m", 300).await;
    first.notify(2, "m", 1000).await;
    server.wait_for("they are at work", |stats| stats.in_flight == 2).await;
    drop(first);
    server.wait_for("it is gone", |stats| stats.connections_open == 0).await;
    says_nothing(&mut Peer::hello(&server.addr, of_engine("two")).await).await;
    let mut later = Peer::hello(&server.addr, of_engine("one")).await;
    assert_eq!(acks(&mut later, 2).await, [1, 2]);
    let stats = server.stats.snapshot();
    assert_eq!((stats.notifies, stats.acks, stats.answered_elsewhere, stats.unanswered), (2, 2, 2, 0), "{stats:?}");
}

#[tokio::test]
async fn they_do_not_wait_for_ever() {
    let server = start(|config| config.orphan_timeout = Duration::from_millis(200)).await;
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    let mut second = Peer::hello(&server.addr, of_engine("one")).await;
    first.notify(1, "m", 300).await;
    second.notify(2, "m", 300).await;
    server.wait_for("they are at work", |stats| stats.in_flight == 2).await;
    drop((first, second));
    server.wait_for("nobody answers", |stats| stats.unanswered == 2).await;
    says_nothing(&mut Peer::hello(&server.addr, of_engine("one")).await).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.notifies, stats.acks, stats.orphans_refused), (2, 0, 0), "{stats:?}");
}

/// Neither without the option, nor beyond the bound, nor for a HAProxy that has no `async`.
#[tokio::test]
async fn only_who_wants_it_and_so_many() {
    let without = ClientConfig::DEFAULT.with_engine_id(EngineId::new(b"one"));
    for (asks, refused, change) in [
        (of_engine("one"), 0, (|config| config.async_answers = false) as fn(&mut spop_agent::ServerConfig)),
        (of_engine("one"), 2, |config| config.max_orphans = 1),
        (without, 0, |_| {}),
    ] {
        let server = start(change).await;
        let mut first = Peer::hello(&server.addr, asks).await;
        let mut second = Peer::hello(&server.addr, asks).await;
        for n in 0..2 {
            first.notify(n, "m", 100).await;
        }
        server.wait_for("they are at work", |stats| stats.in_flight == 2).await;
        drop(first);
        server.wait_for("nobody answers", |stats| stats.unanswered == 2).await;
        says_nothing(&mut second).await;
        assert_eq!(server.stats.snapshot().orphans_refused, refused);
    }
}

/// Connections come and go while others ask: each NOTIFY is answered, or counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_account_is_kept_while_connections_go() {
    let server = start(|_| {}).await;
    let mut stays = Peer::hello(&server.addr, of_engine("one")).await;
    for round in 0..20_u64 {
        let mut goes = Peer::hello(&server.addr, of_engine("one")).await;
        for n in 0..10 {
            goes.notify(round * 10 + n, "m", (n % 5 * 4) as i64).await;
        }
        server.wait_for("they came", |stats| stats.notifies == (round + 1) * 10).await;
        drop(goes);
    }
    server.wait_for("all are accounted for", |stats| stats.acks + stats.unanswered == 200).await;
    let stats = server.stats.snapshot();
    assert!(stats.answered_elsewhere > 0 && stats.unanswered == 0, "{stats:?}");
    // Any of them may have answered; what those that went had left, the one that stays has.
    assert!(!acks(&mut stays, 1).await.is_empty());
}
