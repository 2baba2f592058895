//! `spoa-otel` and real backends: Jaeger, an OpenTelemetry Collector, Prometheus. They are those that the variables SPOP_JAEGER,
//! SPOP_COLLECTOR and SPOP_PROMETHEUS name (devenv/backends builds them); without these a test says that it is skipped.

mod chain;
mod compare;
#[path = "../chain/haproxy.rs"]
#[allow(dead_code)] // A part is for the chains.
mod haproxy;
#[path = "../chain/http.rs"]
mod http;
mod jaeger;
#[path = "../../runtime/tests/common/matrix.rs"]
#[allow(dead_code)] // A part is for the chains.
mod matrix;
mod metrics;
mod outages;
#[path = "../chain/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../../runtime/tests/common/programs.rs"]
mod programs;
mod prometheus;
mod routes;
mod sampling;
#[path = "../chain/scrape.rs"]
#[allow(dead_code)]
mod scrape;
mod servers;
#[path = "../chain/spoa.rs"]
mod spoa;
