//! The SPOP server.

use std::fmt;

use super::families::{Families, Labels};
use spop_agent::{Side, StatsSnapshot};

/// The SPOP server.
pub(super) fn encode(stats: StatsSnapshot, families: &mut Families<'_>) -> fmt::Result {
    let StatsSnapshot {
        connections,
        connections_open,
        connections_refused,
        connections_out_of_files,
        io_errors,
        hellos,
        healthchecks,
        notifies,
        acks,
        in_flight,
        received_hello,
        received_notify,
        received_unset,
        received_disconnect,
        received_unknown,
        sent_hello,
        sent_ack,
        sent_disconnect,
        fragments,
        too_big,
        aborted,
        superseded,
        cancelled,
        ignored,
        protocol_errors,
        handler_errors,
        handler_panics,
        handler_late,
        unanswered,
        late,
        write_timeouts,
        buffered,
        buffers_full,
        bytes_in,
        bytes_out,
        disconnects,
        handler_durations,
    } = stats;
    let f = families;
    f.counter("connections", "Connections of HAProxy accepted.", connections)?;
    f.gauge("connections_open", "Connections of HAProxy open now.", connections_open)?;
    f.counter("connections_refused", "Connections refused: --max-connections were open.", connections_refused)?;
    f.counter(
        "connections_out_of_files",
        "Connections refused: the file descriptors left are reserved.",
        connections_out_of_files,
    )?;
    f.counter("connection_io_errors", "Connections ended by an error of the transport, no reset.", io_errors)?;
    f.counter("connection_write_timeouts", "Connections ended: HAProxy left ACKs unread.", write_timeouts)?;
    f.counter("connection_buffers_full", "Connections ended: --max-buffered was used up.", buffers_full)?;
    f.gauge("buffered_bytes", "Memory for frames that connections hold now beyond 256 KiB of each.", buffered)?;
    f.counters_by("kind", "handshakes", "HELLOs accepted.", [("connection", hellos), ("healthcheck", healthchecks)])?;
    f.counters_by(
        "type",
        "frames_received",
        "Frames of HAProxy, without those that broke the protocol.",
        [
            ("hello", received_hello),
            ("notify", received_notify),
            ("fragment", received_unset),
            ("disconnect", received_disconnect),
            ("unknown", received_unknown),
        ],
    )?;
    f.counters_by(
        "type",
        "frames_sent",
        "Frames for HAProxy.",
        [("hello", sent_hello), ("ack", sent_ack), ("disconnect", sent_disconnect)],
    )?;
    f.counter("frames_ignored", "Frames of unknown types, and aborts of nothing.", ignored)?;
    f.counter("received_bytes", "Bytes received from HAProxy.", bytes_in)?;
    f.counter("sent_bytes", "Bytes sent to HAProxy.", bytes_out)?;
    f.counter("protocol_errors", "Connections that broke the protocol.", protocol_errors)?;
    let disconnects: Vec<_> = disconnects
        .into_iter()
        .map(|(side, status, count)| (side_name(side), status.0.to_string(), status, count))
        .collect();
    f.counters(
        "disconnects",
        "DISCONNECT frames by sender and status.",
        disconnects.iter().map(|(side, code, status, count)| {
            let labels: Labels<'_, 3> = [("side", side), ("status", code), ("reason", status.reason())];
            (labels, *count)
        }),
    )?;
    f.counter("notifies", "NOTIFYs given to the handler.", notifies)?;
    f.counter("acks", "NOTIFYs answered by an ACK of the handler.", acks)?;
    f.counter("notify_fragments", "Frames of fragmented NOTIFYs received.", fragments)?;
    f.gauge("notifies_in_flight", "NOTIFYs that wait for their ACK now.", in_flight)?;
    f.counters_by(
        "cause",
        "notifies_unanswered",
        "NOTIFYs that the handler did not get, or whose ACK nobody waits for.",
        [
            ("too_big", too_big),
            ("aborted", aborted),
            ("cancelled", cancelled),
            ("superseded", superseded),
            ("connection_ended", unanswered),
            ("late", late),
        ],
    )?;
    f.counters_by(
        "cause",
        "handler_failures",
        "NOTIFYs whose handler failed.",
        [("error", handler_errors), ("panic", handler_panics), ("late", handler_late)],
    )?;
    f.histogram("handler_duration_seconds", "How long the handler took for a NOTIFY.", &handler_durations)
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Haproxy => "haproxy",
        Side::Agent => "agent",
    }
}
