//! Lengths of all sizes, and what other protocols begin with.

use crate::case::{Case, Outcome, Start, acked, refused, run_all};
use crate::wire::{self, FIN, MAX_FRAME_SIZE, NOTIFY, frame, hello, message, prefixed};

/// The same bytes at both places.
fn anywhere(cases: &mut Vec<Case>, name: &str, bytes: &[u8], status: u32) {
    for start in [Start::Connected, Start::AfterHello] {
        cases.push(Case::new(start, format!("{name}, {start:?}"), bytes, refused(status)));
    }
}

fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for len in 0..7 {
        let bytes = prefixed(len, &[NOTIFY, 0, 0, 0, 1, 1, 1]);
        anywhere(&mut cases, &format!("length {len}"), &bytes, 4);
    }
    for len in [0x7fff_ffff, 0x8000_0000, u32::MAX] {
        // On the length alone.
        anywhere(&mut cases, &format!("length {len}"), &len.to_be_bytes(), 3);
        anywhere(&mut cases, &format!("length {len} and a start"), &prefixed(len, &[NOTIFY; 5000]), 3);
    }
    let before = Start::Connected;
    cases.push(Case::new(before, "4097 before HELLO", prefixed(4097, b""), refused(3)));
    cases.push(Case::new(before, "4096 before HELLO", prefixed(4096, &[NOTIFY; 4096]), refused(4)));
    cases.push(Case::new(before, "4096 before HELLO, cut", prefixed(4096, &[1; 100]), Outcome::Waits(vec![])));

    let after = Start::AfterHello;
    let fill = |len: u32| vec![b'x'; len as usize];
    // The header has 7 bytes, the length of the name 3, the number of arguments 1.
    let largest = frame(NOTIFY, FIN, 1, 1, &message(fill(MAX_FRAME_SIZE - 7 - 3 - 1), &[]));
    assert_eq!(largest.len() as u32, MAX_FRAME_SIZE + 4);
    cases.push(Case::new(after, "the largest frame", largest, acked(&[(1, 1)])));
    let larger = frame(NOTIFY, FIN, 1, 1, &message(fill(MAX_FRAME_SIZE - 7 - 3), &[]));
    cases.push(Case::new(after, "larger by one", larger, refused(3)));
    let ignored = frame(50, FIN, 1, 1, &fill(MAX_FRAME_SIZE - 6));
    cases.push(Case::new(after, "larger by one, of an unknown type", ignored, refused(3)));
    cases
}

fn other_protocols() -> Vec<Case> {
    let mut cases = Vec::new();
    // Extensions of a ClientHello, in a record of 200 bytes.
    let tls = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[0xa5; 32], &[32], &[0x5a; 162]].concat();
    for (name, bytes) in [
        ("HTTP", &b"GET / HTTP/1.1\r\nHost: spoa\r\nUser-Agent: probe\r\n\r\n"[..]),
        ("HTTP with a body", b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("TLS", &tls),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("PROXY", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        ("PROXY v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02"),
        ("a text", b"hello, is anybody there?\r\n"),
    ] {
        anywhere(&mut cases, name, bytes, 3);
    }
    cases
}

fn random() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut random = fastrand::Rng::with_seed(2026);
    for n in 0..50 {
        let mut bytes = vec![0; random.usize(4..5000)];
        random.fill(&mut bytes);
        // Whatever the first four are, they are not a length that is allowed.
        bytes[0] |= 1;
        anywhere(&mut cases, &format!("random bytes {n}"), &bytes, 3);
        // The same as the body of a frame of no type that may come first, or of one that only agents send.
        let start = [Start::Connected, Start::AfterHello][n % 2];
        bytes.truncate(4000);
        bytes[0] = random.u8(wire::AGENT_HELLO..=wire::ACK);
        let name = format!("random body {n}, {start:?}");
        cases.push(Case::new(start, name, prefixed(bytes.len().max(7) as u32, &bytes), {
            if bytes.len() < 7 { Outcome::Waits(vec![]) } else { refused(4) }
        }));
    }
    // A frame that says no more than it is, after which nothing is as it should be.
    cases.push(Case::new(Start::Connected, "HELLO, then HTTP", [&hello()[..], b"GET / HTTP/1.1\r\n\r\n"].concat(), {
        Outcome::Refused(vec![crate::hello::agreed()], 3)
    }));
    cases
}

#[tokio::test]
async fn every_length() {
    run_all(&[], &lengths()).await;
}

#[tokio::test]
async fn other_protocols_and_random_bytes() {
    let cases = [other_protocols(), random()].into_iter().flatten().collect::<Vec<_>>();
    run_all(&[], &cases).await;
}
