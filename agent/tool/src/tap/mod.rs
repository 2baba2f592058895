//! Frames that pass while others talk: shown a line each, as `spop decode` prints them, and recorded.
//!
//! Nobody waits for whoever reads the lines: what he does not take in time is left out and counted. A record is whole or its end
//! is told.

mod direction;
mod listen;
mod pcapng;
mod printer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clap::Args;
use spop_agent::size;
use spop_core::{Frame, PREFIX_LEN};

use crate::decode::{Decoded, Line, Place, Printer, Problem};
use crate::failure::Failure;
use crate::say::say;
pub(crate) use direction::From;
pub(crate) use listen::{Connection, Listener};
use pcapng::Recorder;
use printer::Lines;

/// What becomes of what passes, and how many may talk.
#[derive(Args)]
pub(crate) struct TapOptions {
    /// The most connections at once; further ones are closed
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) max_connections: usize,
    /// Show all frames, also HELLO, DISCONNECT, fragments and health checks
    #[arg(long)]
    pub(crate) all: bool,
    /// Show nothing; the summary at the end remains
    #[arg(long, short, conflicts_with_all = ["all", "json"])]
    quiet: bool,
    /// Print one JSON object per frame
    #[arg(long)]
    json: bool,
    /// Write what passes to a file in pcapng, for `spop decode` and Wireshark; an earlier file is overwritten
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// The most bytes of that file; what comes then is passed on but not written, and told at the end
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size::parse)]
    record_limit: usize,
}

/// What becomes of the frames that pass.
pub(crate) struct Tap {
    lines: Option<Lines>,
    json: bool,
    recorder: Option<Mutex<Recorder>>,
}

impl Tap {
    /// Shows lines unless it is to be quiet, and records to a file of so many bytes at most.
    pub(crate) fn new(options: &TapOptions) -> Result<Self, Failure> {
        let path = options.record.as_ref();
        let recorder = path.map(|path| Recorder::create(path, options.record_limit as u64)).transpose()?;
        let lines = (!options.quiet).then(Lines::start).transpose()?;
        Ok(Tap { lines, json: options.json, recorder: recorder.map(Mutex::new) })
    }

    /// Ready once nobody reads the lines any more.
    pub(crate) async fn closed(&self) {
        match &self.lines {
            Some(lines) => lines.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Writes what is left, and tells what could not be shown or recorded.
    fn finish(self) -> Result<(), Failure> {
        // Whether somebody still reads the lines says nothing of the record: its failure goes first.
        let recorded = self.recorder.map(|recorder| recorder.into_inner().unwrap_or_else(PoisonError::into_inner));
        let recorded = recorded.map_or(Ok(None), Recorder::finish);
        let left_out = self.lines.map_or(Ok(0), Lines::finish);
        if let Ok(n @ 1..) = left_out {
            say(format_args!("{n} lines were left out: nobody read them fast enough"));
        }
        if let Some(full) = recorded? {
            say(full);
        }
        left_out.map(drop)
    }
}

/// A runtime for connections, which wait most of the time.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// The end of a tap whose connections are gone.
pub(crate) fn finish(tap: Arc<Tap>) -> Result<(), Failure> {
    Arc::into_inner(tap).map_or(Ok(()), Tap::finish)
}

/// Both directions of a connection.
pub(crate) struct Passing {
    tap: Arc<Tap>,
    names: [String; 2],
    offsets: [u64; 2],
    flow: Mutex<Option<pcapng::Flow>>,
}

impl Passing {
    /// Of a connection between these two.
    pub(crate) fn new(tap: Arc<Tap>, haproxy: &str, agent: &str) -> Self {
        let names = [format!("{haproxy} > {agent}"), format!("{agent} > {haproxy}")];
        let flow = tap.recorder.as_ref().map(|recorder| lock(recorder).flow(haproxy, agent));
        Passing { tap, names, offsets: [0; 2], flow: Mutex::new(flow) }
    }

    /// Bytes as they came or went.
    pub(crate) fn bytes(&self, from: From, bytes: &[u8]) {
        if let (Some(recorder), Some(flow)) = (&self.tap.recorder, &mut *lock(&self.flow)) {
            lock(recorder).segment(flow, from, bytes, now());
        }
    }

    /// A frame with its prefix, in the order of its direction; an ACK with how long HAProxy waited for it.
    pub(crate) fn frame(&mut self, from: From, frame: &[u8], show: bool, took: Option<Duration>) {
        self.faulty(from, frame, show, took, None);
    }

    /// One of which a relay makes something else.
    pub(crate) fn faulty(
        &mut self,
        from: From,
        frame: &[u8],
        show: bool,
        took: Option<Duration>,
        fault: Option<&'static str>,
    ) {
        let offset = self.advance(from, frame.len());
        if !show {
            return;
        }
        let body = frame.get(PREFIX_LEN..).unwrap_or_default();
        match Decoded::new(body) {
            Ok(decoded) => self.line(from, offset, body.len(), &decoded, (None, took, fault)),
            Err(error) => self.problem(from, offset, &Problem::in_frame(offset, error)),
        }
    }

    /// A NOTIFY whose last fragment was this frame.
    pub(crate) fn reassembled(&mut self, frame: &[u8], payload: &[u8], fragments: u32, show: bool) {
        let offset = self.advance(From::Haproxy, frame.len());
        if let (true, Ok(last)) = (show, Frame::decode(frame.get(PREFIX_LEN..).unwrap_or_default())) {
            let mut header = last.header;
            header.frame_type = spop_core::FrameType::NOTIFY;
            let decoded = Decoded::reassembled(header, payload);
            self.line(From::Haproxy, offset, payload.len(), &decoded, (Some(fragments), None, None));
        }
    }

    /// What is no frame.
    pub(crate) fn no_frame(&mut self, from: From, bytes: usize, reason: String, status: Option<u32>) {
        let offset = self.advance(from, bytes);
        self.problem(from, offset, &Problem { reason, offset, status });
    }

    /// Bytes that are no line.
    pub(crate) fn skip(&mut self, from: From, bytes: usize) {
        self.advance(from, bytes);
    }

    fn advance(&mut self, from: From, bytes: usize) -> u64 {
        let offset = &mut self.offsets[from as usize];
        std::mem::replace(offset, *offset + bytes as u64)
    }

    fn line(
        &self,
        from: From,
        offset: u64,
        len: usize,
        decoded: &Decoded<'_>,
        (fragments, took, fault): (Option<u32>, Option<Duration>, Option<&'static str>),
    ) {
        let error = decoded.error.map(|error| Problem::in_frame(offset, error));
        let line = Line { place: self.place(from, offset), len, decoded, fragments, took, fault, error };
        self.print(|printer| printer.frame(&line));
    }

    fn problem(&self, from: From, offset: u64, problem: &Problem) {
        self.print(|printer| printer.problem(self.place(from, offset), problem));
    }

    fn place(&self, from: From, offset: u64) -> Place<'_> {
        Place { line: None, time: Some(now()), stream: Some(&self.names[from as usize]), offset }
    }

    fn print(&self, print: impl FnOnce(&mut Printer<Vec<u8>>) -> std::io::Result<()>) {
        if let Some(lines) = &self.tap.lines {
            let mut printer = Printer { out: Vec::new(), json: self.tap.json };
            // Memory takes everything.
            let _written = print(&mut printer);
            lines.send(printer.out);
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let (Some(recorder), Some(flow)) = (&self.tap.recorder, lock(&self.flow).take()) {
            lock(recorder).end(flow, now());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
