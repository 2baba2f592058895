//! The admin endpoints: figures, health, and the pages of recent traces.

#[path = "../chain/collector.rs"]
#[allow(dead_code)] // A part is for the chains.
mod collector;
#[path = "../../runtime/tests/common/mod.rs"]
mod common;
#[path = "../export_common/mod.rs"]
mod export_common;
#[path = "../chain/http.rs"]
mod http;
#[path = "../chain/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../program_support/mod.rs"]
mod program_support;
#[path = "../../runtime/tests/common/programs.rs"]
mod programs;
#[path = "../chain/scrape.rs"]
#[allow(dead_code)]
mod scrape;
#[path = "../chain/spans.rs"]
#[allow(dead_code)]
mod spans;

mod browser;
mod endpoints;
mod kept;
mod monitoring;
mod page;
mod promql;
mod red;
mod requests;
mod traces;
