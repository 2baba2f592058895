//! A line for each frame, as text or as JSON.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use spop_core::{Flags, PREFIX_LEN};

use super::frame::{Body, Decoded, Message};
use crate::show::{Deed, Hex, JsonAction, JsonHex, JsonPair, JsonText, Name, Pair};

/// Where bytes came from.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    /// Line of a text file, from 1.
    pub(crate) line: Option<u64>,
    /// Time of the packet that completed it, since the epoch.
    pub(crate) time: Option<Duration>,
    /// Addresses of a TCP stream.
    pub(crate) stream: Option<&'a str>,
    /// In the stream, or in the line.
    pub(crate) offset: u64,
}

/// A frame to print.
pub(crate) struct Line<'a> {
    pub(crate) place: Place<'a>,
    /// Length of the frame on the wire, without the prefix; of a reassembled one, of its payload.
    pub(crate) len: usize,
    pub(crate) decoded: &'a Decoded<'a>,
    /// Of how many fragments it was put together.
    pub(crate) fragments: Option<u32>,
    /// How long HAProxy waited for this ACK.
    pub(crate) took: Option<Duration>,
    /// What a relay made of it, if it did not just pass it on.
    pub(crate) fault: Option<&'static str>,
    pub(crate) error: Option<Problem>,
}

/// What is wrong with a frame, or with what should be one.
#[derive(Serialize)]
pub(crate) struct Problem {
    pub(crate) reason: String,
    /// In the stream, or in the line.
    pub(crate) offset: u64,
    /// The status of the DISCONNECT that would answer it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u32>,
}

impl Problem {
    /// An error inside a frame at `offset`.
    pub(crate) fn in_frame(offset: u64, error: spop_core::DecodeError) -> Self {
        let offset = offset + (PREFIX_LEN + error.offset) as u64;
        Problem { reason: format!("{error} of the frame"), offset, status: Some(error.status().0) }
    }
}

/// Prints to `out`.
pub(crate) struct Printer<W> {
    pub(crate) out: W,
    pub(crate) json: bool,
}

impl<W: Write> Printer<W> {
    pub(crate) fn frame(&mut self, line: &Line<'_>) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.out, line)?;
            return self.out.write_all(b"\n");
        }
        let header = line.decoded.header;
        let (stream, frame, flags) = (header.stream_id.0, header.frame_id.0, FlagNames(header.flags));
        write!(self.out, "{}{} stream={stream} frame={frame} flags={flags}", line.place, header.frame_type)?;
        write!(self.out, " len={}", line.len)?;
        if let Some(fragments) = line.fragments {
            write!(self.out, " fragments={fragments}")?;
        }
        if let Some(took) = line.took {
            write!(self.out, " latency={:.3}ms", took.as_secs_f64() * 1e3)?;
        }
        if let Some(fault) = line.fault {
            write!(self.out, " fault={fault}")?;
        }
        write!(self.out, "{}", line.decoded.body)?;
        match &line.error {
            Some(problem) => writeln!(self.out, " ERROR at offset {}: {}", problem.offset, problem.reason),
            None => writeln!(self.out),
        }
    }

    pub(crate) fn problem(&mut self, place: Place<'_>, problem: &Problem) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.out, &JsonProblem { place, error: problem })?;
            return self.out.write_all(b"\n");
        }
        writeln!(self.out, "{place}ERROR {}", problem.reason)
    }

    /// Bytes that are no frame were passed over.
    pub(crate) fn skipped(&mut self, place: Place<'_>, bytes: u64) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.out, &JsonSkipped { place, bytes })?;
            return self.out.write_all(b"\n");
        }
        writeln!(self.out, "{place}SKIPPED {bytes} bytes")
    }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(time) = self.time {
            write!(f, "{} ", rfc3339(time))?;
        }
        if let Some(stream) = self.stream {
            write!(f, "{stream} ")?;
        }
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, "{} ", self.offset)
    }
}

fn rfc3339(time: Duration) -> String {
    match SystemTime::UNIX_EPOCH.checked_add(time) {
        // The formatter ends with the year 9999.
        Some(at) if time.as_secs() < 253_402_300_800 => humantime::format_rfc3339_nanos(at).to_string(),
        _ => format!("{}s", time.as_secs()),
    }
}

struct FlagNames(Flags);

impl std::fmt::Display for FlagNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names = String::new();
        for (set, name) in [(self.0.fin(), "FIN|"), (self.0.abort(), "ABORT|")] {
            names.push_str(if set { name } else { "" });
        }
        let reserved = self.0.0 & !3;
        if reserved != 0 {
            write!(names, "{reserved:#x}|")?;
        }
        f.write_str(if names.is_empty() { "none" } else { names.trim_end_matches('|') })
    }
}

impl std::fmt::Display for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Keys(keys) => keys.iter().try_for_each(|kv| write!(f, " {}", Pair(kv))),
            Body::Messages(messages) => messages.iter().try_for_each(|Message { name, args }| {
                write!(f, " {}(", Name(name))?;
                for (n, kv) in args.iter().enumerate() {
                    write!(f, "{}{}", if n > 0 { " " } else { "" }, Pair(kv))?;
                }
                f.write_str(")")
            }),
            Body::Actions(actions) => actions.iter().try_for_each(|action| write!(f, " {}", Deed(action))),
            Body::Fragment(bytes) => write!(f, " fragment={}", Hex(bytes)),
            Body::Unknown(bytes) => write!(f, " payload={}", Hex(bytes)),
        }
    }
}

impl Place<'_> {
    fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if let Some(time) = self.time {
            map.serialize_entry("time", &rfc3339(time))?;
        }
        if let Some(stream) = self.stream {
            map.serialize_entry("stream", stream)?;
        }
        if let Some(line) = self.line {
            map.serialize_entry("line", &line)?;
        }
        map.serialize_entry("offset", &self.offset)
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        let header = self.decoded.header;
        self.place.serialize_into(&mut map)?;
        map.serialize_entry("length", &self.len)?;
        map.serialize_entry("type", &header.frame_type.name())?;
        map.serialize_entry("type_code", &header.frame_type.0)?;
        map.serialize_entry("flags", &header.flags.0)?;
        map.serialize_entry("fin", &header.flags.fin())?;
        map.serialize_entry("abort", &header.flags.abort())?;
        map.serialize_entry("stream_id", &header.stream_id.0)?;
        map.serialize_entry("frame_id", &header.frame_id.0)?;
        if let Some(fragments) = self.fragments {
            map.serialize_entry("fragments", &fragments)?;
        }
        if let Some(took) = self.took {
            map.serialize_entry("latency_ms", &(took.as_micros() as f64 / 1e3))?;
        }
        if let Some(fault) = self.fault {
            map.serialize_entry("fault", fault)?;
        }
        match &self.decoded.body {
            Body::Keys(keys) => map.serialize_entry("keys", &pairs(keys))?,
            Body::Messages(messages) => {
                let list: Vec<_> = messages.iter().map(JsonMessage).collect();
                map.serialize_entry("messages", &list)?;
            }
            Body::Actions(actions) => {
                map.serialize_entry("actions", &actions.iter().map(JsonAction).collect::<Vec<_>>())?;
            }
            Body::Fragment(bytes) => map.serialize_entry("fragment", &JsonHex(bytes))?,
            Body::Unknown(bytes) => map.serialize_entry("payload", &JsonHex(bytes))?,
        }
        if let Some(problem) = &self.error {
            map.serialize_entry("error", problem)?;
        }
        map.end()
    }
}

fn pairs<'a>(list: &'a [spop_core::Kv<'a>]) -> Vec<JsonPair<'a>> {
    list.iter().map(JsonPair).collect()
}

struct JsonMessage<'a>(&'a Message<'a>);

impl Serialize for JsonMessage<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(2))?;
        map.serialize_entry("name", &JsonText(self.0.name))?;
        map.serialize_entry("args", &pairs(&self.0.args))?;
        map.end()
    }
}

struct JsonProblem<'a> {
    place: Place<'a>,
    error: &'a Problem,
}

impl Serialize for JsonProblem<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        self.place.serialize_into(&mut map)?;
        map.serialize_entry("error", self.error)?;
        map.end()
    }
}

struct JsonSkipped<'a> {
    place: Place<'a>,
    bytes: u64,
}

impl Serialize for JsonSkipped<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        self.place.serialize_into(&mut map)?;
        map.serialize_entry("skipped", &self.bytes)?;
        map.end()
    }
}
