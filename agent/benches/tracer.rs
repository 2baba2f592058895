//! The time that the tracer adds to a request: all its NOTIFYs, without the network and without export; and that of the
//! metrics of a request, its client's and its server's.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Nowhere, handle, hundred_attributes, lean, log_line, nine_spans, one_span};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry::{SpanId, TraceId};
use spoa_otel::export::otlp::{Given, MetricsConfig};
use spoa_otel::line::{LineConfig, LineSink, Lines, Sender};
use spoa_otel::red::{Measured, Red, RedConfig, RedExporter};
use spoa_otel::tracer::{Sampler, Tracer, TracerConfig};

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    type Request = fn(u64) -> Vec<Vec<u8>>;
    let requests = [
        ("one span", one_span as Request),
        ("nine spans", nine_spans),
        ("100 attributes", hundred_attributes),
        ("lean", lean),
    ];
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

fn lines(c: &mut Criterion) {
    let tracer = Arc::new(Tracer::new(TracerConfig::default(), Arc::new(Nowhere)));
    let lines = Lines::new(LineConfig::default(), tracer, Arc::new(Red::new(&RedConfig::default())));
    let mut number = 0;
    c.bench_function("a log line, two spans", |b| {
        b.iter_batched(
            || {
                number += 1;
                log_line(number)
            },
            |line| {
                lines.take(Sender::Local, &line);
                line
            },
            BatchSize::SmallInput,
        );
    });
}

fn metrics(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() else {
        return;
    };
    let _entered = runtime.enter();
    let mut group = c.benchmark_group("metrics of a request");
    group.throughput(Throughput::Elements(1));
    for exported in [false, true] {
        for sampled in [false, true] {
            let red = Red::new(&RedConfig::default());
            let config =
                MetricsConfig::resolve(Given { or_default: true, ..Given::default() }, |_| None, &mut Vec::new());
            let Ok(Some(config)) = config else { return };
            let _exporter = exported.then(|| RedExporter::start(&red, config, "haproxy"));
            let exemplar = sampled.then(|| (TraceId::from(7_u128), SpanId::from(9_u64)));
            // As many series as a proxy with some routes has.
            let routes: Vec<_> = (0..200).map(|n| format!("/api/v1/things-{n}/{{id}}")).collect();
            let mut routes = routes.iter().cycle();
            let name = format!("exported {exported}, sampled {sampled}");
            group.bench_function(name, |b| {
                b.iter(|| {
                    let server = Measured {
                        method: "GET",
                        scheme: "https",
                        status: Some(200),
                        error_type: None,
                        route: routes.next().map(String::as_str),
                        version: Some("2"),
                        server: None,
                        duration: Duration::from_millis(20),
                        exemplar,
                    };
                    red.server("my-proxy", &server);
                    red.client("my-proxy", &Measured { route: None, server: Some(("192.0.2.1", 8080)), ..server });
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, requests, lines, metrics);
criterion_main!(benches);
