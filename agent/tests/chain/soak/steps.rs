//! What goes wrong in a phase, and when.

use std::time::Duration;

use super::Kind;
use crate::faults::Mode;

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Sample,
    Collector(Mode),
    /// Of the first or the second HAProxy.
    Reload(usize),
    /// SIGHUP, with another configuration.
    Hup,
    /// An agent is ended by this signal and started again.
    End(&'static str),
}

impl Step {
    /// Where it is counted.
    pub fn counted(self) -> Option<usize> {
        match self {
            Step::Sample => None,
            Step::Collector(_) => Some(0),
            Step::Reload(_) => Some(1),
            Step::Hup => Some(2),
            Step::End("-TERM") => Some(3),
            Step::End(_) => Some(4),
        }
    }
}

const TROUBLE: [Mode; 8] = [
    Mode::Killed,
    Mode::Healthy,
    Mode::Hung,
    Mode::Healthy,
    Mode::Slow,
    Mode::Healthy,
    Mode::Unavailable,
    Mode::Healthy,
];

/// In their order.
pub fn steps(kind: Kind, length: Duration) -> Vec<(Duration, Step)> {
    let mut steps = Vec::new();
    // Each kind of step at moments of its own.
    let mut every = |from: f64, interval: Duration, step: &mut dyn FnMut(usize) -> Step| {
        let mut at = length.mul_f64(from);
        for n in 0.. {
            if at >= length.mul_f64(0.95) {
                break;
            }
            steps.push((at, step(n)));
            at += interval;
        }
    };
    every(0.05, (length / 10).min(Duration::from_secs(10)), &mut |_| Step::Sample);
    if kind.disturbs() {
        every(0.11, (length / 12).min(Duration::from_secs(10)), &mut |n| Step::Collector(TROUBLE[n % TROUBLE.len()]));
        every(0.3, length.mul_f64(0.27), &mut |n| Step::Reload(n % 2));
        every(0.13, length.mul_f64(0.14), &mut |_| Step::Hup);
    }
    let signals: &[&str] = match kind {
        Kind::Asked => &["-TERM", "-KILL"],
        Kind::Ended => &["-TERM"],
        Kind::Killed => &["-KILL"],
        _ => &[],
    };
    if !signals.is_empty() {
        every(0.17, length.mul_f64(0.11), &mut |n| Step::End(signals[n % signals.len()]));
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}
