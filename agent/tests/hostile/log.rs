//! What peers write into the log: nothing that looks like a line of its own, moves a cursor, or has no end.

use spop_core::Value;

use crate::agent::{LiveAgent, BOTH};
use crate::raw::{Raw, Reply};
use crate::wire::{frame, kv, message, DISCONNECT, FIN, NOTIFY};

#[tokio::test]
async fn texts_of_peers_are_escaped_and_cut() {
    let forged = "\x1b[2J\r\n2020-01-01T00:00:00.000000Z ERROR forged\u{202e}\n";
    let long = format!("otel:{forged}{}", "x".repeat(10_000));
    for program in BOTH {
        let agent = LiveAgent::start(program, &[]).await;
        // A message for the tracing agent without an id, which it rejects, saying its name.
        let mut raw = Raw::running(&agent.addr).await;
        raw.send(&frame(NOTIFY, FIN, 1, 1, &message(&long, &[]))).await;
        assert_eq!(raw.reply().await, Reply::Ack(1, 1));
        let keys = [kv("status-code", Value::UInt32(42)), kv("message", Value::from(&*long))];
        raw.send(&frame(DISCONNECT, FIN, 0, 0, &keys.concat())).await;
        assert_eq!(raw.replies().await, [Reply::Disconnect(0), Reply::End]);
        let log = agent.stop().await;
        assert!(log.iter().any(|line| line.contains("forged")), "{program:?}: {log:#?}");
        for line in &log {
            assert!(!line.starts_with("2020") && !line.contains(['\x1b', '\r', '\u{202e}']), "{program:?}: {line}");
            assert!(line.len() < 1000, "{program:?}: {} bytes: {line}", line.len());
        }
    }
}
