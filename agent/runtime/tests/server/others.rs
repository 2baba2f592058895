//! `async` of HAProxy up to 3.0: connections of an engine answer for each other when one is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use spop_agent::{Answer, Request, Result, Scope, Server};
use spop_core::{
    Action, Capabilities, ClientConfig, EngineId, Frame, FrameId, MAX_TRANSMIT_LEN, NotifyEncoder, PREFIX_LEN, Status,
    StreamId, Value,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{Event, Peer, Running, config, patiently};
use crate::cpu;

/// Answers after so many milliseconds as the argument says.
async fn takes_its_time(request: Request) -> Result<Answer> {
    let n = request.messages().find_map(|message| message.arg("n").and_then(|value| value.as_integer())).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(n as u64)).await;
    let mut answer = Answer::new();
    answer.set_var(Scope::Transaction, "n", n as i64);
    Ok(answer)
}

async fn start(change: impl FnOnce(&mut spop_agent::ServerConfig)) -> Running {
    start_counted(change).await.0
}

/// With the number of handlers at work, which those that are cancelled leave too.
async fn start_counted(change: impl FnOnce(&mut spop_agent::ServerConfig)) -> (Running, Arc<AtomicU64>) {
    struct AtWork(Arc<AtomicU64>);
    impl Drop for AtWork {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }
    let config = config(|config| {
        config.async_answers = true;
        change(config);
    });
    let at_work = Arc::<AtomicU64>::default();
    let count = at_work.clone();
    let handler = move |request: Request| {
        count.fetch_add(1, Relaxed);
        let at_work = AtWork(count.clone());
        async move {
            let _at_work = at_work;
            takes_its_time(request).await
        }
    };
    (Running::start(Server::new_async(handler).config(config)).await, at_work)
}

fn of_engine(id: &str) -> ClientConfig {
    let capabilities = Capabilities::PIPELINING | Capabilities::ASYNC;
    ClientConfig::DEFAULT.with_capabilities(capabilities).with_engine_id(EngineId::new(id.as_bytes()))
}

/// The stream-ids of the ACKs that come, whatever the connection asked.
async fn acks(peer: &mut Peer, count: usize) -> Vec<u64> {
    read_acks(peer, count).await.into_iter().map(|(stream_id, _)| stream_id).collect()
}

/// The same with what they set.
async fn answers(peer: &mut Peer, count: usize) -> Vec<(u64, i64)> {
    read_acks(peer, count).await.into_iter().map(|(stream_id, n)| (stream_id, n.expect("no empty one"))).collect()
}

/// Their stream-ids, and what they set, if anything.
async fn read_acks(peer: &mut Peer, count: usize) -> Vec<(u64, Option<i64>)> {
    let mut acks = Vec::new();
    // What came with the agent's HELLO is read already.
    let before = std::mem::take(&mut peer.input);
    let mut stream = before.as_slice().chain(&mut peer.stream);
    while acks.len() < count {
        let mut prefix = [0; PREFIX_LEN];
        patiently("a frame", stream.read_exact(&mut prefix)).await.unwrap();
        let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
        patiently("its body", stream.read_exact(&mut body)).await.unwrap();
        let frame = Frame::decode(&body).unwrap();
        let n = frame.actions().next().map(|action| match action.unwrap() {
            Action::SetVar { value: Value::Int64(n), .. } => n,
            other => panic!("{other:?}"),
        });
        acks.push((frame.header.stream_id.0, n));
    }
    acks.sort_unstable();
    acks
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

/// So when ids come again on other connections, and whatever ends a connection; at the stop nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_account_is_kept_when_ids_come_again() {
    let (server, at_work) = start_counted(|config| config.max_orphans = 15).await;
    let _stays = Peer::hello(&server.addr, of_engine("one")).await;
    for round in 0..60_u64 {
        let mut goes = Peer::hello(&server.addr, of_engine("one")).await;
        for n in 0..10 {
            goes.notify(n, "m", [0, 4, 8, 40, 80][n as usize % 5]).await;
        }
        server.wait_for("they came", |stats| stats.notifies == (round + 1) * 10).await;
        match round % 3 {
            0 => {}
            1 => goes.stream.write_all(&BROKEN).await.unwrap(),
            _ => {
                goes.client.close(Status::NORMAL);
                goes.send_own().await;
            }
        }
    }
    let stats = server.stats.clone();
    patiently("the server ends", server.stop()).await.unwrap();
    let stats = stats.snapshot();
    assert_eq!(stats.notifies, stats.acks + stats.superseded + stats.unanswered, "{stats:?}");
    assert!(stats.superseded > 0 && stats.answered_elsewhere > 0, "{stats:?}");
    patiently("all handlers end", async {
        while at_work.load(Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// What an engine that is gone had to do at last does not make another one with its id forgotten.
#[tokio::test]
async fn an_engine_that_comes_again_is_known() {
    let timeout = Duration::from_millis(500);
    let server = start(|config| config.orphan_timeout = timeout).await;
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    let mut second = Peer::hello(&server.addr, of_engine("one")).await;
    first.notify(1, "m", 100).await;
    server.wait_for("it is at work", |stats| stats.in_flight == 1).await;
    drop(first);
    assert_eq!(acks(&mut second, 1).await, [1]);
    drop(second);
    server.wait_for("all are gone", |stats| stats.connections_open == 0).await;
    let mut third = Peer::hello(&server.addr, of_engine("one")).await;
    // The answer would have expired by then, had nobody come.
    tokio::time::sleep(2 * timeout).await;
    third.notify(2, "m", 1000).await;
    server.wait_for("it is at work", |stats| stats.in_flight == 1).await;
    let mut fourth = Peer::hello(&server.addr, of_engine("one")).await;
    drop(third);
    assert_eq!(acks(&mut fourth, 1).await, [2]);
}

/// An ACK, which only agents send.
const BROKEN: [u8; 11] = [0, 0, 0, 7, 103, 0, 0, 0, 1, 0, 0];

/// One that breaks the protocol leaves its open NOTIFYs to others as one that just goes; each counts once.
#[tokio::test]
async fn another_connection_answers_after_an_error_of_the_protocol() {
    for (max_orphans, answered) in [(1, 1), (0, 0)] {
        let server = start(|config| config.max_orphans = max_orphans).await;
        let mut first = Peer::hello(&server.addr, of_engine("one")).await;
        let mut second = Peer::hello(&server.addr, of_engine("one")).await;
        first.notify(7, "m", 1000).await;
        server.wait_for("it is at work", |stats| stats.in_flight == 1).await;
        first.stream.write_all(&BROKEN).await.unwrap();
        assert!(matches!(first.event().await, Event::Disconnect(Status::INVALID_FRAME)));
        drop(first);
        assert_eq!(acks(&mut second, answered).await, &[7][..answered]);
        server.wait_for("the other one is gone", |stats| stats.connections_open == 1).await;
        let stats = server.stats.snapshot();
        let (acks, unanswered) = (answered as u64, 1 - answered as u64);
        assert_eq!((stats.notifies, stats.acks, stats.unanswered, stats.protocol_errors), (1, acks, unanswered, 1));
    }
}

/// A NOTIFY that is too big makes void what had its ids before: nobody answers that any more.
#[tokio::test]
async fn too_big_a_notify_supersedes_one_at_work() {
    let server = start(|config| config.max_reassembly = 100).await;
    let asks = of_engine("one");
    let asks = asks.with_capabilities(asks.capabilities | Capabilities::FRAGMENTATION);
    let mut first = Peer::hello(&server.addr, asks).await;
    let mut second = Peer::hello(&server.addr, asks).await;
    first.notify(5, "m", 1000).await;
    server.wait_for("it is at work", |stats| stats.in_flight == 1).await;
    // HAProxy has given up the first one.
    let mut again = Peer::hello(&server.addr, asks).await;
    again.client.start_fragmented(StreamId(5), FrameId(1)).unwrap();
    let mut payload = [0; 300];
    let mut notify = NotifyEncoder::payload(&mut payload);
    notify.message("long").unwrap();
    notify.arg("text", [b'x'; 200].as_slice()).unwrap();
    let len = notify.finish();
    let mut frame = [0; 512];
    while let Some(len) = again.client.notify_fragment(&mut frame, &payload[..len], 50).unwrap() {
        first.stream.write_all(&frame[..len]).await.unwrap();
    }
    server.wait_for("it came", |stats| stats.too_big == 1).await;
    drop((first, again));
    server.wait_for("they are gone", |stats| stats.connections_open == 1).await;
    says_nothing(&mut second).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.notifies, stats.superseded, stats.acks, stats.unanswered), (1, 1, 0, 0), "{stats:?}");
}

/// Of NOTIFYs with the same ids one is open, so only that is gone on with: the bound holds whatever a peer sends.
#[tokio::test]
async fn what_was_superseded_ends_with_its_connection() {
    let (server, at_work) = start_counted(|config| config.max_orphans = 1).await;
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    let mut second = Peer::hello(&server.addr, of_engine("one")).await;
    let frame = first.encode_notify(5, 1, |notify| {
        notify.message("m").unwrap();
        notify.arg("n", 3000_i64).unwrap();
    });
    first.stream.write_all(&frame.repeat(100)).await.unwrap();
    server.wait_for("they are at work", |stats| stats.notifies == 100 && at_work.load(Relaxed) == 100).await;
    drop(first);
    server.wait_for("one is", |_| at_work.load(Relaxed) == 1).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.acks, stats.superseded, stats.unanswered), (0, 99, 0), "{stats:?}");
    assert_eq!(acks(&mut second, 1).await, [5]);
}

/// HAProxy uses ids again after a timeout: what was asked before must not answer what is asked now.
#[tokio::test]
async fn a_later_notify_supersedes_what_is_at_work_without_a_connection() {
    let (server, at_work) = start_counted(|_| {}).await;
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    let mut second = Peer::hello(&server.addr, of_engine("one")).await;
    first.notify(7, "m", 800).await;
    first.notify(8, "m", 801).await;
    server.wait_for("they are at work", |stats| stats.in_flight == 2).await;
    drop(first);
    server.wait_for("it is gone", |stats| stats.connections_open == 1 && stats.in_flight == 0).await;
    second.notify(7, "m", 1200).await;
    server.wait_for("two are left", |_| at_work.load(Relaxed) == 2).await;
    assert_eq!(answers(&mut second, 2).await, [(7, 1200), (8, 801)]);
    says_nothing(&mut second).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.notifies, stats.superseded, stats.acks, stats.answered_elsewhere), (3, 1, 2, 1), "{stats:?}");
    assert_eq!(stats.unanswered, 0);
}

/// So with an answer that is ready and waits for a connection.
#[tokio::test]
async fn a_later_notify_supersedes_an_answer_that_waits() {
    let (server, at_work) = start_counted(|_| {}).await;
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    first.notify(7, "m", 1000).await;
    server.wait_for("it is at work", |stats| stats.in_flight == 1).await;
    first.client.forget(StreamId(7), FrameId(1));
    let again = first.encode_notify(7, 1, |notify| {
        notify.message("m").unwrap();
        notify.arg("n", 1001_i64).unwrap();
    });
    drop(first);
    server.wait_for("its answer waits", |stats| stats.connections_open == 0 && at_work.load(Relaxed) == 0).await;
    // Both in one write, so that it comes before the answer leaves.
    let mut later = Peer::connect(&server.addr, of_engine("one")).await;
    let mut frames = vec![0; MAX_TRANSMIT_LEN];
    let hello = later.client.poll_transmit(&mut frames).unwrap().unwrap();
    frames.truncate(hello);
    frames.extend(again);
    later.stream.write_all(&frames).await.unwrap();
    assert_eq!(later.event().await, Event::Hello);
    assert_eq!(answers(&mut later, 1).await, [(7, 1001)]);
    says_nothing(&mut later).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.notifies, stats.superseded, stats.acks, stats.unanswered), (2, 1, 1, 0), "{stats:?}");
}

/// A handler may panic as its future is dropped, late. That is answered, too, and keeps no place.
#[tokio::test]
async fn who_panics_at_the_end_keeps_no_place() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("told to panic");
        }
    }
    let config = config(|config| {
        (config.async_answers, config.max_orphans) = (true, 1);
        config.handler_timeout = Duration::from_millis(1500);
    });
    let handler = |request: Request| async move {
        let _panics = request.messages().any(|message| message.name == b"panic").then(|| Panics);
        takes_its_time(request).await
    };
    let server = Running::start(Server::new_async(handler).config(config)).await;
    let mut second = Peer::hello(&server.addr, of_engine("one")).await;
    for (name, n) in [("panic", 60_000), ("m", 1000)] {
        let mut first = Peer::hello(&server.addr, of_engine("one")).await;
        first.notify(7, name, n).await;
        server.wait_for("it is at work", |stats| stats.in_flight == 1).await;
        drop(first);
        let answered = (name != "panic").then_some(n);
        assert_eq!(read_acks(&mut second, 1).await, [(7, answered)]);
    }
    let stats = server.stats.snapshot();
    assert_eq!((stats.handler_panics, stats.unanswered, stats.orphans_refused), (1, 0, 0), "{stats:?}");
}

/// What nobody can answer any more when the agent stops ends with it, and is counted.
#[tokio::test]
async fn the_stop_ends_what_has_no_connection() {
    let (server, at_work) = start_counted(|_| {}).await;
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    first.notify(1, "m", 1000).await;
    first.notify(2, "m", 60_000).await;
    server.wait_for("they are at work", |stats| stats.in_flight == 2).await;
    drop(first);
    server.wait_for("an answer waits", |stats| stats.connections_open == 0 && at_work.load(Relaxed) == 1).await;
    let stats = server.stats.clone();
    patiently("the server ends", server.stop()).await.unwrap();
    let stats = stats.snapshot();
    assert_eq!((stats.notifies, stats.acks, stats.superseded, stats.unanswered), (2, 0, 0, 2), "{stats:?}");
    patiently("the other one is cancelled", async {
        while at_work.load(Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// An answer may wait for a connection that does not read: that keeps no processor busy.
#[tokio::test]
async fn no_time_to_wait_is_no_haste() {
    let config = config(|config| (config.async_answers, config.orphan_timeout) = (true, Duration::ZERO));
    let much = |request: Request| async move {
        let mut answer = Answer::new();
        if request.messages().any(|message| message.name == b"much") {
            answer.set_var(Scope::Transaction, "much", [b'x'; 16_000].as_slice());
        } else {
            answer = takes_its_time(request).await?;
        }
        Ok(answer)
    };
    let server = Running::start(Server::new_async(much).config(config)).await;
    let mut deaf = Peer::hello(&server.addr, of_engine("one")).await;
    // More than the system's buffers hold: the agent does not come to the end.
    const MUCH: u64 = 2000;
    for n in 0..MUCH {
        deaf.notify(n, "much", 0).await;
        // That it waits for so many is not what its state machine is to see.
        deaf.client.forget(StreamId(n), FrameId(1));
    }
    let mut first = Peer::hello(&server.addr, of_engine("one")).await;
    first.notify(MUCH, "m", 1000).await;
    server.wait_for("it is at work", |stats| stats.in_flight > 0).await;
    drop(first);
    server.wait_for("it is gone", |stats| stats.connections_open == 1).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let (used, time) = (cpu::of_this_thread(), Duration::from_secs(1));
    tokio::time::sleep(time).await;
    let used = cpu::of_this_thread() - used;
    assert!(used < time / 50, "{used:?} of {time:?}");
    let stats = server.stats.snapshot();
    assert!(stats.notifies < MUCH && stats.answered_elsewhere == 0, "it reads: {stats:?}");
}
