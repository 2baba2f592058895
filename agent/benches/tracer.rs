//! The time that the tracer adds to a request: all its NOTIFYs, without the network and without export.

mod common;

use std::sync::Arc;

use common::{Nowhere, handle, hundred_attributes, nine_spans, one_span};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use spoa_otel::tracer::{Sampler, Tracer, TracerConfig};

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    type Request = fn(u64) -> Vec<Vec<u8>>;
    let requests =
        [("one span", one_span as Request), ("nine spans", nine_spans), ("100 attributes", hundred_attributes)];
    for (name, request) in requests {
        for sampler in ["always_on", "always_off"] {
            let Ok(sampler_of_name) = Sampler::new(Some(sampler), None) else { continue };
            let mut config = TracerConfig::default();
            config.sampler = sampler_of_name;
            let tracer = Tracer::new(config, Arc::new(Nowhere));
            let mut id = 0;
            let mut buf = vec![0; 16 * 1024];
            group.throughput(Throughput::Elements(1));
            group.bench_function(format!("{name}, {sampler}"), |b| {
                b.iter_batched(
                    || {
                        id += 1;
                        request(id)
                    },
                    |payloads| {
                        handle(&tracer, &payloads, &mut buf);
                        payloads
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
