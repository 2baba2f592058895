//! Packet captures: the TCP streams in them.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice};
use pcap_parser::{create_reader, Block, PcapBlockOwned, PcapError};

use super::flow::{Flow, Step};
use super::print::{Place, Problem};
use super::{Decoder, Options, Source};
use crate::failure::Failure;

/// The first size of the read buffer, and the largest that a block may need.
const BUFFER: usize = 64 * 1024;
const MAX_BUFFER: usize = 64 * 1024 * 1024;
/// Interfaces of a pcapng section; those beyond have no link type here.
const MAX_INTERFACES: usize = 65536;

/// What was in a capture.
#[derive(Default)]
pub(super) struct CaptureCounts {
    packets: u64,
    no_tcp: u64,
    unreadable: u64,
    ip_fragments: u64,
    streams: u64,
    other_streams: u64,
    other_bytes: u64,
    beyond_limit: u64,
    repeated: u64,
    after_end: u64,
}

impl std::fmt::Display for CaptureCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "; {} packets, {} streams with SPOP", self.packets, self.streams)?;
        for (n, what) in [
            (self.other_streams, "streams without SPOP passed over"),
            (self.other_bytes, "bytes in them"),
            (self.no_tcp, "packets without TCP"),
            (self.unreadable, "packets of unknown link types or malformed"),
            (self.ip_fragments, "IP fragments passed over"),
            (self.repeated, "bytes sent again"),
            (self.after_end, "packets behind the end of a stream"),
            (self.beyond_limit, "packets of streams beyond --max-streams passed over"),
        ] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        Ok(())
    }
}

/// A packet as the file has it.
struct Packet<'a> {
    link_type: i32,
    time: Option<Duration>,
    data: &'a [u8],
    /// Bytes that the capture cut off.
    cut_off: u64,
}

/// What the packets of a pcapng interface have in common.
struct Interface {
    link_type: i32,
    resolution: Option<u64>,
    offset: i64,
}

pub(super) fn run<W: Write>(decoder: &mut Decoder<'_, W>, mut input: impl Read + Send) -> Result<(), Failure> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let head = head(&mut input).map_err(|error| decoder.unreadable(error))?;
    let mut reader = match create_reader(BUFFER, io::Cursor::new(head).chain(input)) {
        Ok(reader) => reader,
        Err(PcapError::Eof) => return Err(decoder.unreadable(invalid("the input is empty".to_owned()))),
        Err(error) => return Err(decoder.unreadable(invalid(format!("no pcap or pcapng file: {error}")))),
    };
    let mut streams = Streams { flows: HashMap::new(), counts: CaptureCounts::default() };
    let mut format = FileState { link_type: -1, nanoseconds: false, interfaces: Vec::new() };
    let mut capacity = BUFFER;
    let end = loop {
        match reader.next() {
            Ok((used, block)) => {
                if let Some(packet) = format.packet(&block, &mut streams.counts) {
                    streams.packet(decoder, &packet)?;
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => break None,
            Err(PcapError::Incomplete(_)) => {
                decoder.printer.out.flush()?;
                if reader.reader_exhausted() {
                    break Some("the capture ends inside a packet".to_owned());
                }
                if reader.refill().is_err() {
                    break Some("the capture cannot be read on".to_owned());
                }
            }
            Err(PcapError::BufferTooSmall) if capacity < MAX_BUFFER => {
                capacity *= 2;
                if !reader.grow(capacity) {
                    break Some("no memory for a block of the capture".to_owned());
                }
            }
            Err(PcapError::BufferTooSmall) => break Some(format!("a block is larger than {MAX_BUFFER} bytes")),
            Err(PcapError::UnexpectedEof) => break Some("the capture ends inside a packet".to_owned()),
            Err(error) => break Some(format!("the capture is malformed behind this packet: {error}")),
        }
    };
    streams.finish(decoder)?;
    if let Some(reason) = end {
        let reason = format!("{reason} (after {} packets)", streams.counts.packets);
        let offset = reader.consumed() as u64;
        decoder.problem(Place { offset, ..Place::default() }, Problem { reason, offset, status: None })?;
    }
    decoder.counts.capture = Some(streams.counts);
    Ok(())
}

/// The header of the file, whole: the crate's reader wants it in its first read, and a pipe may give less.
fn head(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(12).read_to_end(&mut head)?;
    let mut len = 24;
    if let [0x0a, 0x0d, 0x0d, 0x0a, a, b, c, d, order, ..] = *head.as_slice() {
        // pcapng: the section header tells its length, in the byte order of the mark behind it.
        let bytes = [a, b, c, d];
        len = if order == 0x1a { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
    }
    let rest = (len as usize).min(BUFFER).saturating_sub(head.len());
    input.take(rest as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// What earlier blocks said of the later ones.
struct FileState {
    link_type: i32,
    nanoseconds: bool,
    interfaces: Vec<Interface>,
}

impl FileState {
    fn packet<'a>(&mut self, block: &'a PcapBlockOwned<'_>, counts: &mut CaptureCounts) -> Option<Packet<'a>> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.link_type = header.network.0;
                self.nanoseconds = header.is_nanosecond_precision();
                None
            }
            PcapBlockOwned::Legacy(block) => {
                counts.packets += 1;
                let nanos = if self.nanoseconds { block.ts_usec } else { block.ts_usec.saturating_mul(1000) };
                let time = Duration::from_secs(block.ts_sec.into()).checked_add(Duration::from_nanos(nanos.into()));
                Some(packet(self.link_type, time, block.data, block.caplen, block.origlen))
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.interfaces.clear();
                None
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
                if self.interfaces.len() < MAX_INTERFACES {
                    let (resolution, offset) = (block.ts_resolution(), block.ts_offset());
                    self.interfaces.push(Interface { link_type: block.linktype.0, resolution, offset });
                }
                None
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                counts.packets += 1;
                let interface = self.interfaces.get(block.if_id as usize);
                let time = interface.and_then(|i| i.time(u64::from(block.ts_high) << 32 | u64::from(block.ts_low)));
                let link_type = interface.map_or(-1, |i| i.link_type);
                Some(packet(link_type, time, block.data, block.caplen, block.origlen))
            }
            PcapBlockOwned::NG(Block::SimplePacket(block)) => {
                counts.packets += 1;
                let link_type = self.interfaces.first().map_or(-1, |i| i.link_type);
                let captured = u32::try_from(block.data.len()).unwrap_or(u32::MAX).min(block.origlen);
                Some(packet(link_type, None, block.data, captured, block.origlen))
            }
            PcapBlockOwned::NG(_) => None,
        }
    }
}

fn packet(link_type: i32, time: Option<Duration>, data: &[u8], captured: u32, length: u32) -> Packet<'_> {
    // Blocks are padded; what is there counts, at most.
    let data = data.get(..captured as usize).unwrap_or(data);
    Packet { link_type, time, data, cut_off: u64::from(length.saturating_sub(captured)) }
}

impl Interface {
    fn time(&self, units: u64) -> Option<Duration> {
        let resolution = self.resolution.filter(|&r| r > 0)?;
        let seconds = (units / resolution).checked_add_signed(self.offset)?;
        let nanos = u128::from(units % resolution) * 1_000_000_000 / u128::from(resolution);
        Duration::from_secs(seconds).checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }
}

/// From and to.
type Key = (SocketAddr, SocketAddr);

struct Streams {
    flows: HashMap<Key, Stream>,
    counts: CaptureCounts,
}

/// One direction of a connection.
struct Stream {
    /// The sequence number of its SYN, if that is in the capture.
    first: Option<u32>,
    flow: Flow,
    source: Source,
    label: String,
    ended: bool,
}

impl Streams {
    fn packet<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, packet: &Packet<'_>) -> io::Result<()> {
        let Some(sliced) = slice(packet.link_type, packet.data) else {
            self.counts.unreadable += 1;
            return Ok(());
        };
        let Some((from, to, tcp)) = self.tcp(&sliced) else { return Ok(()) };
        let key = (SocketAddr::new(from, tcp.source_port()), SocketAddr::new(to, tcp.destination_port()));
        let options = decoder.options;
        if options.port.is_some_and(|port| key.0.port() != port && key.1.port() != port) {
            return Ok(());
        }
        if tcp.syn() && self.flows.get(&key).is_some_and(|stream| stream.first != Some(tcp.sequence_number())) {
            // Another connection between the same ports.
            if let Some(stream) = self.flows.remove(&key) {
                self.end(decoder, stream, packet.time)?;
            }
        }
        let has_data = !tcp.payload().is_empty() || packet.cut_off > 0;
        if !self.flows.contains_key(&key) {
            if !tcp.syn() && !has_data {
                return Ok(());
            }
            if self.flows.len() >= options.max_streams {
                self.flows.retain(|_, stream| !stream.ended);
            }
            if self.flows.len() >= options.max_streams {
                self.counts.beyond_limit += 1;
                return Ok(());
            }
        }
        let stream = self.flows.entry(key).or_insert_with(|| Stream::new(key, &tcp, options));
        if stream.ended {
            self.counts.after_end += u64::from(has_data);
            return Ok(());
        }
        stream.flow.add(data_seq(&tcp), tcp.payload(), packet.cut_off);
        if tcp.fin() || tcp.rst() {
            stream.flow.finish();
        }
        stream.steps(decoder, packet.time)?;
        if tcp.fin() || tcp.rst() {
            let ended = Stream::ended(stream.first, options);
            let stream = std::mem::replace(stream, ended);
            self.end(decoder, stream, packet.time)?;
        }
        Ok(())
    }

    fn tcp<'a>(&mut self, sliced: &LaxSlicedPacket<'a>) -> Option<(IpAddr, IpAddr, TcpSlice<'a>)> {
        let (from, to, fragmented): (IpAddr, IpAddr, bool) = match &sliced.net {
            Some(LaxNetSlice::Ipv4(ip)) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.is_payload_fragmented())
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.is_payload_fragmented())
            }
            _ => {
                self.counts.no_tcp += 1;
                return None;
            }
        };
        match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => Some((from, to, tcp.clone())),
            _ => {
                let counter = if fragmented { &mut self.counts.ip_fragments } else { &mut self.counts.no_tcp };
                *counter += 1;
                None
            }
        }
    }

    /// The last of a stream.
    fn end<W: Write>(
        &mut self,
        decoder: &mut Decoder<'_, W>,
        mut stream: Stream,
        time: Option<Duration>,
    ) -> io::Result<()> {
        if stream.ended {
            return Ok(());
        }
        stream.flow.finish();
        stream.steps(decoder, time)?;
        self.counts.repeated += stream.flow.repeated;
        if stream.source.is_perhaps_other() {
            let bytes = stream.source.splitter.seen();
            self.counts.other_streams += u64::from(bytes > 0);
            self.counts.other_bytes += bytes;
            return Ok(());
        }
        self.counts.streams += 1;
        let place = Place { time, stream: Some(&stream.label), ..Place::default() };
        decoder.drain(&mut stream.source, place, true)
    }

    fn finish<W: Write>(&mut self, decoder: &mut Decoder<'_, W>) -> io::Result<()> {
        let mut rest: Vec<_> = self.flows.drain().collect();
        rest.sort_by_key(|(key, _)| *key);
        rest.into_iter().try_for_each(|(_, stream)| self.end(decoder, stream, None))
    }
}

impl Stream {
    fn new((from, to): Key, tcp: &TcpSlice<'_>, options: &Options) -> Self {
        // One whose beginning is there, and whose port was asked for, has to begin with a frame.
        let source = match (tcp.syn(), options.port) {
            (true, Some(_)) => Source::new(options),
            _ => Source::searching(options),
        };
        let flow = Flow::new(data_seq(tcp), options.max_out_of_order);
        let first = tcp.syn().then(|| tcp.sequence_number());
        Stream { first, flow, source, label: format!("{from} > {to}"), ended: false }
    }

    /// What is kept of a stream that ended, so that packets that come again do not begin another one.
    fn ended(first: Option<u32>, options: &Options) -> Self {
        Stream { first, flow: Flow::new(0, 0), source: Source::new(options), label: String::new(), ended: true }
    }

    fn steps<W: Write>(&mut self, decoder: &mut Decoder<'_, W>, time: Option<Duration>) -> io::Result<()> {
        let place = Place { time, stream: Some(&self.label), ..Place::default() };
        while let Some(step) = self.flow.step() {
            match step {
                Step::Data(bytes) => {
                    self.source.splitter.push(&bytes);
                    decoder.drain(&mut self.source, place, false)?;
                }
                Step::Gap(missing) => decoder.lose(&mut self.source, place, missing)?,
            }
        }
        Ok(())
    }
}

/// The sequence number of the first byte of data: SYN has one of its own.
fn data_seq(tcp: &TcpSlice<'_>) -> u32 {
    tcp.sequence_number().wrapping_add(u32::from(tcp.syn()))
}

/// Finds the IP packet behind the header of the link. The numbers are those of <https://www.tcpdump.org/linktypes.html>.
fn slice(link_type: i32, data: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    let ip = |skip: usize| LaxSlicedPacket::from_ip(data.get(skip..)?).ok();
    let by_ether_type = |at: usize, skip: usize| {
        let kind = data.get(at..)?.first_chunk::<2>()?;
        Some(LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(*kind)), data.get(skip..)?))
    };
    match link_type {
        1 => LaxSlicedPacket::from_ethernet(data).ok(),
        // NULL and LOOP: four bytes with the address family, in either byte order.
        0 | 108 => ip(4),
        // RAW under its three numbers, IPV4, IPV6.
        12 | 14 | 101 | 228 | 229 => ip(0),
        113 => by_ether_type(14, 16),
        276 => by_ether_type(0, 20),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_type_leads_to_the_same_packet() {
        let mut ip = Vec::new();
        let builder = etherparse::PacketBuilder::ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64).tcp(1000, 2000, 7, 512);
        assert!(builder.write(&mut ip, b"data").is_ok());
        let with = |head: &[u8]| [head, &ip].concat();
        let sll = [&[0, 0, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0][..], &[8, 0]].concat();
        let sll2 = [&[8, 0][..], &[0; 18]].concat();
        let ethernet = [&[0; 12][..], &[8, 0]].concat();
        let vlan = [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0]].concat();
        let cases = [
            (0, with(&[2, 0, 0, 0])),
            (108, with(&[0, 0, 0, 2])),
            (1, with(&ethernet)),
            (1, with(&vlan)),
            (101, with(&[])),
            (113, with(&sll)),
            (276, with(&sll2)),
        ];
        for (link_type, data) in cases {
            let Some(packet) = slice(link_type, &data) else { panic!("link type {link_type}") };
            let mut streams = Streams { flows: HashMap::new(), counts: CaptureCounts::default() };
            let tcp = streams.tcp(&packet).map(|(_, _, tcp)| (tcp.sequence_number(), tcp.payload().to_vec()));
            assert_eq!(tcp, Some((7, b"data".to_vec())), "link type {link_type}");
            assert!(slice(link_type, &data[..3]).and_then(|packet| streams.tcp(&packet)).is_none());
        }
        assert!(slice(147, &ip).is_none());
    }

    #[test]
    fn times_of_pcapng() {
        let interface = |resolution, offset| Interface { link_type: 1, resolution, offset };
        assert_eq!(interface(Some(1_000_000), 0).time(1_500_000), Some(Duration::from_millis(1500)));
        assert_eq!(interface(Some(1 << 20), 10).time(1 << 19), Some(Duration::from_millis(10_500)));
        assert_eq!(interface(Some(1_000), -5).time(1), None);
        assert_eq!(interface(Some(0), 0).time(1), None);
    }
}
