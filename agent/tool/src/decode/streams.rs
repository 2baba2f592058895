//! The TCP streams of a capture.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use etherparse::TcpSlice;

use super::counts::CaptureCounts;
use super::decoder::{Decoder, Source};
use super::flow::{Flow, OPENING_TIME, Segment, Step};
use super::layers::{Found, Layers};
use super::options::Options;
use super::packet::Packet;
use super::print::{Place, Problem};

/// So many link types that are not known are named.
const NAMED_LINK_TYPES: usize = 8;

/// From and to.
type Key = (SocketAddr, SocketAddr);

/// The state of a capture.
#[derive(Default)]
pub(super) struct Capture {
    layers: Layers,
    streams: HashMap<Key, Stream>,
    /// Streams whose beginning is not known yet, from old to new; some are known by now.
    openings: VecDeque<Key>,
    /// Streams that ended, from old to new; some are gone by now.
    ended: VecDeque<Key>,
    /// Streams whose other direction ended by a RST, from old to new; some are gone by now. Packets that were under way may come.
    reset: VecDeque<Key>,
    /// The memory of all streams.
    held: usize,
    pub(super) counts: CaptureCounts,
}

/// One direction of a connection. When it has ended it is kept, so that packets that come again do not begin another one.
struct Stream {
    /// The sequence number of its SYN, if that is in the capture.
    syn: Option<u32>,
    flow: Flow,
    source: Option<Source>,
    label: String,
    /// Its other direction ended by a RST: it may end without a packet of its own.
    is_reset: bool,
    /// It had frames.
    has_spop: bool,
    missing: u64,
    held: usize,
}

impl Capture {
    pub(super) fn packet<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, packet: &Packet<'_>) -> io::Result<()> {
        self.counts.packets += 1;
        let counter = match self.layers.find(packet.link_type, packet.data) {
            Found::Tcp { from, to, segment, cut_off } => match TcpSlice::from_slice(&segment) {
                Ok(tcp) => {
                    let key = (SocketAddr::new(from, tcp.source_port()), SocketAddr::new(to, tcp.destination_port()));
                    let cut_off = cut_off.unwrap_or(packet.cut_off);
                    return self.tcp(decoder, key, &tcp, cut_off, packet.time);
                }
                Err(_) => &mut self.counts.malformed,
            },
            Found::Fragment => return Ok(()),
            Found::Other => &mut self.counts.no_tcp,
            Found::Malformed => &mut self.counts.malformed,
            Found::UnknownLink => {
                if self.counts.link_types.len() < NAMED_LINK_TYPES {
                    self.counts.link_types.insert(packet.link_type, ());
                }
                &mut self.counts.unknown_links
            }
        };
        *counter += 1;
        Ok(())
    }

    fn tcp<W: Write>(
        &mut self,
        decoder: &mut Decoder<'_, W>,
        key: Key,
        tcp: &TcpSlice<'_>,
        cut_off: u64,
        time: Option<Duration>,
    ) -> io::Result<()> {
        let options = decoder.options;
        if options.port.is_some_and(|port| key.0.port() != port && key.1.port() != port) {
            return Ok(());
        }
        self.settle_until(decoder, time)?;
        // SYN has a sequence number of its own.
        let seq = tcp.sequence_number().wrapping_add(u32::from(tcp.syn()));
        let segment = Segment { seq, bytes: tcp.payload(), cut_off, time };
        let len = (tcp.payload().len() as u64).saturating_add(cut_off);
        if let Some(stream) = self.streams.get_mut(&key) {
            // Another connection between the same ports.
            if (tcp.syn() && !stream.begin(tcp.sequence_number())) || (len > 0 && stream.flow.is_foreign(seq, len)) {
                self.remove(decoder, key)?;
            }
        }
        let back = (key.1, key.0);
        if let Some(stream) = self.streams.get_mut(&back).filter(|stream| tcp.rst() && !stream.is_reset) {
            stream.is_reset = true;
            self.reset.push_back(back);
        }
        if !self.streams.contains_key(&key) {
            if !tcp.syn() && len == 0 {
                return Ok(());
            }
            if !self.make_room(decoder, options.max_streams)? {
                self.counts.beyond_limit += u64::from(len > 0);
                return Ok(());
            }
            if !tcp.syn() {
                self.openings.push_back(key);
            }
            // A capture without times never makes the first of them old.
            if self.openings.len() > options.max_streams {
                let oldest = self.openings.pop_front();
                oldest.map_or(Ok(()), |oldest| self.open(decoder, oldest))?;
            }
            self.streams.insert(key, Stream::new(key, tcp.syn(), &segment, tcp.sequence_number(), options));
        }
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        stream.flow.add(&segment);
        if tcp.fin() {
            stream.flow.end(seq.wrapping_add(len as u32));
        } else if tcp.rst() {
            stream.flow.reset();
        }
        stream.steps(decoder)?;
        if stream.flow.is_done() && stream.source.is_some() {
            stream.close(decoder, &mut self.counts)?;
            self.ended.push_back(key);
        }
        self.count(decoder, key)
    }

    /// Keeps the count of memory, and within it.
    fn count<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, key: Key) -> io::Result<()> {
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        let mut now = stream.held();
        self.held = self.held.saturating_sub(stream.held).saturating_add(now);
        stream.held = now;
        if self.held > decoder.options.max_memory && now > 0 {
            stream.give_up(decoder, &mut self.counts)?;
            now = stream.held();
            self.held = self.held.saturating_sub(stream.held).saturating_add(now);
            stream.held = now;
        }
        Ok(())
    }

    /// Room for one more stream; false if all are under way.
    fn make_room<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, max: usize) -> io::Result<bool> {
        while self.streams.len() >= max {
            if let Some(key) = self.ended.pop_front() {
                self.remove_if(decoder, key, |stream| stream.source.is_none())?;
            } else if let Some(key) = self.reset.pop_front() {
                self.remove_if(decoder, key, |stream| stream.is_reset)?;
            } else {
                return Ok(false);
            }
        }
        // What is gone from the table may still stand in the queues.
        if self.ended.len() > 2 * max {
            self.ended.retain(|key| self.streams.get(key).is_some_and(|stream| stream.source.is_none()));
        }
        if self.reset.len() > 2 * max {
            self.reset.retain(|key| self.streams.get(key).is_some_and(|stream| stream.is_reset));
        }
        Ok(true)
    }

    fn remove_if<W: Write>(
        &mut self,
        decoder: &mut Decoder<'_, W>,
        key: Key,
        is_over: impl Fn(&Stream) -> bool,
    ) -> io::Result<()> {
        if self.streams.get(&key).is_some_and(is_over) { self.remove(decoder, key) } else { Ok(()) }
    }

    fn remove<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, key: Key) -> io::Result<()> {
        let Some(mut stream) = self.streams.remove(&key) else { return Ok(()) };
        self.held = self.held.saturating_sub(stream.held);
        stream.close(decoder, &mut self.counts)?;
        stream.report(decoder, &mut self.counts)
    }

    pub(super) fn has_openings(&self) -> bool {
        !self.openings.is_empty()
    }

    /// Streams that began long enough before this time have their beginning.
    fn settle_until<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, now: Option<Duration>) -> io::Result<()> {
        while let Some(key) = self.openings.front().copied() {
            let since = self.streams.get(&key).and_then(|stream| stream.flow.opening());
            let is_over = match (since, now) {
                (None, _) => true,
                (Some(Some(since)), Some(now)) => now.saturating_sub(since) >= OPENING_TIME,
                _ => false,
            };
            if !is_over {
                break;
            }
            self.openings.pop_front();
            self.open(decoder, key)?;
        }
        Ok(())
    }

    /// Nothing more comes for a while: what is there is the beginning of each stream.
    pub(super) fn settle<W: Write>(&mut self, decoder: &mut Decoder<'_, W>) -> io::Result<()> {
        while let Some(key) = self.openings.pop_front() {
            self.open(decoder, key)?;
        }
        Ok(())
    }

    fn open<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, key: Key) -> io::Result<()> {
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        stream.flow.settle();
        stream.steps(decoder)?;
        if stream.flow.is_done() && stream.source.is_some() {
            stream.close(decoder, &mut self.counts)?;
            self.ended.push_back(key);
        }
        self.count(decoder, key)
    }

    pub(super) fn finish<W: Write>(&mut self, decoder: &mut Decoder<'_, W>) -> io::Result<()> {
        self.layers.finish();
        self.counts.defragmented = self.layers.defragmented;
        self.counts.fragments_lost = self.layers.fragments_lost;
        self.counts.tcp_fragments_lost = self.layers.tcp_fragments_lost;
        let mut rest: Vec<Key> = self.streams.keys().copied().collect();
        rest.sort();
        rest.into_iter().try_for_each(|key| self.remove(decoder, key))
    }
}

impl Stream {
    fn new((from, to): Key, is_syn: bool, segment: &Segment<'_>, seq: u32, options: &Options) -> Self {
        // One whose beginning is there, and whose port was asked for, has to begin with a frame.
        let source = match (is_syn, options.port) {
            (true, Some(_)) => Source::new(options),
            _ => Source::searching(options),
        };
        let flow = match is_syn {
            true => Flow::new(segment.seq, options.max_out_of_order),
            false => Flow::from_middle(segment.seq, segment.time, options.max_out_of_order),
        };
        let label = format!("{from} > {to}");
        let syn = is_syn.then_some(seq);
        Stream { syn, flow, source: Some(source), label, is_reset: false, has_spop: false, missing: 0, held: 0 }
    }

    /// Takes a SYN; false if it begins another connection.
    fn begin(&mut self, seq: u32) -> bool {
        match self.syn {
            Some(syn) => syn == seq,
            None => {
                let same = self.flow.begin(seq.wrapping_add(1));
                self.syn = same.then_some(seq);
                same
            }
        }
    }

    fn held(&self) -> usize {
        self.flow.held() + self.source.as_ref().map_or(0, Source::held)
    }

    /// Prints what is in order.
    fn steps<W: Write>(&mut self, decoder: &mut Decoder<'_, W>) -> io::Result<()> {
        let Some(source) = &mut self.source else { return Ok(()) };
        while let Some(step) = self.flow.step() {
            let place = |time| Place { time, stream: Some(&self.label), ..Place::default() };
            match step {
                Step::Data(bytes, time) => {
                    source.splitter.push(&bytes);
                    decoder.drain(source, place(time), false)?;
                }
                Step::Gap(missing, time) => {
                    self.missing += missing;
                    decoder.lose(source, place(time), missing)?;
                }
            }
        }
        Ok(())
    }

    /// Gives out what waits, whatever is missing.
    fn give_up<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, counts: &mut CaptureCounts) -> io::Result<()> {
        self.flow.give_up_gaps();
        self.steps(decoder)?;
        let Some(source) = &mut self.source else { return Ok(()) };
        counts.given_up += source.splitter.waiting() as u64;
        decoder.lose(source, Place { stream: Some(&self.label), ..Place::default() }, 0)
    }

    /// The last of it.
    fn close<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, counts: &mut CaptureCounts) -> io::Result<()> {
        self.flow.finish();
        self.steps(decoder)?;
        let Some(mut source) = self.source.take() else { return Ok(()) };
        if source.splitter.seen() == 0 && self.missing == 0 {
            return Ok(());
        }
        if source.is_perhaps_other() && !source.splitter.holds_frame() {
            let bytes = source.splitter.seen();
            counts.other_streams += u64::from(bytes > 0);
            counts.other_bytes += bytes;
            return Ok(());
        }
        self.has_spop = true;
        counts.streams += 1;
        let place = Place { time: self.flow.latest(), stream: Some(&self.label), ..Place::default() };
        decoder.drain(&mut source, place, true)
    }

    /// What only is known when no packet of it can come any more.
    fn report<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, counts: &mut CaptureCounts) -> io::Result<()> {
        counts.repeated += self.flow.repeated;
        let late = self.flow.late;
        if !self.has_spop {
            return Ok(());
        }
        counts.missing += self.missing;
        counts.late += late;
        if late == 0 {
            return Ok(());
        }
        let reason =
            format!("{late} bytes came after their place in the stream was given up: what is in them is left out");
        let place = Place { stream: Some(&self.label), ..Place::default() };
        decoder.problem(place, Problem { reason, offset: 0, status: None })
    }
}
