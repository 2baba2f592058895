//! From the bytes of a source to lines of output.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use spop_core::{EncodeError, FrameType, MIN_BODY_LEN, PREFIX_LEN};

use super::counts::Counts;
use super::fragments::{Fragments, Gathered};
use super::frame::{self, Decoded};
use super::options::Options;
use super::print::{Line, Place, Printer, Problem};
use super::split::{Piece, Splitter};
use super::unpack::{self, Failed};
use crate::failure::Failure;

/// Prints what sources give.
pub(super) struct Decoder<'o, W> {
    pub(super) options: &'o Options,
    pub(super) printer: Printer<W>,
    pub(super) counts: Counts,
    pub(super) name: String,
    pub(super) failed: Failed,
    pub(super) waits: Option<OwnedFd>,
}

/// A live capture that is silent for so long is taken at its word.
const SILENCE: Duration = Duration::from_millis(200);

/// One stream of frames.
pub(super) struct Source {
    pub(super) splitter: Splitter,
    pub(super) fragments: Fragments,
    frames: u64,
    /// It may be something else than SPOP as long as it has no frame.
    tentative: bool,
    /// Bytes that were lost while that was so.
    missing: u64,
}

impl Source {
    pub(super) fn new(options: &Options) -> Self {
        Source {
            splitter: Splitter::new(options.max_frame_size),
            fragments: Fragments::new(options.max_reassembly),
            frames: 0,
            tentative: false,
            missing: 0,
        }
    }

    /// One that may begin anywhere.
    pub(super) fn searching(options: &Options) -> Self {
        Source {
            splitter: Splitter::searching(options.max_frame_size),
            tentative: options.port.is_none(),
            ..Source::new(options)
        }
    }

    pub(super) fn is_perhaps_other(&self) -> bool {
        self.tentative && self.frames == 0
    }

    /// Its memory.
    pub(super) fn held(&self) -> usize {
        self.splitter.held() + self.fragments.held()
    }
}

impl<W: Write> Decoder<'_, W> {
    pub(super) fn unreadable(&self, error: io::Error) -> Failure {
        Failure::File { name: self.name.clone(), error }
    }

    /// What failed below a reader that only tells that something did.
    pub(super) fn read_error(&self) -> &Failed {
        &self.failed
    }

    /// Nothing comes at the moment.
    pub(super) fn is_silent(&self) -> bool {
        self.waits.as_ref().is_some_and(|input| unpack::is_silent(input, SILENCE))
    }

    /// Prints all that `source` has; `end` tells that nothing more will come.
    pub(super) fn drain(&mut self, source: &mut Source, place: Place<'_>, end: bool) -> io::Result<()> {
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
    pub(super) fn lose(&mut self, source: &mut Source, place: Place<'_>, missing: u64) -> io::Result<()> {
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
    pub(super) fn abandon(&mut self, source: &mut Source, place: Place<'_>) -> io::Result<()> {
        match source.fragments.abandon() {
            Some(problem) => self.problem(Place { offset: problem.offset, ..place }, problem),
            None => Ok(()),
        }
    }

    pub(super) fn piece(&mut self, fragments: &mut Fragments, place: Place<'_>, piece: &Piece<'_>) -> io::Result<()> {
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
        self.line(Line { place, len: body.len(), decoded: &decoded, fragments: None, took: None, fault: None, error })
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
            Gathered::Aborted => {
                self.line(Line { place, len, decoded, fragments: None, took: None, fault: None, error: None })
            }
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
                self.line(Line {
                    place,
                    len: payload.len(),
                    decoded: &whole,
                    fragments: Some(count),
                    took: None,
                    fault: None,
                    error,
                })
            }
        }
    }

    /// Are the bytes that the encoder wrote those that came?
    fn compare(&mut self, offset: u64, came: &[u8], again: Result<&[u8], &EncodeError>) -> Option<Problem> {
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

    pub(super) fn problem(&mut self, place: Place<'_>, problem: Problem) -> io::Result<()> {
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
