//! Packet captures: the packets of pcap and pcapng files.

use std::io::{self, Read, Write};
use std::time::Duration;

use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};

use super::decoder::Decoder;
use super::packet::Packet;
use super::print::{Place, Problem};
use super::read::Sniffed;
use super::streams::Capture;
use crate::failure::Failure;

/// The first size of the read buffer, and the largest that a block may need.
const BUFFER: usize = 64 * 1024;
const MAX_BUFFER: usize = 64 * 1024 * 1024;
/// Interfaces of a pcapng section; those beyond have no link type here.
const MAX_INTERFACES: usize = 65536;
/// The bits of the link type; those above tell of the frame check sequence behind each packet, which no one asks for.
const LINK_TYPE: i32 = 0x03FF_FFFF;
/// What has no link type of its own; nothing has this one.
const NO_LINK_TYPE: i32 = LINK_TYPE;

/// What the packets of a pcapng interface have in common.
struct Interface {
    link_type: i32,
    resolution: Option<u64>,
    offset: i64,
}

pub(super) fn run<W: Write>(decoder: &mut Decoder<'_, W>, mut input: Sniffed) -> Result<(), Failure> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let head = head(&mut input).map_err(|error| decoder.unreadable(error))?;
    let mut reader = match create_reader(BUFFER, io::Cursor::new(head).chain(input)) {
        Ok(reader) => reader,
        Err(PcapError::Eof) => return Err(decoder.unreadable(invalid("the input is empty".to_owned()))),
        Err(error) => return Err(decoder.unreadable(invalid(format!("no pcap or pcapng file: {error}")))),
    };
    let mut capture = Capture::default();
    let mut format = FileState { link_type: NO_LINK_TYPE, nanoseconds: false, interfaces: Vec::new() };
    let mut capacity = BUFFER;
    let end = loop {
        match reader.next() {
            Ok((used, block)) => {
                if let Some(packet) = format.packet(&block) {
                    capture.packet(decoder, &packet)?;
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => break None,
            Err(PcapError::Incomplete(_)) => {
                if capture.has_openings() && decoder.is_silent() {
                    capture.settle(decoder)?;
                }
                decoder.printer.out.flush()?;
                if reader.reader_exhausted() {
                    break Some("the capture ends inside a packet".to_owned());
                }
                if reader.refill().is_err() {
                    break Some(format!("the capture cannot be read on{}", decoder.read_error()));
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
    capture.finish(decoder)?;
    if let Some(reason) = end {
        let reason = format!("{reason} (after {} packets)", capture.counts.packets);
        let offset = reader.consumed() as u64;
        decoder.problem(Place { offset, ..Place::default() }, Problem { reason, offset, status: None })?;
    }
    decoder.counts.capture = Some(capture.counts);
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
    fn packet<'a>(&mut self, block: &'a PcapBlockOwned<'_>) -> Option<Packet<'a>> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.link_type = header.network.0;
                self.nanoseconds = header.is_nanosecond_precision();
                None
            }
            PcapBlockOwned::Legacy(block) => {
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
                let interface = self.interfaces.get(block.if_id as usize);
                let time = interface.and_then(|i| i.time(u64::from(block.ts_high) << 32 | u64::from(block.ts_low)));
                let link_type = interface.map_or(NO_LINK_TYPE, |i| i.link_type);
                Some(packet(link_type, time, block.data, block.caplen, block.origlen))
            }
            PcapBlockOwned::NG(Block::SimplePacket(block)) => {
                let link_type = self.interfaces.first().map_or(NO_LINK_TYPE, |i| i.link_type);
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
    Packet { link_type: link_type & LINK_TYPE, time, data, cut_off: u64::from(length.saturating_sub(captured)) }
}

impl Interface {
    fn time(&self, units: u64) -> Option<Duration> {
        let resolution = self.resolution.filter(|&r| r > 0)?;
        let seconds = (units / resolution).checked_add_signed(self.offset)?;
        let nanos = u128::from(units % resolution) * 1_000_000_000 / u128::from(resolution);
        Duration::from_secs(seconds).checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_pcapng() {
        let interface = |resolution, offset| Interface { link_type: 1, resolution, offset };
        assert_eq!(interface(Some(1_000_000), 0).time(1_500_000), Some(Duration::from_millis(1500)));
        assert_eq!(interface(Some(1 << 20), 10).time(1 << 19), Some(Duration::from_millis(10_500)));
        assert_eq!(interface(Some(1_000), -5).time(1), None);
        assert_eq!(interface(Some(0), 0).time(1), None);
    }
}
