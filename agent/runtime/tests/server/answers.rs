//! The runtime over real sockets, with a client of spop-core as HAProxy.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{Event, PATIENCE, Peer, Running, config, patiently};
use spop_agent::{Ack, Addr, Answer, Notify, Request, Result, Server, ServerConfig, Side};
use spop_core::{Capabilities, ClientConfig, EngineId, FrameId, Scope, Status, StreamId, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

fn client() -> ClientConfig {
    ClientConfig::DEFAULT
}

/// Answers `echo` by its argument; `fail` and `panic` do what they say, after an action that must not go out.
fn echo(notify: &Notify<'_>, ack: &mut Ack<'_>) -> Result {
    for message in notify.messages() {
        let n = message.arg("n").unwrap_or(Value::Null);
        ack.set_var(Scope::Transaction, b"n", n)?;
        match message.name {
            b"fail" => return Err("told to fail".into()),
            b"panic" => panic!("told to panic"),
            _ => {}
        }
    }
    Ok(())
}

fn vars(n: i64) -> Vec<(Scope, String, String)> {
    vec![(Scope::Transaction, "n".to_owned(), format!("Int64({n})"))]
}

/// The handler of the crate's front page.
fn rate(notify: &Notify<'_>, ack: &mut Ack<'_>) -> Result {
    for message in notify.messages() {
        if let Some(ip) = message.arg("ip").and_then(|value| value.as_ip()) {
            ack.set_var(Scope::Session, "ip_score", if ip.is_loopback() { 100 } else { 42 })?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_handler_of_the_front_page_rates_addresses() {
    let server = Running::start(Server::new(rate)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    let ips = [IpAddr::from([192, 0, 2, 17]), IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    for (stream_id, (ip, score)) in (0..).zip(ips.into_iter().zip([42, 100, 100])) {
        let frame = peer.encode_notify(stream_id, 1, |notify| {
            notify.message("without").unwrap();
            notify.message("with").unwrap();
            notify.arg("other", ip.to_string().as_str()).unwrap();
            notify.arg("ip", ip).unwrap();
        });
        peer.stream.write_all(&frame).await.unwrap();
        let vars = vec![(Scope::Session, "ip_score".to_owned(), format!("Int32({score})"))];
        assert_eq!(peer.ack().await, (stream_id, vars));
    }
}

/// What a NOTIFY says of itself: a variable for each argument, and one for all the rest.
macro_rules! describe {
    ($notify:ident, $set:expr) => {{
        let mut set = $set;
        for message in $notify.messages() {
            let name = message.name_str().unwrap_or_default();
            assert_eq!(message.args().len(), message.args().count());
            for arg in message.args() {
                set(&format!("{name}.{}", arg.key_str().unwrap_or_default()), arg.value);
            }
        }
        let connection = $notify.connection();
        let engine = connection.engine_id.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let (stream, frame, size) = ($notify.stream_id().0, $notify.frame_id().0, connection.negotiated.max_frame_size);
        let recent = $notify.received().clock.elapsed() < PATIENCE;
        let all = format!("{engine} {} {size} {stream} {frame} {recent}", connection.id);
        set("all", all.as_str().into());
    }};
}

#[tokio::test]
async fn handlers_of_both_kinds_know_their_notify() {
    let at_once = Server::new(|notify: &Notify<'_>, ack: &mut Ack<'_>| {
        ack.set_var(Scope::Process, "gone", true)?;
        ack.encoder().clear();
        ack.unset_var(Scope::Process, "old")?;
        describe!(notify, |name: &str, value: Value<'_>| ack.set_var(Scope::Request, name, value).unwrap());
        Ok(())
    });
    let waiting = Server::new_async(|request: Request| async move {
        let mut answer = Answer::new();
        answer.unset_var(Scope::Process, "old");
        describe!(request, |name: &str, value: Value<'_>| _ = answer.set_var(Scope::Request, name, value));
        Ok(answer)
    });
    for server in [at_once, waiting] {
        let server = Running::start(server).await;
        let config = client().with_engine_id(EngineId::new(b"engine-7")).with_max_frame_size(9000);
        drop(Peer::hello(&server.addr, config).await);
        let mut peer = Peer::hello(&server.addr, config).await;
        let frame = peer.encode_notify(5, 6, |notify| {
            notify.message("m").unwrap();
            notify.arg("a", 1_i64).unwrap();
            notify.arg("a", "two").unwrap();
            notify.message("n").unwrap();
        });
        peer.stream.write_all(&frame).await.unwrap();
        let var = |name: &str, value: Value<'_>| (Scope::Request, name.to_owned(), format!("{value:?}"));
        let old = (Scope::Process, "old".to_owned(), "unset".to_owned());
        let all = var("all", "engine-7 1 9000 5 6 true".into());
        assert_eq!(peer.ack().await, (5, vec![old, var("m.a", 1_i64.into()), var("m.a", "two".into()), all]));
    }
}

#[tokio::test]
async fn addresses_are_texts_or_types_and_errors_say_which() {
    let addr: Addr = "127.0.0.1:0".parse().unwrap();
    let server = Server::new(rate).bind(addr).await.unwrap().bind("[::1]:0".to_owned()).await.unwrap();
    let bound: Vec<String> = server.addrs().map(ToString::to_string).collect();
    assert!(bound[0].starts_with("127.0.0.1:") && bound[1].starts_with("[::1]:"), "{bound:?}");
    assert!(bound.iter().all(|addr| !addr.ends_with(":0")), "{bound:?}");
    let error = Server::new(rate).bind("127.0.0.1").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("has no port"), "{error}");
    let error = Server::new(rate).bind(bound[0].as_str()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn pipelined_notifys_are_all_answered_in_order() {
    let server = Running::start(Server::new(echo)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    for round in 0..20 {
        let mut batch = Vec::new();
        for n in 0..100 {
            let frame = peer.encode_notify(round * 100 + n, 1, |notify| {
                notify.message(b"echo").unwrap();
                notify.arg(b"n", Value::Int64(n as i64)).unwrap();
            });
            batch.extend(frame);
        }
        peer.stream.write_all(&batch).await.unwrap();
        for n in 0..100 {
            assert_eq!(peer.ack().await, (round * 100 + n, vars(n as i64)));
        }
    }
    server.wait_for("2000 ACKs", |s| s.notifies == 2000 && s.acks == 2000).await;
}

#[tokio::test]
async fn one_byte_at_a_time() {
    let server = Running::start(Server::new(echo)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    peer.stream.set_nodelay(true).unwrap();
    let frame = peer.encode_notify(0, 1, |notify| {
        notify.message(b"echo").unwrap();
        notify.arg(b"n", Value::Int64(5)).unwrap();
    });
    for byte in frame {
        peer.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.ack().await, (0, vars(5)));
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_gives_an_empty_ack() {
    let server = Running::start(Server::new(echo)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    for (stream_id, name) in [(1, "fail"), (2, "panic"), (3, "echo")] {
        peer.notify(stream_id, name, 7).await;
    }
    assert_eq!(peer.ack().await, (1, vec![]));
    assert_eq!(peer.ack().await, (2, vec![]));
    assert_eq!(peer.ack().await, (3, vars(7)));
    server.wait_for("counted", |s| s.handler_errors == 1 && s.handler_panics == 1 && s.acks == 3).await;
}

/// An asynchronous handler: `wait` waits for a permit, `fail`, `panic` and `late` do what they say.
fn asynchronous(permits: Arc<Semaphore>, config: ServerConfig) -> Server {
    Server::new_async(move |request: Request| {
        let permits = permits.clone();
        async move {
            let Some(message) = request.messages().next() else { return Ok(Answer::new()) };
            let n = message.arg("n").unwrap_or(Value::Null);
            match message.name {
                b"wait" => permits.acquire().await?.forget(),
                b"fail" => return Err("told to fail".into()),
                b"panic" => panic!("told to panic"),
                b"late" => std::future::pending().await,
                _ => {}
            }
            let mut answer = Answer::new();
            answer.set_var(Scope::Transaction, "n", n);
            Ok(answer)
        }
    })
    .config(config)
}

#[tokio::test]
async fn asynchronous_answers_come_as_they_are_ready() {
    let permits = Arc::new(Semaphore::new(0));
    let server = Running::start(asynchronous(permits.clone(), ServerConfig::default())).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    peer.notify(1, "wait", 1).await;
    peer.notify(3, "now", 3).await;
    assert_eq!(peer.ack().await, (3, vars(3)));
    permits.add_permits(1);
    assert_eq!(peer.ack().await, (1, vars(1)));
}

#[tokio::test]
async fn asynchronous_failures_give_empty_acks() {
    let config = config(|config| config.handler_timeout = Duration::from_millis(100));
    let server = Running::start(asynchronous(Arc::new(Semaphore::new(0)), config)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    for (stream_id, name) in [(1, "fail"), (2, "panic"), (3, "late")] {
        peer.notify(stream_id, name, 7).await;
        assert_eq!(peer.ack().await, (stream_id, vec![]));
    }
    server.wait_for("counted", |s| s.handler_errors == 1 && s.handler_panics == 1 && s.handler_late == 1).await;
}

/// As a late future is dropped: the connection goes on, and no place in flight is lost.
#[tokio::test]
async fn who_panics_at_the_end_of_the_limit_gets_an_empty_ack() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("told to panic");
        }
    }
    let handler = |request: Request| async move {
        let _panics = request.messages().any(|message| message.name == b"panic").then(|| Panics);
        std::future::pending::<Result<Answer>>().await
    };
    let config = config(|config| (config.handler_timeout, config.max_in_flight) = (Duration::from_millis(100), 2));
    let server = Running::start(Server::new_async(handler).config(config)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    for round in 0..3 {
        // Both end in one wake-up.
        let [late, panics] = [2 * round, 2 * round + 1];
        peer.notify(late, "late", 1).await;
        peer.notify(panics, "panic", 1).await;
        let mut answered = [peer.ack().await, peer.ack().await];
        answered.sort_unstable_by_key(|(stream_id, _)| *stream_id);
        assert_eq!(answered, [(late, vec![]), (panics, vec![])]);
    }
    server.wait_for("counted", |s| s.handler_panics == 3 && s.handler_late == 3 && s.in_flight == 0).await;
    assert_eq!(server.stats.snapshot().io_errors, 0);
}

#[tokio::test]
async fn no_more_in_flight_than_allowed() {
    let permits = Arc::new(Semaphore::new(0));
    let config = config(|config| config.max_in_flight = 3);
    let server = Running::start(asynchronous(permits.clone(), config)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    for n in 0..10 {
        peer.notify(n, "wait", n as i64).await;
    }
    server.wait_for("three are taken", |s| s.notifies == 3 && s.in_flight == 3).await;
    permits.add_permits(10);
    let mut answered: Vec<u64> = Vec::new();
    for _ in 0..10 {
        answered.push(peer.ack().await.0);
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..10).collect::<Vec<_>>());
    server.wait_for("all are counted", |s| s.in_flight == 0 && s.sent_ack == 10).await;
    assert_eq!(server.stats.snapshot().handler_durations.count(), 10);
}

/// 0 would be a connection that is never read.
#[tokio::test]
async fn one_in_flight_is_allowed_in_any_case() {
    let config = config(|config| config.max_in_flight = 0);
    let server = Running::start(Server::new(echo).config(config)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    peer.notify(1, "echo", 9).await;
    assert_eq!(peer.ack().await, (1, vars(9)));
}

#[tokio::test]
async fn what_a_lost_connection_left_open_is_not_in_flight_any_more() {
    let server = Running::start(asynchronous(Arc::new(Semaphore::new(0)), ServerConfig::default())).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    let mut other = Peer::hello(&server.addr, client()).await;
    peer.notify(1, "wait", 1).await;
    peer.notify(2, "wait", 2).await;
    other.notify(1, "wait", 1).await;
    server.wait_for("three are taken", |s| s.in_flight == 3).await;
    drop(peer);
    server.wait_for("one is left", |s| s.in_flight == 1 && s.unanswered == 2).await;
}

#[tokio::test]
async fn stop_answers_what_is_open_then_disconnects() {
    let permits = Arc::new(Semaphore::new(0));
    let server = Running::start(asynchronous(permits.clone(), ServerConfig::default())).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    let mut idle = Peer::hello(&server.addr, client()).await;
    peer.notify(1, "wait", 1).await;
    server.wait_for("taken", |s| s.notifies == 1).await;
    let (addr, stats) = (server.addr.clone(), server.stats.clone());
    let task = server.stop();
    assert_eq!(idle.event().await, Event::Disconnect(Status::NORMAL));
    permits.add_permits(1);
    assert_eq!(peer.ack().await, (1, vars(1)));
    assert_eq!(peer.event().await, Event::Disconnect(Status::NORMAL));
    assert_eq!(peer.event().await, Event::Eof);
    drop((peer, idle));
    patiently("the server ends", task).await.unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "it still listens");
    let stats = stats.snapshot();
    assert_eq!((stats.connections_open, stats.unanswered), (0, 0));
    assert_eq!(stats.disconnects, [(Side::Agent, Status::NORMAL, 2)]);
}

#[tokio::test]
async fn health_check_gets_its_hello_and_nothing_more() {
    let server = Running::start(Server::new(echo)).await;
    let mut peer = Peer::connect(&server.addr, client().with_healthcheck(true)).await;
    peer.send_own().await;
    assert_eq!(peer.event().await, Event::Hello);
    assert_eq!(peer.event().await, Event::Eof);
    server.wait_for("counted", |s| s.healthchecks == 1 && s.hellos == 0).await;
}

#[tokio::test]
async fn fragments_are_joined_and_bounded() {
    let config = config(|config| config.max_reassembly = 300);
    let server = Running::start(Server::new(echo).config(config)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    let mut payload = vec![0; 1000];
    let long = [b'x'; 400];
    for (stream_id, text, answered) in [(1, &b"short"[..], true), (2, &long[..], false), (3, b"short", true)] {
        let mut notify = spop_core::NotifyEncoder::payload(&mut payload);
        notify.message(b"echo").unwrap();
        notify.arg(b"n", Value::Int64(9)).unwrap();
        notify.arg(b"text", Value::String(text)).unwrap();
        let len = notify.finish();
        peer.client.start_fragmented(StreamId(stream_id), FrameId(1)).unwrap();
        let mut frame = [0; 512];
        while let Some(n) = peer.client.notify_fragment(&mut frame, &payload[..len], 7).unwrap() {
            peer.stream.write_all(&frame[..n]).await.unwrap();
        }
        assert_eq!(peer.ack().await, (stream_id, if answered { vars(9) } else { vec![] }));
    }
    // A frame of an unknown type is left alone.
    peer.stream.write_all(b"\0\0\0\x07\xc8\0\0\0\x01\x01\x01").await.unwrap();
    server.wait_for("counted", |s| s.too_big == 1 && s.notifies == 2 && s.ignored == 1).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.received_hello, stats.received_notify, stats.received_unknown), (1, 3, 1));
    assert_eq!(stats.received_notify + stats.received_unset, stats.fragments);
    assert_eq!((stats.sent_hello, stats.sent_ack), (1, 3), "the empty ACK is one");
}

#[tokio::test]
async fn broken_frames_are_refused_and_others_go_on() {
    let server = Running::start(Server::new(echo)).await;
    let mut good = Peer::hello(&server.addr, client()).await;
    let broken_payload = [0, 0, 0, 10, 3, 0, 0, 0, 1, 1, 1, 9, b'x', b'y'];
    let without_fin = [0, 0, 0, 7, 2, 0, 0, 0, 0, 0, 0];
    let huge = *b"GET / HTTP/1.1\r\n\r\n";
    for (bytes, status) in [
        (&broken_payload[..], Status::INVALID_FRAME),
        (&without_fin[..], Status::NO_FRAGMENTATION),
        (&huge[..], Status::FRAME_TOO_BIG),
    ] {
        let mut bad = Peer::hello(&server.addr, client()).await;
        bad.stream.write_all(bytes).await.unwrap();
        assert_eq!(bad.event().await, Event::Disconnect(status));
        assert_eq!(bad.event().await, Event::Eof);
        good.notify(1, "echo", 1).await;
        assert_eq!(good.ack().await, (1, vars(1)));
    }
    server.wait_for("counted", |s| s.protocol_errors == 3 && s.connections_open == 1).await;
}

#[tokio::test]
async fn timeouts_end_connections_that_stand_still() {
    let config = config(|config| {
        config.hello_timeout = Duration::from_millis(100);
        config.half_frame_timeout = Duration::from_millis(100);
        config.connection_idle_timeout = Some(Duration::from_millis(300));
    });
    let server = Running::start(Server::new(echo).config(config)).await;
    let mut silent = Peer::connect(&server.addr, client()).await;
    assert_eq!(silent.event().await, Event::Disconnect(Status::TIMEOUT));
    let mut half = Peer::hello(&server.addr, client()).await;
    half.stream.write_all(&[0, 0, 0]).await.unwrap();
    assert_eq!(half.event().await, Event::Disconnect(Status::TIMEOUT));
    let mut idle = Peer::hello(&server.addr, client()).await;
    idle.notify(1, "echo", 1).await;
    assert_eq!(idle.ack().await, (1, vars(1)));
    assert_eq!(idle.event().await, Event::Disconnect(Status::TIMEOUT));
    server.wait_for("counted", |s| s.disconnects == [(Side::Agent, Status::TIMEOUT, 3)]).await;
    assert_eq!(server.stats.snapshot().protocol_errors, 2, "who was idle broke nothing");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_dropped() {
    let config = config(|config| config.write_timeout = Duration::from_millis(200));
    let server = Server::new(|notify: &Notify<'_>, ack: &mut Ack<'_>| {
        assert_eq!(notify.messages().count(), 1);
        ack.set_var(Scope::Transaction, b"bulk", Value::Binary(&[0; 16000]))?;
        Ok(())
    });
    let server = Running::start(server.config(config)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    let mut stream_id = 0;
    // The server stops reading when it cannot write, so the flood ends by itself.
    while server.stats.snapshot().write_timeouts == 0 {
        let frame = peer.encode_notify(stream_id, 1, |notify| notify.message(b"m").unwrap());
        peer.client.forget(StreamId(stream_id), FrameId(1));
        stream_id += 1;
        let _ = tokio::time::timeout(Duration::from_millis(20), peer.stream.write_all(&frame)).await;
        assert!(stream_id < 1_000_000, "never dropped");
    }
    server.wait_for("ended", |s| s.connections_open == 0).await;
    let stats = server.stats.snapshot();
    assert_eq!((stats.write_timeouts, stats.io_errors), (1, 0));
}

/// Though the peer keeps the socket open, for which the agent waits a while.
#[tokio::test]
async fn handlers_end_with_their_connection() {
    let done = Arc::new(AtomicBool::new(false));
    let late = done.clone();
    let handler = move |_: Request| {
        let late = late.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            late.store(true, Ordering::Relaxed);
            Ok(Answer::new())
        }
    };
    let server = Running::start(Server::new_async(handler)).await;
    let mut peer = Peer::hello(&server.addr, client()).await;
    peer.notify(1, "m", 0).await;
    server.wait_for("taken", |s| s.notifies == 1).await;
    peer.stream.write_all(b"\0\0\0\x01\x01").await.unwrap();
    server.wait_for("void", |s| s.protocol_errors == 1 && s.unanswered == 1).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(!done.load(Ordering::Relaxed));
}

#[tokio::test]
async fn too_many_connections_are_refused() {
    let config = config(|config| config.max_connections = 2);
    let server = Running::start(Server::new(echo).config(config)).await;
    let first = Peer::hello(&server.addr, client()).await;
    let _second = Peer::hello(&server.addr, client()).await;
    let mut third = Peer::connect(&server.addr, client()).await;
    assert_eq!(third.event().await, Event::Eof);
    server.wait_for("counted", |s| s.connections_refused == 1).await;
    drop(first);
    server.wait_for("a place is free", |s| s.connections_open == 1).await;
    Peer::hello(&server.addr, client()).await;
}

#[tokio::test]
async fn without_pipelining_a_late_answer_is_not_sent() {
    let permits = Arc::new(Semaphore::new(0));
    let server = Running::start(asynchronous(permits.clone(), ServerConfig::default())).await;
    let mut peer = Peer::hello(&server.addr, client().with_capabilities(Capabilities::NONE)).await;
    peer.notify(1, "wait", 1).await;
    server.wait_for("taken", |s| s.notifies == 1).await;
    peer.client.forget(StreamId(1), FrameId(1));
    peer.notify(3, "now", 3).await;
    assert_eq!(peer.ack().await, (3, vars(3)));
    permits.add_permits(1);
    peer.notify(5, "now", 5).await;
    assert_eq!(peer.ack().await, (5, vars(5)));
    server.wait_for("counted", |s| s.superseded == 1).await;
}

#[tokio::test]
async fn unix_socket_is_replaced_when_stale_and_removed_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spoa.sock");
    let addr = format!("unix:{}", path.display());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a stale socket is there");

    let server = Server::new(echo).bind(addr.as_str()).await.unwrap();
    let error = Server::new(echo).bind(addr).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut client: spop_core::Client = spop_core::Client::new(client());
    let mut out = [0; 256];
    let len = client.poll_transmit(&mut out).unwrap().unwrap();
    stream.write_all(&out[..len]).await.unwrap();
    let n = patiently("the HELLO", stream.read(&mut out)).await.unwrap();
    assert!(matches!(client.handle_input(&out[..n]), Ok((_, Some(spop_core::ClientEvent::Hello(_))))));
    drop(stream);
    stop.send(()).unwrap();
    patiently("the server ends", task).await.unwrap();
    assert!(!path.exists());
}
