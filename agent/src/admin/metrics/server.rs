//! The SPOP server.

use std::fmt;

use super::families::{Families, Labels};
use crate::metric::{Kind, Metric, Row};
use spop_agent::{Side, StatsSnapshot};

type Rows = &'static [Row<StatsSnapshot>];

const fn counter(name: &'static str, help: &'static str, rows: Rows) -> Metric<StatsSnapshot> {
    counters("", name, help, rows)
}

const fn counters(label: &'static str, name: &'static str, help: &'static str, rows: Rows) -> Metric<StatsSnapshot> {
    Metric { name, help, kind: Kind::Counter, label, rows }
}

const fn gauge(name: &'static str, help: &'static str, rows: Rows) -> Metric<StatsSnapshot> {
    Metric { name, help, kind: Kind::Gauge, label: "", rows }
}

/// Before the DISCONNECTs, which have rows for what came only.
const CONNECTIONS: &[Metric<StatsSnapshot>] = &[
    counter("connections", "Connections of HAProxy accepted.", &[("", |stats| stats.connections)]),
    gauge("connections_open", "Connections of HAProxy open now.", &[("", |stats| stats.connections_open)]),
    counter(
        "connections_refused",
        "Connections refused: --max-connections were open.",
        &[("", |stats| stats.connections_refused)],
    ),
    counter(
        "connections_out_of_files",
        "Connections refused: the file descriptors left are reserved.",
        &[("", |stats| stats.connections_out_of_files)],
    ),
    counter(
        "connection_io_errors",
        "Connections ended by an error of the transport, no reset.",
        &[("", |stats| stats.io_errors)],
    ),
    counter(
        "connection_write_timeouts",
        "Connections ended: HAProxy left ACKs unread.",
        &[("", |stats| stats.write_timeouts)],
    ),
    counter(
        "connection_buffers_full",
        "Connections ended: --max-buffered was used up.",
        &[("", |stats| stats.buffers_full)],
    ),
    gauge(
        "buffered_bytes",
        "Memory for frames that connections hold now beyond 256 KiB of each.",
        &[("", |stats| stats.buffered)],
    ),
    counters(
        "kind",
        "handshakes",
        "HELLOs accepted.",
        &[("connection", |stats| stats.hellos), ("healthcheck", |stats| stats.healthchecks)],
    ),
    counters(
        "type",
        "frames_received",
        "Frames of HAProxy, without those that broke the protocol.",
        &[
            ("hello", |stats| stats.received_hello),
            ("notify", |stats| stats.received_notify),
            ("fragment", |stats| stats.received_unset),
            ("disconnect", |stats| stats.received_disconnect),
            ("unknown", |stats| stats.received_unknown),
        ],
    ),
    counters(
        "type",
        "frames_sent",
        "Frames for HAProxy.",
        &[
            ("hello", |stats| stats.sent_hello),
            ("ack", |stats| stats.sent_ack),
            ("disconnect", |stats| stats.sent_disconnect),
        ],
    ),
    counter("frames_ignored", "Frames of unknown types, and aborts of nothing.", &[("", |stats| stats.ignored)]),
    counter("received_bytes", "Bytes received from HAProxy.", &[("", |stats| stats.bytes_in)]),
    counter("sent_bytes", "Bytes sent to HAProxy.", &[("", |stats| stats.bytes_out)]),
    counter("protocol_errors", "Connections that broke the protocol.", &[("", |stats| stats.protocol_errors)]),
];

const NOTIFIES: &[Metric<StatsSnapshot>] = &[
    counter("notifies", "NOTIFYs given to the handler.", &[("", |stats| stats.notifies)]),
    counter("acks", "NOTIFYs answered by an ACK of the handler.", &[("", |stats| stats.acks)]),
    counter(
        "acks_elsewhere",
        "Of these ACKs, those on another connection of the NOTIFY's engine (async).",
        &[("", |stats| stats.answered_elsewhere)],
    ),
    counter(
        "orphans_refused",
        "NOTIFYs given up at the end of their connection because too many others were without one (async).",
        &[("", |stats| stats.orphans_refused)],
    ),
    counter("notify_fragments", "Frames of fragmented NOTIFYs received.", &[("", |stats| stats.fragments)]),
    gauge("notifies_in_flight", "NOTIFYs that wait for their ACK now.", &[("", |stats| stats.in_flight)]),
    counters(
        "cause",
        "notifies_unanswered",
        "NOTIFYs that the handler did not get, or whose ACK nobody waits for.",
        &[
            ("too_big", |stats| stats.too_big),
            ("aborted", |stats| stats.aborted),
            ("cancelled", |stats| stats.cancelled),
            ("superseded", |stats| stats.superseded),
            ("connection_ended", |stats| stats.unanswered),
            ("late", |stats| stats.late),
        ],
    ),
    counters(
        "cause",
        "handler_failures",
        "NOTIFYs whose handler failed.",
        &[
            ("error", |stats| stats.handler_errors),
            ("panic", |stats| stats.handler_panics),
            ("late", |stats| stats.handler_late),
        ],
    ),
];

pub(super) fn encode(stats: &StatsSnapshot, f: &mut Families<'_>) -> fmt::Result {
    f.metrics(stats, CONNECTIONS)?;
    let disconnects: Vec<_> = stats
        .disconnects
        .iter()
        .map(|&(side, status, count)| (side_name(side), status.0.to_string(), status, count))
        .collect();
    f.counters(
        "disconnects",
        "DISCONNECT frames by sender and status.",
        disconnects.iter().map(|(side, code, status, count)| {
            let labels: Labels<'_, 3> = [("side", side), ("status", code), ("reason", status.reason())];
            (labels, *count)
        }),
    )?;
    f.metrics(stats, NOTIFIES)?;
    f.histogram(
        "handler_duration_seconds",
        "How long a NOTIFY took, from its decoding to its answer.",
        &stats.handler_durations,
    )
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Haproxy => "haproxy",
        Side::Agent => "agent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_the_server_is_exposed() {
        let snapshot = format!("{:#?}", StatsSnapshot::default());
        let fields = snapshot.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(':'));
        let fields: Vec<_> = fields.map(|(name, _)| name).filter(|name| !name.starts_with(' ')).collect();
        assert!(fields.len() > 30, "{fields:?}");
        let (code, _) = include_str!("server.rs").split_once("mod tests").unwrap();
        let exposed: Vec<_> =
            code.split("stats").map(|text| text.trim_start().trim_start_matches('.')).map(name).collect();
        let missed: Vec<_> = fields.iter().filter(|field| !exposed.contains(field)).collect();
        assert!(missed.is_empty(), "{missed:?}");
    }

    fn name(text: &str) -> &str {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    }
}
