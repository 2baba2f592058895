//! Does an operation so many times, for `devenv/bench --instructions` to count what it takes: `operations NAME TIMES`.

mod common;

use std::process::ExitCode;
use std::sync::Arc;

use common::{Nowhere, handle, hundred_attributes, lean, log_line, nine_spans, one_span};
use spoa_otel::line::{LineConfig, LineSink, Lines, Sender};
use spoa_otel::red::{Red, RedConfig};
use spoa_otel::tracer::{Sampler, Tracer, TracerConfig};

/// Done before, so that tables and buffers have their size.
const WARM_UP: usize = 3000;
/// The requests are made before, as many for any number of times.
const MOST: usize = 1000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let times = arguments.get(1).and_then(|times| times.parse::<usize>().ok()).filter(|times| *times <= MOST);
    let (Some(name), Some(times)) = (arguments.first(), times) else { return ExitCode::from(2) };
    if name == "log-line" {
        lines(times);
        return ExitCode::SUCCESS;
    }
    let (request, sampler): (fn(u64) -> Vec<Vec<u8>>, _) = match name.as_str() {
        "one-span" => (one_span, "always_on"),
        "lean" => (lean, "parentbased_always_on"),
        "one-span-unsampled" => (one_span, "always_off"),
        "hundred-attributes" => (hundred_attributes, "always_on"),
        "nine-spans" => (nine_spans, "always_on"),
        _ => return ExitCode::from(2),
    };
    let mut config = TracerConfig::default();
    config.sampler = Sampler::new(Some(sampler), None).expect("a sampler");
    let tracer = Tracer::new(config, Arc::new(Nowhere));
    let mut buf = vec![0; 16 * 1024];
    let payloads: Vec<_> = (0..WARM_UP + MOST).map(|id| request(id as u64)).collect();
    payloads.iter().take(WARM_UP + times).for_each(|payloads| handle(&tracer, payloads, &mut buf));
    ExitCode::SUCCESS
}

/// Takes so many lines, each of a request with a SERVER and a CLIENT span.
fn lines(times: usize) {
    let tracer = Arc::new(Tracer::new(TracerConfig::default(), Arc::new(Nowhere)));
    let lines = Lines::new(LineConfig::default(), tracer, Arc::new(Red::new(&RedConfig::default())));
    let texts: Vec<_> = (0..WARM_UP + MOST).map(|number| log_line(number as u64)).collect();
    texts.iter().take(WARM_UP + times).for_each(|line| lines.take(Sender::Local, line));
    assert_eq!(lines.stats().traced, (WARM_UP + times) as u64);
}
