//! Limits of the runtime, each set small, that `server.rs` does not show: they hold and are counted.

mod common;

use std::time::Duration;

use common::{patiently, Event, Peer, Running};
use spop_agent::server::{Answer, HandlerError, Request, Server, ServerConfig, Side};
use spop_core::{
    AckEncoder, ClientConfig, FrameId, Messages, NotifyEncoder, Scope, Status, StreamId, Value, PREFIX_LEN,
};
use tokio::io::AsyncWriteExt;

fn answer(messages: Messages<'_>, ack: &mut AckEncoder<'_>) -> Result<(), HandlerError> {
    let count = messages.validate()?;
    ack.set_var(Scope::Transaction, b"count", &Value::UInt64(count as u64))?;
    Ok(())
}

#[tokio::test]
async fn the_largest_frame_is_ours_if_haproxy_has_a_larger_one() {
    let server =
        Running::start(Server::new(ServerConfig { max_frame_size: 300, ..ServerConfig::default() }, answer)).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    assert_eq!(peer.client.negotiated().unwrap().max_frame_size, 300);
    // The client knows what it waits for, and would not send what is too large.
    peer.encode_notify(1, 1, |_| ());
    for (len, taken) in [(300, true), (301, false)] {
        let mut frame = [0; 400];
        let mut notify = NotifyEncoder::new(&mut frame, 400, StreamId(1), FrameId(1)).unwrap();
        // The header has 7 bytes, the length of the name 2, the number of arguments 1.
        notify.message(&vec![b'x'; len - 10]).unwrap();
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

/// It cannot be stopped, but it does not stay unknown.
#[tokio::test]
async fn a_handler_that_answers_too_late_is_counted() {
    let config = ServerConfig { handler_timeout: Duration::from_millis(1), ..ServerConfig::default() };
    let slow = |messages: Messages<'_>, ack: &mut AckEncoder<'_>| {
        std::thread::sleep(Duration::from_millis(2));
        answer(messages, ack)
    };
    let server = Running::start(Server::new(config, slow)).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    peer.notify(1, "m", 0).await;
    assert_eq!(peer.ack().await.1.len(), 1);
    server.wait_for("counted", |s| s.handler_late == 1 && s.acks == 1).await;
}

#[tokio::test]
async fn what_is_open_after_the_grace_time_is_cut_off_and_counted() {
    let config = ServerConfig { grace: Duration::from_millis(50), ..ServerConfig::default() };
    let never = |_: Request| std::future::pending::<Result<Answer, HandlerError>>();
    let server = Running::start(Server::new_async(config, never)).await;
    let mut peer = Peer::hello(&server.addr, ClientConfig::DEFAULT).await;
    for n in 1..=3 {
        peer.notify(n, "m", 0).await;
    }
    server.wait_for("taken", |s| s.notifies == 3).await;
    let stats = server.stats.clone();
    patiently("the server ends", server.stop()).await.unwrap();
    assert_eq!(peer.event().await, Event::Eof);
    let stats = stats.snapshot();
    assert_eq!((stats.acks, stats.unanswered, stats.connections_open), (0, 3, 0));
}
