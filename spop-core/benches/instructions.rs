//! Instructions under callgrind: `cargo bench --bench instructions`. Needs valgrind and gungraun-runner.
//!
//! `harness` does nothing with the same arguments: its count is part of every other one.

mod common;

use std::hint::black_box;

use common::{Reference, ours, theirs};
use gungraun::prelude::*;
use spop_core::{DecodeError, EncodeError};

/// What the benchmarks work on. It is leaked: to free it would be counted.
struct Input {
    notify: Vec<u8>,
    fragments: [Vec<u8>; 3],
    connection: ours::Connection,
    out: Vec<u8>,
}

impl Input {
    /// Each operation has run once, so that no first-time work (the allocator's) is counted.
    fn new(notify: Vec<u8>, fragments: [Vec<u8>; 3]) -> &'static mut Self {
        let mut input = Input { notify, fragments, connection: ours::Connection::open(), out: vec![0; 1024] };
        assert!(input.connection.notify_to_ack(&input.notify).is_some());
        assert!(theirs::notify_to_ack(&input.notify, &mut input.out).is_some());
        input.out.resize(1024, 0);
        Box::leak(Box::new(input))
    }
}

fn ip() -> &'static mut Input {
    let reference = Reference::load();
    Input::new(reference.ip, reference.fragments)
}

fn trace() -> &'static mut Input {
    let reference = Reference::load();
    Input::new(reference.trace, reference.fragments)
}

#[library_benchmark]
#[bench::nothing(ip())]
fn harness(input: &'static mut Input) -> Option<usize> {
    black_box(input);
    black_box(Some(1))
}

#[library_benchmark]
#[bench::ip(ip())]
#[bench::trace(trace())]
fn decode_and_walk(input: &'static mut Input) -> Result<(), DecodeError> {
    black_box(ours::decode_and_walk(black_box(&input.notify)))
}

#[library_benchmark]
#[bench::ip(ip())]
#[bench::trace(trace())]
fn decode_and_walk_plainly(input: &'static mut Input) -> Result<(), DecodeError> {
    black_box(ours::decode_and_walk_plainly(black_box(&input.notify)))
}

#[library_benchmark]
#[bench::ip(ip())]
#[bench::trace(trace())]
fn decode_and_walk_crate_spop(input: &'static mut Input) -> Option<()> {
    black_box(theirs::decode_and_walk(black_box(&input.notify)))
}

#[library_benchmark]
#[bench::one_set_var(ip())]
fn encode_ack(input: &'static mut Input) -> Result<usize, EncodeError> {
    black_box(ours::encode_ack(black_box(&mut input.out)))
}

#[library_benchmark]
#[bench::one_set_var(ip())]
fn encode_ack_crate_spop(input: &'static mut Input) -> Option<usize> {
    black_box(theirs::encode_ack(black_box(&mut input.out)))
}

#[library_benchmark]
#[bench::ip(ip())]
#[bench::trace(trace())]
fn notify_to_ack(input: &'static mut Input) -> Option<usize> {
    black_box(input.connection.notify_to_ack(black_box(&input.notify)))
}

#[library_benchmark]
#[bench::ip(ip())]
#[bench::trace(trace())]
fn notify_to_ack_crate_spop(input: &'static mut Input) -> Option<usize> {
    black_box(theirs::notify_to_ack(black_box(&input.notify), &mut input.out))
}

#[library_benchmark]
#[bench::trace(trace())]
fn fragments_to_ack(input: &'static mut Input) -> Option<usize> {
    black_box(input.connection.fragments_to_ack(black_box(&input.fragments)))
}

#[library_benchmark]
#[bench::trace(trace())]
fn reassemble(input: &'static mut Input) -> Option<usize> {
    black_box(ours::reassemble(black_box(&input.fragments), black_box(&mut input.out)))
}

library_benchmark_group!(
    name = codec,
    benchmarks = [
        harness,
        decode_and_walk,
        decode_and_walk_plainly,
        decode_and_walk_crate_spop,
        encode_ack,
        encode_ack_crate_spop,
        notify_to_ack,
        notify_to_ack_crate_spop,
        fragments_to_ack,
        reassemble
    ]
);

main!(library_benchmark_groups = codec);
