//! What peers write into the log: nothing that looks like a line of its own, moves a cursor, or has no end.

use spop_core::Value;

use crate::agent::{BOTH, LiveAgent};
use crate::raw::{Raw, Reply};
use crate::wire::{DISCONNECT, FIN, NOTIFY, frame, kv, message};

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

/// What people connect to the wrong port is named in the log, with what to do; and nobody guesses at messages before there
/// was a HELLO.
#[tokio::test]
async fn other_protocols_are_named() {
    let cases: [(&[u8], &str); 8] = [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "this is TLS, not SPOP; HAProxy's server line must not have ssl",
        ),
        (b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "this is HTTP, not SPOP; "),
        (b"OPTIONS / HTTP/1.0\r\n\r\n", "option spop-check"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "this is HTTP/2, not SPOP; "),
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "this is the PROXY protocol, version 1, not SPOP; "),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "this is the PROXY protocol, version 2, not SPOP; "),
        (b"EHLO x\r\n", "this is text, not SPOP; "),
        (b"\0\0\0\x08\x01\0\0\0\x01\0\0\x05", "protocol error, connection closed "),
    ];
    for program in BOTH {
        for (bytes, named) in cases {
            let agent = LiveAgent::start(program, &[]).await;
            let mut raw = Raw::connect(&agent.addr).await;
            raw.send(bytes).await;
            let replies = raw.replies().await;
            assert!(matches!(replies[..], [Reply::Disconnect(3..=5), Reply::End]), "{named}: {replies:?}");
            let log = agent.stop().await;
            let line = log.iter().find(|line| line.contains("protocol error")).unwrap();
            assert!(line.contains(named) && !line.contains("255 args"), "{program:?}: {line}");
        }
    }
}

/// A message whose arguments are not what their number says.
#[tokio::test]
async fn a_wrong_number_of_arguments_is_explained() {
    for program in BOTH {
        let agent = LiveAgent::start(program, &[]).await;
        let mut raw = Raw::running(&agent.addr).await;
        raw.send(&frame(NOTIFY, FIN, 1, 1, &[1, b'm', 9, 1, b'a', 0])).await;
        assert_eq!(raw.replies().await, [Reply::Disconnect(4), Reply::End]);
        let log = agent.stop().await;
        assert!(log.iter().any(|line| line.contains("more than 255 args")), "{program:?}: {log:#?}");
    }
}
