//! Peers that are slow or stop altogether: each is ended in time, and nobody else waits for it.

use std::time::Duration;

use crate::agent::{BOTH, LiveAgent, Program, figure};
use crate::case::QUIET;
use crate::raw::{Raw, Reply};
use crate::wire::{FIN, NOTIFY, frame, hello, message, notify};

const TIMED_OUT: [Reply; 2] = [Reply::Disconnect(2), Reply::End];

async fn start(program: Program) -> LiveAgent {
    // Long enough for the good client on a busy machine.
    let args = ["--hello-timeout", "1s", "--half-frame-timeout", "1s", "--write-timeout", "1s"];
    LiveAgent::start(program, &args).await
}

async fn connect(agent: &LiveAgent, after_hello: bool) -> Raw {
    if after_hello { Raw::running(&agent.addr).await } else { Raw::connect(&agent.addr).await }
}

#[tokio::test]
async fn who_stops_is_ended_in_time() {
    let (hello, whole) = (hello(), notify(1, 1));
    let fragment = frame(NOTIFY, 0, 1, 1, &message("m", &[]));
    let stops: [(&str, bool, &[u8]); 6] = [
        ("nothing", false, b""),
        ("a byte", false, b"\0"),
        ("half a HELLO", false, &hello[..40]),
        ("half a length", true, &whole[..3]),
        ("half a NOTIFY", true, &whole[..10]),
        ("a first fragment", true, &fragment),
    ];
    for program in BOTH {
        let mut agent = start(program).await;
        let mut idle = Raw::running(&agent.addr).await;
        for (name, after_hello, bytes) in stops {
            let mut peers = Vec::new();
            for _ in 0..50 {
                let mut raw = connect(&agent, after_hello).await;
                raw.send(bytes).await;
                peers.push(raw);
            }
            agent.serves(name).await;
            for raw in &mut peers {
                assert_eq!(raw.replies().await, TIMED_OUT, "{program:?}: {name}");
            }
        }
        // Who is merely idle stays.
        idle.send(&whole).await;
        assert_eq!(idle.reply().await, Reply::Ack(1, 1), "{program:?}");
        let log = agent.stop().await;
        assert!(log.len() <= QUIET, "{log:#?}");
        if program == Program::SpoaOtel {
            assert_eq!(
                figure(&log, "report: connections ended", "protocol_errors"),
                50 * stops.len() as u64,
                "{log:#?}"
            );
        }
    }
}

/// A byte now and then wins no time.
#[tokio::test]
async fn who_drips_is_ended_in_time() {
    let long = frame(NOTIFY, FIN, 1, 1, &message([b'x'; 2000], &[]));
    for program in BOTH {
        let mut agent = start(program).await;
        // 75 bytes take longer than a second too.
        for (name, after_hello, bytes) in [("HELLO", false, hello()), ("NOTIFY", true, long.clone())] {
            let mut raw = connect(&agent, after_hello).await;
            let mut reply = None;
            for byte in bytes {
                raw.send(&[byte]).await;
                reply = raw.reply_within(Duration::from_millis(20)).await;
                if reply.is_some() {
                    break;
                }
            }
            assert_eq!(reply, Some(Reply::Disconnect(2)), "{program:?}: {name}");
            assert_eq!(raw.reply().await, Reply::End, "{program:?}: {name}");
            agent.serves(name).await;
        }
        agent.stop().await;
    }
}

#[tokio::test]
async fn who_never_reads_is_ended_in_time() {
    let asked =
        [("id", "r"), ("span", "s"), ("inject", "s")].map(|(k, v)| crate::wire::kv(k, spop_core::Value::from(v)));
    let notify = frame(NOTIFY, FIN, 1, 1, &message("otel:r", &asked));
    for program in BOTH {
        let mut agent = start(program).await;
        let files = agent.open_files();
        let mut peers = Vec::new();
        for _ in 0..4 {
            let mut raw = Raw::connect_narrow(&agent.addr).await;
            raw.send(&hello()).await;
            peers.push(raw);
        }
        let floods = peers.into_iter().map(|mut raw| {
            let frames = notify.repeat(1000);
            // The agent reads no more once it cannot write, and ends the connection when its patience does.
            tokio::spawn(async move { while raw.send(&frames).await {} })
        });
        let floods: Vec<_> = floods.collect();
        agent.serves("the start of a flood").await;
        for flood in floods {
            flood.await.unwrap();
        }
        agent.serves("peers that read nothing").await;
        agent.open_files_at_most(files).await;
        let log = agent.stop().await;
        assert!(log.len() <= QUIET, "{log:#?}");
        if program == Program::SpoaOtel {
            assert_eq!(figure(&log, "report: connections ended", "write_timeouts"), 4, "{log:#?}");
        }
    }
}
