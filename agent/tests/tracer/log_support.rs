//! Lines of HAProxy's log, and what takes them.

use std::sync::Arc;

use spoa_otel::line::{LineConfig, LineStats, Lines, Sender};
use spoa_otel::red::{Red, RedConfig};

use crate::support::{Agent, at};

/// Ids in `ctx`.
pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub(crate) const SERVER: &str = "b7ad6b7169203331";
pub(crate) const CLIENT: &str = "00f067aa0ba902b7";
pub(crate) const PARENT: &str = "53995c3f42cd8ad8";

/// A line of a good request: accepted at [`at(0)`](at), first byte after 3 ms, over after 40.
#[derive(Clone)]
pub(crate) struct Line(Vec<(&'static str, String)>);

/// Microseconds since the epoch after so many since [`at(0)`](at).
pub(crate) fn clock(us: u64) -> u64 {
    at(0).duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64 + us
}

impl Line {
    pub(crate) fn new() -> Self {
        let (au, t0, e) = (clock(0), clock(3_200), clock(40_123));
        let a = format!("{}.{:03}", au / 1_000_000, au / 1000 % 1000);
        let ctx = format!("{TRACE}-{SERVER}-{CLIENT}-{PARENT}-03");
        let text = |text: &str| text.to_owned();
        Line(vec![
            ("v", text("1")),
            ("svc", text("edge")),
            ("c", ctx),
            ("tst", text("a%3d1")),
            ("n", text("7")),
            ("a", a),
            ("au", au.to_string()),
            ("ss", text("200")),
            ("t0", t0.to_string()),
            ("e", e.to_string()),
            ("Th", text("1")),
            ("Ti", text("2")),
            ("TR", text("4")),
            ("Tw", text("5")),
            ("Tc", text("6")),
            ("Tr", text("7")),
            ("Td", text("8")),
            ("Ta", text("37")),
            ("st", text("200")),
            ("ts", text("--")),
            ("rc", text("0")),
            ("f", text("www")),
            ("b", text("app")),
            ("s", text("s1")),
            ("m", text("GET")),
            ("u", text("%2fa%20b%3fq%3d1%26sig%3dx")),
            ("hv", text("1.1")),
            ("h", text("example.com%3a8443")),
            ("ua", text("curl%2f8.0")),
            ("route", text("-")),
            ("tls", text("1")),
            ("ci", text("192.0.2.1")),
            ("cp", text("50000")),
            ("fi", text("192.0.2.2")),
            ("fp", text("443")),
            ("si", text("192.0.2.3")),
            ("sp", text("8080")),
            ("U", text("120")),
            ("B", text("450")),
            ("id", text("unique-1")),
            ("z", text("1")),
        ])
    }

    /// With another value of a parameter.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value.to_string(),
            None => self.0.push((name, value.to_string())),
        }
        self
    }

    /// Without some.
    pub(crate) fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|(name, _)| !names.contains(name));
        self
    }

    /// As HAProxy before 2.9 writes it.
    pub(crate) fn old(self) -> Self {
        self.without(&["au", "ss"])
    }

    /// With timers that say how far it got: TR, Tw, Tc, Tr, Td.
    pub(crate) fn timers(self, reached: usize) -> Self {
        let unreached = ["TR", "Tw", "Tc", "Tr", "Td"].into_iter().skip(reached);
        unreached.fold(self, |line, name| line.with(name, -1))
    }

    pub(crate) fn element(&self) -> String {
        let params: String = self.0.iter().map(|(name, value)| format!(" {name}=\"{value}\"")).collect();
        format!("[otel@32473{params}]")
    }

    pub(crate) fn text(&self) -> String {
        format!("<134>1 2026-11-28T19:00:00.000000+00:00 - haproxy 4711 - {} a message", self.element())
    }
}

/// An agent that takes lines.
pub(crate) struct LineAgent {
    pub(crate) agent: Agent,
    pub(crate) lines: Lines,
}

impl LineAgent {
    pub(crate) fn new() -> Self {
        Self::of(Agent::new(), LineConfig::default())
    }

    pub(crate) fn of(agent: Agent, config: LineConfig) -> Self {
        let red = Arc::new(Red::new(&RedConfig::default()));
        let lines = Lines::new(config, agent.tracer.clone(), red);
        LineAgent { agent, lines }
    }

    /// Takes a line 50 ms after the beginning.
    pub(crate) fn take(&self, line: &Line) {
        self.take_text(&line.text());
    }

    pub(crate) fn take_text(&self, text: &str) {
        self.lines.take_at(Sender::Local, text.as_bytes(), self.agent.timestamp(50));
    }

    pub(crate) fn stats(&self) -> LineStats {
        self.lines.stats()
    }
}
