//! What a run saw, as a text; written anew after each phase.

use std::fmt::Write;
use std::time::Duration;

use super::long::{Phase, Plan};
use super::memory::Sample;

/// Points of the curve that are shown of each phase.
const POINTS: usize = 3;

pub fn text(plan: &Plan, phases: &[Phase], faults: &[String]) -> String {
    let mut text = "# A long run\n\nWhat `devenv/soak --hours N --report FILE` does: one agent behind two HAProxys in a row with four threads each, in turn \
         lean and with all messages (`spoe-http.cfg` on HAProxy 3.4), while the collector is killed, hangs, is slow and answers 503, HAProxys \
         reload, SIGHUP has the configuration read again, and agents are ended and killed. After each phase every request must have been \
         answered, within HAProxy's timeouts; lines received and missing must be all requests, and started = ended = exported + dropped. In \
         the last round memory may be 5 % and 1 MiB more than in the second.\n\n"
        .to_owned();
    let total: usize = phases.iter().map(|phase| phase.answers).sum();
    let took = phases.last().map_or(Duration::ZERO, |phase| phase.end);
    let lines = [
        format!(
            "- {}: {}, {}",
            plan.date,
            plan.agent,
            if cfg!(debug_assertions) { "not optimized" } else { "optimized" }
        ),
        format!(
            "- HAProxys: {}",
            plan.programs.iter().map(|program| program.full_version.as_str()).collect::<Vec<_>>().join(", ")
        ),
        format!(
            "- {} cores, {} requests a second wanted, {total} answered in {} minutes",
            plan.cores,
            plan.rate,
            took.as_secs() / 60
        ),
        format!("- result: {}", if faults.is_empty() { "nothing to complain of" } else { "**faults**, see below" }),
    ];
    lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
    for fault in faults {
        writeln!(text, "- fault: {fault}").unwrap();
    }

    text += "\n## Phases\n\nTimes in ms. *again*: connections that an HAProxy's end reset, whose requests were sent again. *errors*: events that HAProxy says \
             got no answer in time.\n\n\
             | phase | HAProxy | requests | again | p50 | p99 | longest | lines | missing | errors | started | exported | dropped | collector has |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for Phase { name, haproxy, answers, resets, times: [p50, p99, max], figures, .. } in phases {
        let [lines, missing, errors, started, exported, dropped, collected] = figures;
        writeln!(
            text,
            "| {name} | {haproxy} | {answers} | {resets} | {p50:.1} | {p99:.1} | {max:.0} | {lines} | {missing} | {errors} | {started} | {exported} | \
             {dropped} | {collected} |"
        )
        .unwrap();
    }

    text += "\n## What was done\n\n| phase | collector changes | HAProxy reloads | SIGHUP | agents ended by SIGTERM | by SIGKILL |\n| --- | --- | --- | --- | --- | --- |\n";
    for Phase { name, done: [collector, reloads, hup, term, kill], .. } in phases {
        writeln!(text, "| {name} | {collector} | {reloads} | {hup} | {term} | {kill} |").unwrap();
    }

    text += "\n## Memory of the agent\n\nOne process through all phases but the last two, whose agents come and go. In MiB. *Given back*: what the allocator does not \
             use and the system has not taken yet.\n\n\
             | minute | phase | VmRSS | of it anonymous | of it given back | files | threads |\n| --- | --- | --- | --- | --- | --- | --- |\n";
    for phase in phases {
        let step = phase.samples.len().div_ceil(POINTS).max(1);
        for sample in phase.samples.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev() {
            let Sample { at, rss, anon, lazy_free, files, threads } = sample;
            let [rss, anon, lazy_free] = [rss, anon, lazy_free].map(|kib| *kib as f64 / 1024.0);
            let minute = at.as_secs_f64() / 60.0;
            let name = &phase.name;
            writeln!(text, "| {minute:.1} | {name} | {rss:.1} | {anon:.1} | {lazy_free:.1} | {files} | {threads} |")
                .unwrap();
        }
    }
    text
}
