//! Limits of the runtime, each set small, that `server.rs` does not show: they hold and are counted.

use std::time::Duration;

use crate::common::{Event, Peer, Running, config, patiently};
use spop_agent::{Ack, Answer, Notify, Request, Result, Server, Side};
use spop_core::{ClientConfig, FrameId, NotifyEncoder, PREFIX_LEN, Scope, Status, StreamId, Value};
use tokio::io::AsyncWriteExt;

fn answer(notify: &Notify<'_>, ack: &mut Ack<'_>) -> Result {
    let count = notify.messages().count();
    ack.set_var(Scope::Transaction, b"count", Value::UInt64(count as u64))?;
    Ok(())
}

#[tokio::test]
async fn the_largest_frame_is_ours_if_haproxy_has_a_larger_one() {
    let server = Running::start(Server::new(answer).config(config(|config| config.max_frame_size = 300))).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    assert_eq!(peer.client.negotiated().unwrap().max_frame_size, 300);
    // The client knows what it waits for, and would not send what is too large.
    peer.encode_notify(1, 1, |_| ());
    for (len, taken) in [(300, true), (301, false)] {
        let mut frame = [0; 400];
        let mut notify = NotifyEncoder::new(&mut frame, 400, StreamId(1), FrameId(1)).unwrap();
        // The header has 7 bytes, the length of the name 2, the number of arguments 1.
        notify.message(vec![b'x'; len - 10]).unwrap();
        assert_eq!(notify.finish(), PREFIX_LEN + len);
        peer.stream.write_all(&frame[..PREFIX_LEN + len]).await.unwrap();
        let event = peer.event().await;
        match taken {
            true => assert!(matches!(event, Event::Ack { stream_id: 1, .. }), "{event:?}"),
            false => assert_eq!(event, Event::Disconnect(Status::FRAME_TOO_BIG)),
        }
    }
    server.wait_for("counted", |s| s.protocol_errors == 1 && s.notifies == 1).await;
    assert_eq!(server.stats.snapshot().disconnects, [(Side::Agent, Status::FRAME_TOO_BIG, 1)]);
}

/// Connections that are open keep their limits, and count.
#[tokio::test]
async fn limits_change_while_it_runs() {
    let server = Server::new(answer).config(config(|config| config.max_connections = 1));
    let live = server.live_config();
    let server = Running::start(server).await;
    let mut first = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    let mut refused = Peer::connect(&server.addr, ClientConfig::DEFAULT).await;
    assert_eq!(refused.event().await, Event::Eof);
    let set = |most, frame| {
        live.set(config(|config| {
            config.max_connections = most;
            config.max_frame_size = frame;
        }));
    };
    set(2, 300);
    // Until the acceptor knows.
    let mut second = loop {
        let refused = server.stats.snapshot().connections_refused;
        let mut peer = Peer::connect(&server.addr, ClientConfig::DEFAULT).await;
        server.wait_for("decided", |s| s.connections_open == 2 || s.connections_refused > refused).await;
        if server.stats.snapshot().connections_open == 2 {
            peer.send_own().await;
            assert_eq!(peer.event().await, Event::Hello);
            break peer;
        }
    };
    assert_eq!(second.client.negotiated().unwrap().max_frame_size, 300);
    assert!(first.client.negotiated().unwrap().max_frame_size > 300);
    set(1, 300);
    for peer in [&mut first, &mut second] {
        peer.notify(1, "m", 0).await;
        assert_eq!(peer.ack().await.1.len(), 1, "an open connection stays");
    }
    drop(second);
    server.wait_for("one is open", |s| s.connections_open == 1).await;
    let mut refused = Peer::connect(&server.addr, ClientConfig::DEFAULT).await;
    assert_eq!(refused.event().await, Event::Eof);
    first.notify(2, "m", 0).await;
    assert_eq!(first.ack().await.1.len(), 1);
}

/// It cannot be stopped, but it does not stay unknown.
#[tokio::test]
async fn a_handler_that_answers_too_late_is_counted() {
    let config = config(|config| config.handler_timeout = Duration::from_millis(1));
    let slow = |notify: &Notify<'_>, ack: &mut Ack<'_>| {
        std::thread::sleep(Duration::from_millis(2));
        answer(notify, ack)
    };
    let server = Running::start(Server::new(slow).config(config)).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    peer.notify(1, "m", 0).await;
    assert_eq!(peer.ack().await.1.len(), 1);
    server.wait_for("counted", |s| s.handler_late == 1 && s.acks == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_after_the_grace_time_is_cut_off_and_counted() {
    let config = config(|config| config.grace = Duration::from_millis(50));
    let never = |_: Request| std::future::pending::<Result<Answer>>();
    let server = Running::start(Server::new_async(never).config(config)).await;
    let mut peers = Vec::new();
    for _ in 0..50 {
        let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
        for n in 1..=3 {
            peer.notify(n, "m", 0).await;
        }
        peers.push(peer);
    }
    server.wait_for("taken", |s| s.notifies == 150).await;
    let stats = server.stats.clone();
    patiently("the server ends", server.stop()).await.unwrap();
    // At once.
    let stats = stats.snapshot();
    assert_eq!((stats.acks, stats.unanswered, stats.connections_open), (0, 150, 0));
    for mut peer in peers {
        assert_eq!(peer.event().await, Event::Eof);
    }
}

/// HAProxy with frames so large that a connection cannot hold one in what it has for itself.
const LARGE: ClientConfig = ClientConfig::DEFAULT.with_max_frame_size(1 << 20);

/// The first half of a NOTIFY that has so many bytes, or some less.
fn half_a_frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    let mut notify = NotifyEncoder::new(&mut frame, 1 << 20, StreamId(1), FrameId(1)).unwrap();
    notify.message(b"m").unwrap();
    let bulk = vec![b'x'; len - 100];
    notify.arg(b"a", Value::Binary(&bulk)).unwrap();
    let whole = notify.finish();
    frame.truncate(whole / 2);
    frame
}

#[tokio::test]
async fn half_frames_beyond_the_shared_memory_end_their_connection() {
    let config = config(|config| {
        config.max_frame_size = 1 << 20;
        config.max_buffered = 400 << 10;
    });
    let server = Running::start(Server::new(answer).config(config)).await;
    let mut small = Peer::hello(&server.addr, LARGE).await;
    let mut first = Peer::hello(&server.addr, LARGE).await;
    first.stream.write_all(&half_a_frame(1 << 20)).await.unwrap();
    server.wait_for("the first has its part", |s| s.buffered >= 1 << 18 && s.bytes_in > 1 << 19).await;
    let mut second = Peer::hello(&server.addr, LARGE).await;
    // It may be ended before all is sent.
    let _ended = second.stream.write_all(&half_a_frame(1 << 20)).await;
    let mut third = Peer::hello(&server.addr, LARGE).await;
    let _ended = third.stream.write_all(&half_a_frame(1 << 20)).await;
    let events = [second.event().await, third.event().await];
    assert_eq!(events, [Event::Disconnect(Status::RESOURCES), Event::Disconnect(Status::RESOURCES)]);
    server.wait_for("counted", |s| s.buffers_full == 2 && s.connections_open == 2).await;
    // Who needs no more than everybody has is served.
    small.notify(1, "m", 0).await;
    assert_eq!(small.ack().await.0, 1);
    drop(first);
    server.wait_for("given back", |s| s.buffered == 0 && s.connections_open == 1).await;
    assert_eq!(server.stats.snapshot().disconnects, [(Side::Agent, Status::RESOURCES, 2)]);
}

#[tokio::test]
async fn acks_beyond_the_shared_memory_end_their_connection() {
    // Without a bound it would be ended only by this.
    let config = config(|config| {
        config.max_frame_size = 1 << 20;
        config.max_buffered = 0;
        config.write_timeout = Duration::from_secs(600);
    });
    let large = |notify: &Notify<'_>, ack: &mut Ack<'_>| {
        assert_eq!(notify.messages().count(), 1);
        ack.set_var(Scope::Transaction, b"bulk", Value::Binary(&[0; 500_000]))?;
        Ok(())
    };
    let server = Running::start(Server::new(large).config(config)).await;
    let mut peer = Peer::hello(&server.addr, LARGE).await;
    // More than the system takes in for a peer that does not read.
    let frames = (0..100).flat_map(|n| peer.encode_notify(n, 1, |notify| notify.message(b"m").unwrap()));
    let frames: Vec<_> = frames.collect();
    peer.stream.write_all(&frames).await.unwrap();
    server.wait_for("ended", |s| s.buffers_full == 1 && s.connections_open == 0 && s.buffered == 0).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.write_timeouts, stats.io_errors), (0, 0));
    assert!(stats.late > 0 && stats.notifies + stats.late == 100, "{stats:?}");
}

#[tokio::test]
async fn requests_beyond_the_shared_memory_end_their_connection() {
    let config = config(|config| config.max_buffered = 0);
    let never = |_: Request| std::future::pending::<Result<Answer>>();
    let server = Running::start(Server::new_async(never).config(config)).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    for n in 0..30 {
        let frame = peer.encode_notify(n, 1, |notify| {
            notify.message(b"m").unwrap();
            notify.arg(b"bulk", Value::Binary(&[0; 15_000])).unwrap();
        });
        let _ended = peer.stream.write_all(&frame).await;
    }
    assert_eq!(peer.event().await, Event::Disconnect(Status::RESOURCES));
    server.wait_for("ended", |s| s.buffers_full == 1 && s.connections_open == 0 && s.in_flight == 0).await;
    assert_eq!(server.stats.snapshot().buffered, 0);
}

/// HAProxy logs each as an event without an answer.
#[tokio::test]
async fn what_comes_to_a_connection_that_we_end_is_counted() {
    let timeout = config(|config| config.connection_idle_timeout = Some(Duration::from_millis(50)));
    let server = Running::start(Server::new(answer).config(timeout)).await;
    // One that crosses our DISCONNECT, in two parts.
    let mut idle = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    let notify = idle.encode_notify(1, 1, |notify| notify.message(b"m").unwrap());
    assert_eq!(idle.event().await, Event::Disconnect(Status::TIMEOUT));
    idle.stream.write_all(&notify[..10]).await.unwrap();
    idle.stream.write_all(&notify[10..]).await.unwrap();
    drop(idle);
    server.wait_for("counted", |s| s.late == 1 && s.connections_open == 0).await;

    let memory = config(|config| {
        config.max_frame_size = 1 << 20;
        config.max_buffered = 0;
        config.max_in_flight = 1;
    });
    let never = |_: Request| std::future::pending::<Result<Answer>>();
    let server = Running::start(Server::new_async(never).config(memory)).await;
    // Three behind one that needs more memory than there is, in what was read with it or after it.
    let mut large = Peer::hello(&server.addr, LARGE).await;
    let mut frames = vec![0; 150_000];
    let mut first = NotifyEncoder::new(&mut frames, 1 << 20, StreamId(1), FrameId(1)).unwrap();
    first.message(b"m").unwrap();
    first.arg(b"bulk", Value::Binary(&[b'x'; 140_000])).unwrap();
    let len = first.finish();
    frames.truncate(len);
    (0..3).for_each(|_| frames.extend_from_slice(&notify));
    large.stream.write_all(&frames).await.unwrap();
    assert_eq!(large.event().await, Event::Disconnect(Status::RESOURCES));
    drop(large);
    server.wait_for("counted", |s| s.late == 3 && s.connections_open == 0).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.notifies, stats.unanswered, stats.buffers_full, stats.protocol_errors), (1, 1, 1, 0));
}

#[tokio::test]
async fn behind_an_error_of_the_protocol_nothing_is_counted() {
    let server = Running::start(Server::new(answer)).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    let notify = peer.encode_notify(1, 1, |notify| notify.message(b"m").unwrap());
    let mut wrong = b"\0\0\0\x02\x03\0".to_vec();
    wrong.extend_from_slice(&notify);
    peer.stream.write_all(&wrong).await.unwrap();
    assert!(matches!(peer.event().await, Event::Disconnect(_)));
    peer.stream.write_all(&notify).await.unwrap();
    drop(peer);
    server.wait_for("ended", |s| s.protocol_errors == 1 && s.connections_open == 0).await;
    assert_eq!(server.stats.snapshot().late, 0);
}
