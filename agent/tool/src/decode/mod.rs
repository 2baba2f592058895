//! `spop decode`: recorded bytes as text or JSON, one frame per line.

mod flow;
mod fragments;
mod frame;
mod layers;
mod lost;
mod packet;
mod pcap;
mod print;
mod read;
mod split;
mod streams;
mod unpack;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use spop_core::{FrameType, MIN_BODY_LEN, PREFIX_LEN};

use crate::failure::Failure;
use fragments::{Fragments, Gathered};
use frame::Decoded;
use print::{Line, Place, Printer, Problem};
use split::{Piece, Splitter};
use streams::CaptureCounts;
use unpack::{Failed, Input};

/// Decode frames from hex lines, a byte stream or a packet capture, one line of output for each
///
/// Bytes that are no frame are reported with offset and reason, and the search goes on behind them. The TCP streams of a
/// capture are put together by their sequence numbers; those without anything like SPOP are passed over and counted.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The file to read; `-` is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// What the input is
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
    /// Put fragmented NOTIFYs together and print them whole
    #[arg(long)]
    reassemble: bool,
    /// Encode every frame again and compare the bytes
    #[arg(long)]
    reencode: bool,
    /// Of a capture, only TCP streams from or to this port, whatever is in them
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Largest frame to take, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024, value_parser = clap::value_parser!(u32).range(256..))]
    max_frame_size: u32,
    /// Largest fragmented NOTIFY to put together, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    max_reassembly: usize,
    /// Most TCP streams of a capture at a time, each direction for itself; further ones are counted only
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_streams: usize,
    /// Most bytes to keep of a TCP stream behind a packet that is missing, before it is given up as lost
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    max_out_of_order: usize,
    /// Most bytes to keep of all TCP streams together; a stream that needs more gives up what it waits for
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024 * 1024)]
    max_memory: usize,
    /// Most bytes that a packed file may unpack to
    #[arg(long, value_name = "BYTES", default_value_t = 4 * 1024 * 1024 * 1024)]
    max_unpacked: u64,
}

const EXAMPLES: &str = "\
Formats: hex is a text file whose lines each hold whole frames as hex digits, prefix included; blanks, colons and what
follows a # count for nothing. binary is a stream of frames. pcap is a pcap or pcapng file with link type Ethernet,
Linux cooked, loopback, raw IP, PPP, PPPoE or NFLOG; VLANs, PPPoE, GRE, IP in IP, VXLAN and Geneve are looked into, IP
fragments are put together. All of them may be packed by gzip or zstd.

A line shows where the frame is (time, TCP stream, line, offset), then type, ids, flags, length and every field, values
as `spop notify` takes them. In JSON a string that is not UTF-8 is {\"hex\": …}; binary values are hex.

Examples:
  echo 00000020030000000105070f636865636b2d636c69656e742d69700102697006c0000211 | spop decode
  tcpdump -i lo -w - -U port 12345 | spop decode --json --reassemble
  spop decode --reencode --port 12345 trace.pcapng";

/// What the input is.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// Tell by the first bytes
    Auto,
    /// Lines of hex digits
    Hex,
    /// A stream of frames
    Binary,
    /// A packet capture: pcap or pcapng
    Pcap,
}

pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let name = if is_stdin(options) { "standard input".to_owned() } else { options.file.display().to_string() };
    let unreadable = |error| Failure::File { name: name.clone(), error };
    let mut input = open(options).and_then(|file| Input::new(file, options.max_unpacked)).map_err(unreadable)?;
    let (failed, waits) = (input.failed.clone(), input.take_waits());
    let printer = Printer { out, json: options.json };
    let (format, input) = read::sniff(Box::new(input), options.format).map_err(unreadable)?;
    let mut decoder = Decoder { options, printer, counts: Counts::default(), name, failed, waits };
    match format {
        Format::Pcap => pcap::run(&mut decoder, input)?,
        Format::Binary => read::binary(&mut decoder, input)?,
        Format::Hex | Format::Auto => read::hex_lines(&mut decoder, input)?,
    }
    decoder.printer.out.flush()?;
    let summary = decoder.counts.to_string();
    let capture = decoder.counts.capture.as_ref();
    if decoder.counts.errors > 0 || capture.is_some_and(CaptureCounts::left_out) {
        return Err(Failure::Unexpected(summary));
    }
    if let (0, Some(reason)) = (decoder.counts.frames, capture.and_then(CaptureCounts::unreadable)) {
        return Err(Failure::Unexpected(format!("{summary}: {reason}")));
    }
    eprintln!("spop: {summary}");
    Ok(())
}

/// Standard input without the buffer of the standard library, which would hide what is there already.
fn open(options: &Options) -> io::Result<File> {
    match is_stdin(options) {
        true => Ok(io::stdin().as_fd().try_clone_to_owned()?.into()),
        false => File::open(&options.file),
    }
}

fn is_stdin(options: &Options) -> bool {
    options.file.as_os_str() == "-"
}

/// What was seen.
#[derive(Default)]
struct Counts {
    frames: u64,
    fragments: u64,
    reassembled: u64,
    reencoded: u64,
    errors: u64,
    skipped: u64,
    capture: Option<CaptureCounts>,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} frames", self.frames)?;
        for (n, what) in [
            (self.fragments, "fragments among them"),
            (self.reassembled, "NOTIFYs put together"),
            (self.reencoded, "encoded again to the same bytes"),
            (self.skipped, "bytes passed over"),
        ] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        write!(f, ", {} errors", self.errors)?;
        self.capture.as_ref().map_or(Ok(()), |capture| capture.fmt(f))
    }
}

/// Prints what sources give.
struct Decoder<'o, W> {
    options: &'o Options,
    printer: Printer<W>,
    counts: Counts,
    name: String,
    failed: Failed,
    waits: Option<OwnedFd>,
}

/// A live capture that is silent for so long is taken at its word.
const SILENCE: Duration = Duration::from_millis(200);

/// One stream of frames.
struct Source {
    splitter: Splitter,
    fragments: Fragments,
    frames: u64,
    /// It may be something else than SPOP as long as it has no frame.
    tentative: bool,
    /// Bytes that were lost while that was so.
    missing: u64,
}

impl Source {
    fn new(options: &Options) -> Self {
        Source {
            splitter: Splitter::new(options.max_frame_size),
            fragments: Fragments::new(options.max_reassembly),
            frames: 0,
            tentative: false,
            missing: 0,
        }
    }

    /// One that may begin anywhere.
    fn searching(options: &Options) -> Self {
        Source {
            splitter: Splitter::searching(options.max_frame_size),
            tentative: options.port.is_none(),
            ..Source::new(options)
        }
    }

    fn is_perhaps_other(&self) -> bool {
        self.tentative && self.frames == 0
    }

    /// Its memory.
    fn held(&self) -> usize {
        self.splitter.held() + self.fragments.held()
    }
}

impl<W: Write> Decoder<'_, W> {
    fn unreadable(&self, error: io::Error) -> Failure {
        Failure::File { name: self.name.clone(), error }
    }

    /// What failed below a reader that only tells that something did.
    fn read_error(&self) -> &Failed {
        &self.failed
    }

    /// Nothing comes at the moment.
    fn is_silent(&self) -> bool {
        self.waits.as_ref().is_some_and(|input| unpack::is_silent(input, SILENCE))
    }

    /// Prints all that `source` has; `end` tells that nothing more will come.
    fn drain(&mut self, source: &mut Source, place: Place<'_>, end: bool) -> io::Result<()> {
        while let Some(piece) = source.splitter.next(end) {
            if matches!(piece, Piece::Frame { .. }) {
                source.frames += 1;
                let missing = std::mem::take(&mut source.missing);
                if missing > 0 {
                    self.missing(Place { offset: piece.offset(), ..place }, missing)?;
                }
            }
            self.piece(&mut source.fragments, place, &piece)?;
        }
        if end {
            self.abandon(source, place)?;
        }
        Ok(())
    }

    /// Bytes of `source` are missing, or what waits in it is given up.
    fn lose(&mut self, source: &mut Source, place: Place<'_>, missing: u64) -> io::Result<()> {
        // What is there may hold frames that only end at the gap, or at none.
        if source.is_perhaps_other() && !source.splitter.holds_frame() {
            source.missing += missing;
            source.splitter.jump(missing);
            return Ok(());
        }
        self.drain(source, place, true)?;
        let offset = source.splitter.seen();
        source.splitter.jump(missing);
        if missing == 0 {
            return Ok(());
        }
        self.missing(Place { offset, ..place }, missing)
    }

    fn missing(&mut self, place: Place<'_>, missing: u64) -> io::Result<()> {
        let reason = format!("{missing} bytes are missing in the capture");
        self.problem(place, Problem { reason, offset: place.offset, status: None })
    }

    /// The NOTIFY in progress will not be completed.
    fn abandon(&mut self, source: &mut Source, place: Place<'_>) -> io::Result<()> {
        match source.fragments.abandon() {
            Some(problem) => self.problem(Place { offset: problem.offset, ..place }, problem),
            None => Ok(()),
        }
    }

    fn piece(&mut self, fragments: &mut Fragments, place: Place<'_>, piece: &Piece<'_>) -> io::Result<()> {
        let offset = piece.offset();
        let place = Place { offset, ..place };
        match *piece {
            Piece::Frame { bytes, .. } => self.frame(fragments, place, bytes),
            Piece::Bad { length, status, .. } => {
                let (least, most) = (MIN_BODY_LEN, self.options.max_frame_size);
                let reason =
                    format!("no frame has the length {length}: {least} to {most} (--max-frame-size) are possible");
                self.problem(place, Problem { reason, offset, status: Some(status.0) })
            }
            Piece::Skipped { len, .. } => {
                self.counts.skipped += len;
                self.printer.skipped(place, len)
            }
            Piece::Cut { have, need, .. } => {
                let reason = match need {
                    Some(need) => format!("the input ends inside a frame: {have} of {need} bytes are there"),
                    None => format!("the input ends inside a frame's length: {have} of {PREFIX_LEN} bytes are there"),
                };
                self.problem(place, Problem { reason, offset, status: None })
            }
        }
    }

    fn frame(&mut self, fragments: &mut Fragments, place: Place<'_>, bytes: &[u8]) -> io::Result<()> {
        self.counts.frames += 1;
        let body = bytes.get(PREFIX_LEN..).unwrap_or_default();
        let decoded = match Decoded::new(body) {
            Ok(decoded) => decoded,
            Err(error) => return self.problem(place, Problem::in_frame(place.offset, error)),
        };
        let mut error = decoded.error.map(|error| Problem::in_frame(place.offset, error));
        if self.options.reencode && error.is_none() {
            error = self.compare(place.offset, bytes, decoded.encode(bytes.len()).as_deref());
        }
        if is_fragment(&decoded) {
            self.counts.fragments += 1;
            if self.options.reassemble && error.is_none() {
                return self.fragment(fragments, place, &decoded, body.len());
            }
        }
        self.line(Line { place, len: body.len(), decoded: &decoded, fragments: None, error })
    }

    fn fragment(
        &mut self,
        fragments: &mut Fragments,
        place: Place<'_>,
        decoded: &Decoded<'_>,
        len: usize,
    ) -> io::Result<()> {
        match fragments.add(decoded, place.offset) {
            Gathered::More(None) => Ok(()),
            Gathered::More(Some(problem)) => self.problem(place, problem),
            Gathered::Aborted => self.line(Line { place, len, decoded, fragments: None, error: None }),
            Gathered::Whole { header, payload, count, offset } => {
                self.counts.reassembled += 1;
                let whole = Decoded::reassembled(header, payload);
                let mut error = whole.error.map(|error| {
                    let reason = format!("{error} of the payload");
                    Problem { reason, offset, status: Some(error.status().0) }
                });
                if let (true, None, frame::Body::Messages(list)) = (self.options.reencode, &error, &whole.body) {
                    let again = frame::encode_messages(list, payload.len());
                    error = self.compare(offset, payload, again.as_deref());
                }
                let place = Place { offset, ..place };
                self.line(Line { place, len: payload.len(), decoded: &whole, fragments: Some(count), error })
            }
        }
    }

    /// Are the bytes that the encoder wrote those that came?
    fn compare(&mut self, offset: u64, came: &[u8], again: Result<&[u8], &spop_core::EncodeError>) -> Option<Problem> {
        let again = again.unwrap_or_default();
        if again == came {
            self.counts.reencoded += 1;
            return None;
        }
        let at = came.iter().zip(again).take_while(|(a, b)| a == b).count();
        let reason = format!("encoding it again gives other bytes, {} of them, from byte {at} on", again.len());
        Some(Problem { reason, offset: offset + at as u64, status: None })
    }

    fn line(&mut self, line: Line<'_>) -> io::Result<()> {
        self.counts.errors += u64::from(line.error.is_some());
        self.printer.frame(&line)
    }

    fn problem(&mut self, place: Place<'_>, problem: Problem) -> io::Result<()> {
        self.counts.errors += 1;
        self.printer.problem(place, &problem)
    }
}

impl Piece<'_> {
    fn offset(&self) -> u64 {
        match *self {
            Piece::Frame { offset, .. }
            | Piece::Bad { offset, .. }
            | Piece::Skipped { offset, .. }
            | Piece::Cut { offset, .. } => offset,
        }
    }
}

/// A piece of a NOTIFY.
fn is_fragment(decoded: &Decoded<'_>) -> bool {
    let header = decoded.header;
    header.frame_type == FrameType::UNSET || (header.frame_type == FrameType::NOTIFY && !header.flags.fin())
}
