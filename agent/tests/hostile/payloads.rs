//! Varints, types, counts and lengths inside of a NOTIFY, and values of every type where the tracing agent awaits others.

use spop_core::{Messages, Value};

use crate::case::{Case, Start, acked, refused, run_all};
use crate::wire::{FIN, NOTIFY, frame, kv, message, notify, prefixed, varint};

/// 2^64 - 1.
const HUGE: [u8; 10] = [0xff, 0xf0, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0x0e];
/// 2^64.
const OVERFLOW: [u8; 10] = [0xf0, 0xf1, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0x0e];
const ENDLESS: [u8; 12] = [0xf0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1];

fn after(name: impl Into<String>, bytes: Vec<u8>, answered: bool) -> Case {
    let outcome = if answered { acked(&[(1, 1)]) } else { refused(4) };
    Case::new(Start::AfterHello, name, bytes, outcome)
}

fn payload(name: impl Into<String>, payload: &[u8], answered: bool) -> Case {
    after(name, frame(NOTIFY, FIN, 1, 1, payload), answered)
}

/// A message with one argument, whose value is given in bytes.
fn value(name: impl Into<String>, bytes: &[u8], answered: bool) -> Case {
    payload(name, &[&[1, b'm', 1, 1, b'a'][..], bytes].concat(), answered)
}

fn header(name: &str, ids: &[u8]) -> Case {
    let body = [&[NOTIFY, 0, 0, 0, 1][..], ids].concat();
    after(name, prefixed(body.len() as u32, &body), false)
}

fn varints() -> Vec<Case> {
    let mut cases = vec![
        header("stream-id above 2^64", &[&OVERFLOW[..], &[1]].concat()),
        header("stream-id without an end", &[&ENDLESS[..], &[1]].concat()),
        header("stream-id cut", &[0xf0, 0x80]),
        header("frame-id missing", &[0xf0, 0]),
        header("frame-id above 2^64", &[&[1][..], &OVERFLOW].concat()),
        header("frame-id without an end", &[&[1][..], &ENDLESS].concat()),
        Case::new(
            Start::AfterHello,
            "the largest ids",
            notify(u64::MAX - 1, u64::MAX),
            acked(&[(u64::MAX - 1, u64::MAX)]),
        ),
        Case::new(Start::AfterHello, "ids 0", notify(0, 0), acked(&[(0, 0)])),
    ];
    for (name, number) in [("2^64-1", &HUGE[..]), ("2^64", &OVERFLOW), ("without an end", &ENDLESS), ("cut", &[0xf0])] {
        cases.push(payload(format!("length of a name {name}"), number, false));
        cases.push(payload(format!("length of a key {name}"), &[&[1, b'm', 1][..], number].concat(), false));
        cases.push(value(format!("length of a text {name}"), &[&[8][..], number].concat(), false));
        cases.push(value(format!("length of bytes {name}"), &[&[9][..], number].concat(), false));
        for kind in 2..=5 {
            // 2^64-1 is -1, which INT32 can be and UINT32 cannot.
            let fits = name == "2^64-1" && kind != 3;
            cases.push(value(format!("number of type {kind} {name}"), &[&[kind][..], number].concat(), fits));
        }
    }
    for (kind, number) in [(2, 1 << 31), (2, 1 << 32), (3, 1 << 32), (2, u64::MAX - (1 << 31))] {
        cases.push(value(format!("number of type {kind}: {number}"), &[&[kind][..], &varint(number)].concat(), false));
    }
    cases
}

fn types() -> Vec<Case> {
    let mut cases = Vec::new();
    for high in 0..16 {
        let flags = high << 4;
        for low in 10..16 {
            cases.push(value(format!("reserved type {:#x}", flags | low), &[flags | low], false));
        }
        cases.push(value(format!("BOOL {flags:#x}"), &[flags | 1], true));
        cases.push(value(format!("NULL {flags:#x}"), &[flags], true));
        cases.push(value(format!("STRING {flags:#x}"), &[flags | 8, 1, b'x'], true));
    }
    for (kind, len) in [(6, 4), (7, 16)] {
        for have in 0..=len {
            cases.push(value(
                format!("type {kind} of {have} bytes"),
                &[&[kind][..], &vec![1; have]].concat(),
                have == len,
            ));
        }
    }
    cases
}

fn counts() -> Vec<Case> {
    let arg = kv("a", Value::Null);
    let args = |n: usize| vec![arg.clone(); n];
    let with_count = |count: u8, n: usize| [&[1, b'm', count][..], &args(n).concat()].concat();
    let nothing = [0, 0];
    vec![
        payload("no message", &[], true),
        payload("no number of arguments", &[1, b'm'], false),
        payload("a name beyond the end", &[5, b'm'], false),
        payload("an empty name", &nothing, true),
        payload("a name that is no text", &message([0, 0xff, 27, 10], &[]), true),
        payload("an empty key", &message("m", &[kv("", Value::Null)]), true),
        payload("a key that is no text", &message("m", &[kv([0, 0xff, 10], Value::Null)]), true),
        payload("one argument too few", &with_count(2, 1), false),
        // What is left over reads as a message named `a` without arguments.
        payload("one argument too many", &with_count(1, 2), true),
        payload("255 arguments", &with_count(255, 255), true),
        payload("255 announced, none there", &with_count(255, 0), false),
        // As HAProxy does it: the rest reads as messages, which here break off.
        payload(
            "259 arguments, 3 announced",
            &[&[1, b'm', 3][..], &kv("ip", Value::Int64(7)).repeat(259)].concat(),
            false,
        ),
        payload("8000 messages", &nothing.repeat(8000), true),
        payload("8000 messages and a byte", &[&nothing.repeat(8000)[..], &[0]].concat(), false),
        payload("100 good messages, one broken", &[&message("m", &[]).repeat(100)[..], &[9]].concat(), false),
    ]
}

fn random() -> Vec<Case> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut cases = Vec::new();
    for n in 0..100 {
        // Small numbers, so that more than the first byte is looked at.
        let bytes: Vec<u8> = (0..random.usize(0..60)).map(|_| random.u8(0..12)).collect();
        let good = Messages::new(&bytes).validate().is_ok();
        cases.push(payload(format!("random payload {n}: {bytes:?}"), &bytes, good));
    }
    assert!(cases.iter().any(|case| case.outcome == refused(4)) && cases.iter().any(|case| case.outcome != refused(4)));
    cases
}

#[tokio::test]
async fn every_field() {
    let cases = [varints(), types(), counts(), random()].into_iter().flatten().collect::<Vec<_>>();
    run_all(&[], &cases).await;
}

/// Each argument of the message language with each type of value, as the name or as what follows it.
#[tokio::test]
async fn values_that_the_tracing_agent_does_not_await() {
    let long = [b'x'; 8000];
    let bomb = [b';'; 4000];
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::Int32(i32::MIN),
        Value::UInt32(u32::MAX),
        Value::Int64(i64::MIN),
        Value::UInt64(u64::MAX),
        Value::Ipv4([255; 4].into()),
        Value::Ipv6([255; 16].into()),
        Value::from(""),
        Value::String(&[0xff, 0, 27, b'[', b'2', b'J', 10]),
        Value::String(&long),
        Value::String(&bomb),
        Value::Binary(&[0; 100]),
    ];
    let names = [
        "id",
        "service",
        "span",
        "child-of",
        "follows-from",
        "kind",
        "status",
        "tag",
        "event",
        "log",
        "baggage",
        "extract",
        "extract-b3",
        "extract-b3multi",
        "extract-jaeger",
        "inject",
        "start",
        "end",
        "finish",
        "",
        "no-such-argument",
    ];
    let id = kv("id", Value::from("odd"));
    let span = kv("span", Value::from("s"));
    let mut frames = Vec::new();
    let mut ids = Vec::new();
    let mut add = |args: &[Vec<u8>]| {
        let n = ids.len() as u64;
        frames.extend(frame(NOTIFY, FIN, n, 1, &message("otel:odd", args)));
        ids.push((n, 1));
    };
    for name in names {
        for value in &values {
            let odd = kv(name, *value);
            add(std::slice::from_ref(&odd));
            add(&[id.clone(), odd.clone(), odd.clone()]);
            add(&[id.clone(), span.clone(), odd.clone(), kv("", *value)]);
            add(&[id.clone(), span.clone(), kv("tag", Value::from("t")), odd]);
        }
    }
    let name = "values of all types";
    run_all(&[], &[Case::new(Start::AfterHello, name, frames, acked(&ids))]).await;
}
