//! Fragmented NOTIFYs of one stream, put together.

use spop_core::{FrameId, FrameType, Header, Reassembled, Reassembler, Status, StreamId};

use super::frame::{Body, Decoded};
use super::print::Problem;

/// The NOTIFY in progress.
pub(crate) struct Fragments {
    max: usize,
    reassembler: Reassembler,
    /// As long as what is gathered, at most `max`.
    memory: Vec<u8>,
    /// Header and offset of the first fragment.
    first: Option<(Header, u64)>,
    count: u32,
}

/// What became of a fragment.
pub(crate) enum Gathered<'a> {
    /// The NOTIFY goes on, or cannot be told.
    More(Option<Problem>),
    /// Its sender gave it up.
    Aborted,
    /// The last one.
    Whole { header: Header, payload: &'a [u8], count: u32, offset: u64 },
}

impl Fragments {
    pub(crate) fn new(max: usize) -> Self {
        let reassembler = Reassembler::new(u32::MAX);
        Fragments { max, reassembler, memory: Vec::new(), first: None, count: 0 }
    }

    /// Its memory.
    pub(crate) fn held(&self) -> usize {
        self.memory.capacity()
    }

    /// Takes a fragment.
    pub(crate) fn add(&mut self, decoded: &Decoded<'_>, offset: u64) -> Gathered<'_> {
        let (header, Body::Fragment(bytes)) = (decoded.header, &decoded.body) else { return Gathered::More(None) };
        let ids: (StreamId, FrameId) = (header.stream_id, header.frame_id);
        let interlaced = |reason: &str| {
            Gathered::More(Some(Problem {
                reason: reason.to_owned(),
                offset,
                status: Some(Status::INTERLACED_FRAMES.0),
            }))
        };
        if header.frame_type == FrameType::NOTIFY {
            let before = self.abandon();
            self.first = Some((header, offset));
            self.count = 1;
            self.make_room(bytes.len());
            self.reassembler.start(ids, bytes, &mut self.memory);
            return Gathered::More(before);
        }
        if !self.reassembler.is_open(ids) {
            return interlaced("a fragment that continues no NOTIFY of this stream");
        }
        if header.flags.abort() {
            self.clear();
            return Gathered::Aborted;
        }
        self.count = self.count.saturating_add(1);
        self.make_room(bytes.len());
        self.reassembler.push(bytes, &mut self.memory);
        if !header.flags.fin() {
            return Gathered::More(None);
        }
        let (first, count) = (self.first.take(), self.count);
        match (self.reassembler.finish(), first) {
            (Reassembled::Whole(len), Some((header, offset))) => {
                let payload = self.memory.get(..len).unwrap_or_default();
                Gathered::Whole { header, payload, count, offset }
            }
            _ => {
                self.clear();
                let reason = format!("a fragmented NOTIFY is larger than --max-reassembly ({} bytes)", self.max);
                Gathered::More(Some(Problem { reason, offset, status: None }))
            }
        }
    }

    /// Drops the NOTIFY in progress, if there is one.
    pub(crate) fn abandon(&mut self) -> Option<Problem> {
        let (_, offset) = self.first?;
        let reason = format!("a fragmented NOTIFY is not completed; {} fragments are there", self.count);
        self.clear();
        Some(Problem { reason, offset, status: Some(Status::INTERLACED_FRAMES.0) })
    }

    fn clear(&mut self) {
        *self = Fragments::new(self.max);
    }

    fn make_room(&mut self, more: usize) {
        if self.count == 1 {
            self.memory.clear();
        }
        let len = self.memory.len().saturating_add(more).min(self.max);
        self.memory.resize(len, 0);
    }
}
