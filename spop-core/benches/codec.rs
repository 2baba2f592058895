//! Wall time: `cargo bench --bench codec`.

mod common;

use std::hint::black_box;

use common::{Reference, ours, theirs};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn decode_and_walk(criterion: &mut Criterion) {
    let reference = Reference::load();
    for (name, bytes) in [("ip", &reference.ip), ("trace", &reference.trace)] {
        let mut group = criterion.benchmark_group(format!("decode_and_walk/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("spop-core", |b| b.iter(|| ours::decode_and_walk(black_box(bytes))));
        group.bench_function("spop-core-plainly", |b| b.iter(|| ours::decode_and_walk_plainly(black_box(bytes))));
        group.bench_function("spop", |b| b.iter(|| theirs::decode_and_walk(black_box(bytes))));
        group.finish();
    }
}

fn encode_ack(criterion: &mut Criterion) {
    let (mut out, mut their_out) = ([0; 256], Vec::new());
    let mut group = criterion.benchmark_group("encode_ack");
    group.bench_function("spop-core", |b| b.iter(|| ours::encode_ack(black_box(&mut out))));
    group.bench_function("spop", |b| b.iter(|| theirs::encode_ack(black_box(&mut their_out))));
    group.finish();
}

fn notify_to_ack(criterion: &mut Criterion) {
    let reference = Reference::load();
    let (mut connection, mut their_out) = (ours::Connection::open(), Vec::new());
    for (name, bytes) in [("ip", &reference.ip), ("trace", &reference.trace)] {
        let mut group = criterion.benchmark_group(format!("notify_to_ack/{name}"));
        group.bench_function("spop-core", |b| b.iter(|| connection.notify_to_ack(black_box(bytes))));
        group.bench_function("spop", |b| b.iter(|| theirs::notify_to_ack(black_box(bytes), &mut their_out)));
        group.finish();
    }
}

fn fragments(criterion: &mut Criterion) {
    let reference = Reference::load();
    let (mut connection, mut memory) = (ours::Connection::open(), vec![0; 64 * 1024]);
    let mut group = criterion.benchmark_group("fragments/trace");
    group.bench_function("to_ack", |b| b.iter(|| connection.fragments_to_ack(black_box(&reference.fragments))));
    group.bench_function("reassemble", |b| {
        b.iter(|| ours::reassemble(black_box(&reference.fragments), black_box(&mut memory)))
    });
    group.finish();
}

criterion_group!(benches, decode_and_walk, encode_ack, notify_to_ack, fragments);
criterion_main!(benches);
