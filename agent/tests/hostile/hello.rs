//! The HELLO in all odd forms, and what comes instead of it or twice.

use spop_core::Value;

use crate::case::{Case, Outcome, Start, ignored, refused, run_all};
use crate::raw::Reply;
use crate::wire::{self, FIN, MAX_FRAME_SIZE, disconnect, frame, hello, hello_keys, hello_with, kv, message, notify};

/// Agreed as usual, with the capabilities of an agent that takes fragments.
pub fn agreed() -> Reply {
    Reply::Hello(MAX_FRAME_SIZE, "pipelining,fragmentation".to_owned())
}

fn connected(name: impl Into<String>, bytes: impl Into<Vec<u8>>, outcome: Outcome) -> Case {
    Case::new(Start::Connected, name, bytes, outcome)
}

/// The HELLO with one of its keys replaced.
fn hello_replacing(at: usize, key: Vec<u8>) -> Vec<u8> {
    let mut keys = hello_keys();
    keys[at] = key;
    hello_with(&keys)
}

/// The HELLO with a key more.
fn hello_adding(key: Vec<u8>) -> Vec<u8> {
    hello_with(&[&hello_keys()[..], &[key]].concat())
}

fn versions() -> Vec<Case> {
    let long = format!("{}2.0", "1.0,".repeat(900));
    let texts: [(&[u8], bool); 24] = [
        (b"2.0", true),
        (b" 2.0 ", true),
        (b"02.0", true),
        (b"2.999", true),
        (b"1.0,2.0,3.0", true),
        (b",,2.0,,", true),
        (b"x,2.0", true),
        (b"\xff\x00,2.0", true),
        (long.as_bytes(), true),
        (b"", false),
        (b",", false),
        (b"1.0", false),
        (b"2", false),
        (b"2.", false),
        (b".0", false),
        (b"2.0.0", false),
        (b"2.0x", false),
        (b"2 .0", false),
        (b"2.0\0", false),
        (b"2.1000", false),
        (b"-2.0", false),
        (b"0.0", false),
        (b"18446744073709551618.0", false),
        (b"\xff\xfe", false),
    ];
    let case = |(text, good): (&[u8], bool)| {
        let outcome = if good { Outcome::GoesOn(vec![agreed()]) } else { refused(8) };
        let name = format!("version {:?}", String::from_utf8_lossy(text));
        connected(name, hello_replacing(0, kv("supported-versions", Value::String(text))), outcome)
    };
    texts.into_iter().map(case).collect()
}

fn sizes() -> Vec<Case> {
    // `None`: refused with status 9.
    let sizes = [
        (Value::UInt32(256), Some(256)),
        (Value::UInt32(MAX_FRAME_SIZE - 1), Some(MAX_FRAME_SIZE - 1)),
        (Value::UInt32(u32::MAX), Some(MAX_FRAME_SIZE)),
        (Value::UInt64(u64::MAX), Some(MAX_FRAME_SIZE)),
        (Value::Int32(300), Some(300)),
        (Value::Int64(300), Some(300)),
        (Value::UInt32(0), None),
        (Value::UInt32(255), None),
        (Value::Int32(-1), None),
        (Value::Int64(i64::MIN), None),
    ];
    let case = |(size, agreed): (Value<'static>, Option<u32>)| {
        let outcome = agreed.map_or(refused(9), |size| {
            Outcome::GoesOn(vec![Reply::Hello(size, "pipelining,fragmentation".to_owned())])
        });
        connected(format!("max-frame-size {size:?}"), hello_replacing(1, kv("max-frame-size", size)), outcome)
    };
    let mut cases: Vec<_> = sizes.into_iter().map(case).collect();
    for value in [Value::Null, Value::Bool(true), Value::from("16380"), Value::Binary(b"16380")] {
        let name = format!("max-frame-size {value:?}");
        cases.push(connected(name, hello_replacing(1, kv("max-frame-size", value)), refused(4)));
    }
    // A UINT32 of 2^32.
    let key = [&wire::message("max-frame-size", &[])[..15], &[3], &wire::varint(1 << 32)].concat();
    cases.push(connected("max-frame-size 2^32", hello_replacing(1, key), refused(4)));
    cases
}

fn capabilities() -> Vec<Case> {
    let long = "x,".repeat(1500);
    let texts: [(&[u8], &str); 11] = [
        (b"pipelining", "pipelining,fragmentation"),
        (b" async , pipelining ", "pipelining,fragmentation"),
        (b"pipelining async", "pipelining,fragmentation"),
        (b"pipelining,pipelining", "pipelining,fragmentation"),
        (b"", "fragmentation"),
        (b",,,", "fragmentation"),
        (b"PIPELINING", "fragmentation"),
        (b"pipeliningasync", "fragmentation"),
        (b"pipelining\0", "fragmentation"),
        (b"\xff\xfe\x00", "fragmentation"),
        (long.as_bytes(), "fragmentation"),
    ];
    let case = |(text, set): (&[u8], &str)| {
        let name = format!("capabilities {:?}", String::from_utf8_lossy(text));
        let outcome = Outcome::GoesOn(vec![Reply::Hello(MAX_FRAME_SIZE, set.to_owned())]);
        connected(name, hello_replacing(2, kv("capabilities", Value::String(text))), outcome)
    };
    let mut cases: Vec<_> = texts.into_iter().map(case).collect();
    for value in [Value::Null, Value::Bool(true), Value::Int64(1), Value::Binary(b"pipelining")] {
        let name = format!("capabilities {value:?}");
        cases.push(connected(name, hello_replacing(2, kv("capabilities", value)), refused(4)));
    }
    cases
}

fn keys() -> Vec<Case> {
    let [versions, size, capabilities] = hello_keys();
    let checked = Reply::Hello(MAX_FRAME_SIZE, String::new());
    let go_on = || Outcome::GoesOn(vec![agreed()]);
    let health_check = hello_adding(kv("healthcheck", Value::Bool(true)));
    let many = (0..300).map(|n| kv(format!("key-{n}"), Value::Null)).collect::<Vec<_>>().concat();
    vec![
        connected("no versions", hello_with(&[size.clone(), capabilities.clone()]), refused(5)),
        connected("no size", hello_with(&[versions.clone(), capabilities.clone()]), refused(6)),
        connected("no capabilities", hello_with(&[versions.clone(), size.clone()]), refused(7)),
        connected("no key", hello_with(&[]), refused(5)),
        connected("keys in another order", hello_with(&[capabilities, versions, size]), go_on()),
        connected("a later version", hello_adding(kv("supported-versions", Value::from("1.0"))), refused(8)),
        connected("an empty key", hello_adding(kv("", Value::Null)), refused(4)),
        connected("an unknown key", hello_adding(kv("version-info", Value::Int64(-1))), go_on()),
        connected("many unknown keys", hello_adding(many), go_on()),
        connected("a key of 3000 bytes", hello_adding(kv([b'k'; 3000], Value::Null)), go_on()),
        connected("a reserved type", hello_adding(vec![1, b'k', 15]), refused(4)),
        connected("a key without a value", hello_adding(vec![1, b'k']), refused(4)),
        connected("a key beyond the end", hello_adding(vec![200, b'k']), refused(4)),
        connected("engine-id, empty", hello_adding(kv("engine-id", Value::from(""))), go_on()),
        connected("engine-id, binary", hello_adding(kv("engine-id", Value::String(&[0xff, 0, 10, 27]))), go_on()),
        connected("engine-id, long", hello_adding(kv("engine-id", Value::String(&[b'e'; 3000]))), go_on()),
        connected("engine-id, a number", hello_adding(kv("engine-id", Value::Int64(1))), refused(4)),
        connected("healthcheck, false", hello_adding(kv("healthcheck", Value::Bool(false))), go_on()),
        connected("healthcheck, a number", hello_adding(kv("healthcheck", Value::Int64(1))), refused(4)),
        connected("health check", health_check.clone(), Outcome::Ended(vec![checked.clone()])),
        connected("health check, NOTIFY", [health_check, notify(1, 1)].concat(), Outcome::Ended(vec![checked])),
    ]
}

fn order() -> Vec<Case> {
    let payload = hello_keys().concat();
    let garbage = [0; 100];
    let mut cases = vec![
        connected("NOTIFY first", notify(1, 1), refused(4)),
        connected("DISCONNECT first", disconnect(0), refused(0)),
        connected("ACK first", frame(wire::ACK, FIN, 1, 1, &[]), refused(4)),
        connected("AGENT-HELLO first", frame(wire::AGENT_HELLO, FIN, 0, 0, &payload), refused(4)),
        connected("a fragment first", frame(wire::UNSET, FIN, 1, 1, b"x"), refused(4)),
        connected("an unknown type first", frame(50, FIN, 0, 0, &[]), refused(4)),
        connected("HELLO with a stream-id", frame(wire::HELLO, FIN, 1, 0, &payload), refused(4)),
        connected("HELLO with a frame-id", frame(wire::HELLO, FIN, 0, 1, &payload), refused(4)),
        connected("HELLO, NOTIFY", [hello(), notify(1, 1)].concat(), {
            Outcome::GoesOn(vec![agreed(), Reply::Ack(1, 1)])
        }),
        connected("HELLO twice", [hello(), hello()].concat(), Outcome::Refused(vec![agreed()], 4)),
        connected("HELLO, DISCONNECT", [hello(), disconnect(0)].concat(), Outcome::Refused(vec![agreed()], 0)),
        connected("HELLO, garbage", [&hello()[..], &garbage].concat(), Outcome::Refused(vec![agreed()], 4)),
        connected("HELLO, end", hello(), Outcome::Waits(vec![agreed()])),
        Case::new(Start::AfterHello, "HELLO again", hello(), refused(4)),
        Case::new(Start::AfterHello, "HELLO after NOTIFY", [notify(1, 1), hello()].concat(), {
            Outcome::Refused(vec![Reply::Ack(1, 1)], 4)
        }),
        Case::new(Start::AfterHello, "DISCONNECT, NOTIFY", [disconnect(0), notify(1, 1)].concat(), refused(0)),
        Case::new(Start::AfterHello, "DISCONNECT 42", disconnect(42), refused(0)),
        Case::new(Start::AfterHello, "DISCONNECT, empty", frame(wire::DISCONNECT, FIN, 0, 0, &[]), refused(0)),
        Case::new(Start::AfterHello, "DISCONNECT, broken", frame(wire::DISCONNECT, FIN, 0, 0, &[9]), refused(4)),
        Case::new(
            Start::AfterHello,
            "DISCONNECT, status a text",
            frame(wire::DISCONNECT, FIN, 0, 0, &kv("status-code", Value::from("0"))),
            refused(4),
        ),
        Case::new(Start::AfterHello, "nothing", [], ignored()),
    ];
    // An answer that has no room in the smallest frames.
    let small = hello_replacing(1, kv("max-frame-size", Value::UInt32(256)));
    let wanted =
        [("id", "small"), ("span", "s"), ("inject", "s"), ("baggage", "b")].map(|(k, v)| kv(k, Value::from(v)));
    let long = kv("", Value::String(&[b'x'; 150]));
    let asked = frame(wire::NOTIFY, FIN, 1, 1, &message("otel:x", &[&wanted[..], &[long]].concat()));
    cases.push(connected("an answer without room", [small, asked].concat(), {
        Outcome::GoesOn(vec![Reply::Hello(256, "pipelining,fragmentation".to_owned()), Reply::Ack(1, 1)])
    }));
    cases
}

#[tokio::test]
async fn every_form() {
    let cases = [versions(), sizes(), capabilities(), keys(), order()].into_iter().flatten().collect::<Vec<_>>();
    run_all(&[], &cases).await;
}
