//! The end of a run, as text or as JSON.

use std::io::Write;
use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::process::Usage;
use super::tally::Tally;
use crate::check::to_json;
use crate::failure::Failure;

/// What a run was and what came of it.
pub(super) struct Report<'a> {
    pub(super) addr: String,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) threads: usize,
    pub(super) rate: Option<f64>,
    pub(super) tally: &'a Tally,
    /// CPU time of this tool during the run.
    pub(super) tool_cpu: Duration,
    pub(super) agent: Option<Agent>,
}

/// What the agent's process used.
pub(super) struct Agent {
    pid: u32,
    /// CPU time during the run and peak memory in bytes; `None` if it is gone.
    used: Option<(Duration, u64)>,
}

impl Agent {
    pub(super) fn new(pid: u32, before: Usage, after: Option<Usage>) -> Self {
        let after = after.filter(|after| after.began == before.began);
        let used = after.map(|after| (after.cpu.saturating_sub(before.cpu), after.peak_bytes));
        Agent { pid, used }
    }
}

impl Report<'_> {
    fn seconds(&self) -> f64 {
        self.tally.last_ack.as_secs_f64()
    }

    fn per_second(&self) -> f64 {
        ratio(self.tally.acks as f64, self.seconds())
    }

    fn cores(&self, cpu: Duration) -> f64 {
        ratio(cpu.as_secs_f64(), self.seconds())
    }

    fn per_million(&self, cpu: Duration) -> f64 {
        ratio(cpu.as_secs_f64() * 1e6, self.tally.acks as f64)
    }

    pub(super) fn text(&self, out: &mut impl Write) -> Result<(), Failure> {
        let tally = self.tally;
        let Report { addr, connections, in_flight, threads, .. } = self;
        let from = if self.rate.is_some() { "from the intended time of sending" } else { "from sending" };
        let loops = self.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("open loop, {rate} per second"));
        writeln!(out, "{addr}: {connections} connections, {in_flight} in flight on each, {loops}")?;
        writeln!(out, "ACKs       {} in {:.2} s, {:.0} per second", tally.acks, self.seconds(), self.per_second())?;
        let shown: Vec<String> = quantiles(tally).iter().map(|(name, ns)| format!("{name} {}", time(*ns))).collect();
        writeln!(out, "latency    {} ({from})", shown.join("  "))?;
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        writeln!(out, "traffic    {:.1} MiB out, {:.1} MiB in", mib(tally.bytes_out), mib(tally.bytes_in))?;
        let cores = self.cores(self.tool_cpu);
        writeln!(
            out,
            "this tool  {:.3} CPU s per million ACKs ({cores:.2} cores; threads: {threads})",
            self.per_million(self.tool_cpu)
        )?;
        match &self.agent {
            Some(Agent { pid, used: Some((cpu, peak_bytes)) }) => {
                let (million, cores) = (self.per_million(*cpu), self.cores(*cpu));
                let (seconds, peak) = (cpu.as_secs_f64(), mib(*peak_bytes));
                writeln!(
                    out,
                    "agent      {million:.3} CPU s per million ACKs ({seconds:.2} s, {cores:.2} cores), peak memory {peak:.1} MiB (pid {pid})"
                )?;
            }
            Some(Agent { pid, used: None }) => writeln!(out, "agent      gone before the end (pid {pid})")?,
            None => {}
        }
        if tally.reconnects > 0 {
            writeln!(out, "connected  {} times again", tally.reconnects)?;
        }
        if tally.errors.is_empty() {
            writeln!(out, "errors     none")?;
        }
        for (kind, error) in &tally.errors {
            writeln!(out, "errors     {} {}, first: {}", error.count, kind.name(), error.first)?;
        }
        Ok(())
    }

    pub(super) fn json(&self, out: &mut impl Write) -> Result<(), Failure> {
        Ok(writeln!(out, "{}", to_json(self)?)?)
    }
}

/// 0 if there is nothing to divide by.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

fn quantiles(tally: &Tally) -> [(&'static str, u64); 5] {
    let latency = &tally.latency;
    [
        ("p50", latency.value_at_quantile(0.5)),
        ("p90", latency.value_at_quantile(0.9)),
        ("p99", latency.value_at_quantile(0.99)),
        ("p99.9", latency.value_at_quantile(0.999)),
        ("max", latency.max()),
    ]
}

fn time(ns: u64) -> String {
    match ns as f64 {
        ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

impl Serialize for Report<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let tally = self.tally;
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("addr", &self.addr)?;
        map.serialize_entry("connections", &self.connections)?;
        map.serialize_entry("in_flight", &self.in_flight)?;
        map.serialize_entry("threads", &self.threads)?;
        map.serialize_entry("rate", &self.rate)?;
        map.serialize_entry("seconds", &self.seconds())?;
        map.serialize_entry("sent", &tally.sent)?;
        map.serialize_entry("acks", &tally.acks)?;
        map.serialize_entry("acks_per_second", &self.per_second())?;
        map.serialize_entry("latency_us", &Latency(tally))?;
        map.serialize_entry("bytes_out", &tally.bytes_out)?;
        map.serialize_entry("bytes_in", &tally.bytes_in)?;
        map.serialize_entry("reconnects", &tally.reconnects)?;
        map.serialize_entry("errors", &Errors(tally))?;
        map.serialize_entry("tool_cores", &self.cores(self.tool_cpu))?;
        map.serialize_entry("tool_cpu_seconds_per_million_acks", &self.per_million(self.tool_cpu))?;
        if let Some(agent) = &self.agent {
            map.serialize_entry("agent_gone", &agent.used.is_none())?;
            if let Some((cpu, peak_bytes)) = agent.used {
                map.serialize_entry("agent_cpu_seconds", &cpu.as_secs_f64())?;
                map.serialize_entry("agent_cpu_seconds_per_million_acks", &self.per_million(cpu))?;
                map.serialize_entry("agent_peak_memory_bytes", &peak_bytes)?;
            }
        }
        map.end()
    }
}

struct Latency<'a>(&'a Tally);

impl Serialize for Latency<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(quantiles(self.0).map(|(name, ns)| (name, ns as f64 / 1e3)))
    }
}

struct Errors<'a>(&'a Tally);

impl Serialize for Errors<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.errors.iter().map(|(kind, error)| (kind.name(), error.count)))
    }
}
