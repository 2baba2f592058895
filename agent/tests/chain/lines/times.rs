//! The spans' times against the clocks of client and server.

use std::time::SystemTime;

use super::cases::{end, start};
use super::client::{Seen, get};
use super::{Mode, Proxy, Setup, Transport};
use crate::haproxy::{Program, programs};
use crate::spans::by_trace;

/// Of `b` after `a`, in milliseconds.
fn millis(a: SystemTime, b: SystemTime) -> f64 {
    match b.duration_since(a) {
        Ok(after) => after.as_secs_f64() * 1e3,
        Err(before) => -before.duration().as_secs_f64() * 1e3,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians of how much later the SERVER span starts than the client sends, ends than the client has all, and the server
/// has the request than the CLIENT span starts.
async fn medians(proxy: &Proxy, round: usize) -> [f64; 3] {
    let mut seen: Vec<Seen> = Vec::new();
    for n in 0..40 {
        seen.push(get(&proxy.addresses.http, &format!("/times/{round}/{n}")).await);
    }
    let traces = by_trace(proxy.collector.wait_for(2 * (40 * (round + 1) + proxy.warm_up)).await);
    let mut errors = [(); 3].map(|()| Vec::new());
    for (n, seen) in seen.iter().enumerate() {
        let spans = &traces[seen.trace_id.as_ref().unwrap()];
        let [server, client] = [2, 3].map(|kind| spans.iter().find(|span| span.proto.kind == kind).unwrap());
        let hit = proxy.origin.hit(&format!("/times/{round}/{n}"));
        errors[0].push(millis(seen.sent, start(server)));
        errors[1].push(millis(seen.done, end(server)));
        errors[2].push(millis(start(client), hit.at));
    }
    errors.map(median)
}

/// A busy machine gets further rounds: some must be as good as that.
#[tokio::test]
async fn medians_are_within_a_millisecond() {
    let of_program = |program: Program, mode| async move {
        let proxy = Proxy::start(&program, Setup::of(mode, Transport::Udp)).await;
        let mut all = Vec::new();
        for round in 0..20 {
            let medians = medians(&proxy, round).await;
            let [starts, ends, calls] = medians;
            // HAProxy counts the wait before the call in milliseconds, twice cut.
            if starts.abs() < 1.0 && ends.abs() < 1.0 && (-1.0..3.0).contains(&calls) {
                return;
            }
            all.push(medians);
        }
        panic!("{program:?} {mode:?}: {all:?}");
    };
    for program in programs() {
        of_program(program.clone(), Mode::Lean).await;
        of_program(program, Mode::LogOnly).await;
    }
}
