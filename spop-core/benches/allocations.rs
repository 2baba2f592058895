//! Allocations of each operation: `cargo bench --bench allocations`. Fails if this crate makes any.

#![allow(clippy::print_stdout)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use common::{Reference, ours, theirs};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size() as u64, Relaxed);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        System.dealloc(memory, layout);
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(size as u64, Relaxed);
        System.realloc(memory, layout, size)
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations and bytes of one call, after one that warms up.
fn count(mut operation: impl FnMut() -> bool) -> (u64, u64) {
    assert!(operation());
    let before = (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed));
    assert!(operation());
    (ALLOCATIONS.load(Relaxed) - before.0, BYTES.load(Relaxed) - before.1)
}

fn main() -> ExitCode {
    let Reference { ip, trace, ack, fragments } = Reference::load();
    let (mut connection, mut memory) = (ours::Connection::open(), vec![0; 64 * 1024]);
    let (mut out, mut their_out) = (vec![0; 256], Vec::new());
    let notify_len = Some(trace.len() - 11);

    let rows = [
        (
            "decode and walk, ip",
            count(|| ours::decode_and_walk(&ip).is_ok()),
            Some(count(|| theirs::decode_and_walk(&ip).is_some())),
        ),
        (
            "decode and walk, trace",
            count(|| ours::decode_and_walk(&trace).is_ok()),
            Some(count(|| theirs::decode_and_walk(&trace).is_some())),
        ),
        (
            "encode ACK",
            count(|| ours::encode_ack(&mut out).is_ok_and(|len| out[..len] == ack)),
            Some(count(|| theirs::encode_ack(&mut their_out).is_some() && their_out == ack)),
        ),
        (
            "NOTIFY to ACK, ip",
            count(|| connection.notify_to_ack(&ip).is_some_and(|len| connection.written(len) == ack)),
            Some(count(|| theirs::notify_to_ack(&ip, &mut their_out).is_some() && their_out == ack)),
        ),
        (
            "NOTIFY to ACK, trace",
            count(|| connection.notify_to_ack(&trace).is_some_and(|len| connection.written(len) == ack)),
            Some(count(|| theirs::notify_to_ack(&trace, &mut their_out).is_some() && their_out == ack)),
        ),
        (
            "fragments to ACK, trace",
            count(|| connection.fragments_to_ack(&fragments).is_some_and(|len| connection.written(len) == ack)),
            None,
        ),
        ("reassemble, trace", count(|| ours::reassemble(&fragments, &mut memory) == notify_len), None),
    ];

    println!("{:26}{:>12}{:>8}{:>12}{:>8}", "", "spop-core", "bytes", "crate spop", "bytes");
    for (name, ours, theirs) in rows {
        let (their_count, their_bytes) =
            theirs.map_or(("-".into(), "-".into()), |(count, bytes)| (count.to_string(), bytes.to_string()));
        println!("{name:26}{:>12}{:>8}{their_count:>12}{their_bytes:>8}", ours.0, ours.1);
    }
    if rows.iter().all(|(_, ours, _)| *ours == (0, 0)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
