//! `spoa-otel` behind chains of real HAProxys. See `haproxy.rs` for the versions.

#[path = "../../runtime/tests/common/authority.rs"]
mod authority;
#[path = "../../runtime/tests/common/certificates.rs"]
mod certificates;
mod collector;
#[path = "../../runtime/tests/common/mod.rs"]
mod common;
mod failures;
mod faults;
mod formats;
mod haproxy;
mod headers;
mod http;
mod http_only;
mod kubernetes;
mod lines;
mod load;
#[path = "../../runtime/tests/common/matrix.rs"]
mod matrix;
mod metrics;
mod nine_spans;
mod origin;
#[path = "../program_support/passed.rs"]
mod passed;
mod pasted;
#[allow(dead_code)] // A part is for other tests.
mod process;
mod program_section;
#[path = "../../runtime/tests/common/programs.rs"]
mod programs;
mod propagation;
mod restart;
mod scrape;
mod seed_style;
mod setup;
mod soak;
mod spans;
mod spoa;
