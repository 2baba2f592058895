//! What passed, as packets of TCP in a file of pcapng, which `spop decode` and Wireshark read. Connections of unix sockets get
//! addresses of 127.0.0.1.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use etherparse::PacketBuilder;

use super::direction::From;
use crate::failure::Failure;

/// The most bytes of a packet.
const SEGMENT: usize = 60_000;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
/// Packets begin with the header of IP.
const LINKTYPE_RAW: u32 = 101;

/// A file that grows up to a limit.
pub(super) struct Recorder {
    name: String,
    out: BufWriter<File>,
    written: u64,
    limit: u64,
    left_out: u64,
    error: Option<std::io::Error>,
    flows: u16,
}

/// A connection as TCP sees it.
pub(super) struct Flow {
    ends: [SocketAddr; 2],
    /// The next number of each direction.
    sequence: [u32; 2],
}

impl Recorder {
    /// Begins a file, in place of an earlier one.
    pub(super) fn create(path: &Path, limit: u64) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(|error| Failure::File { name: name.clone(), error })?;
        let (out, written, left_out, error, flows) = (BufWriter::new(file), 0, 0, None, 0);
        let mut recorder = Recorder { name, out, written, limit, left_out, error, flows };
        // Byte order, version 1.0, a section of unknown length.
        recorder.block(SECTION_HEADER, &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX], &[]);
        // No limit of a packet's length; times in nanoseconds (option 9), end of the options.
        recorder.block(INTERFACE, &[LINKTYPE_RAW, 0, 1 << 16 | 9, 9, 0], &[]);
        Ok(recorder)
    }

    /// A new connection.
    pub(super) fn flow(&mut self, haproxy: &str, agent: &str) -> Flow {
        self.flows = self.flows.wrapping_add(1);
        let made_up = SocketAddr::from(([127, 0, 0, 1], self.flows));
        let other = SocketAddr::from(([127, 0, 0, 2], 12345));
        let ends = match (haproxy.parse(), agent.parse()) {
            (Ok(haproxy @ SocketAddr::V4(_)), Ok(agent @ SocketAddr::V4(_)))
            | (Ok(haproxy @ SocketAddr::V6(_)), Ok(agent @ SocketAddr::V6(_))) => [haproxy, agent],
            _ => [made_up, other],
        };
        Flow { ends, sequence: [1, 1] }
    }

    /// Bytes of one direction.
    pub(super) fn segment(&mut self, flow: &mut Flow, from: From, bytes: &[u8], time: Duration) {
        for part in bytes.chunks(SEGMENT) {
            self.packet(flow, from, part, false, time);
            let sequence = &mut flow.sequence[from as usize];
            *sequence = sequence.wrapping_add(part.len() as u32);
        }
    }

    /// Both sides are done, so that their ports may come again.
    pub(super) fn end(&mut self, flow: Flow, time: Duration) {
        for from in [From::Haproxy, From::Agent] {
            self.packet(&flow, from, &[], true, time);
        }
    }

    fn packet(&mut self, flow: &Flow, from: From, payload: &[u8], fin: bool, time: Duration) {
        let (own, other) = (from as usize, 1 - from as usize);
        let builder = match (flow.ends[own], flow.ends[other]) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64),
            (SocketAddr::V6(from), SocketAddr::V6(to)) => PacketBuilder::ipv6(from.ip().octets(), to.ip().octets(), 64),
            _ => return,
        };
        let ports = (flow.ends[own].port(), flow.ends[other].port());
        let tcp = builder.tcp(ports.0, ports.1, flow.sequence[own], u16::MAX).ack(flow.sequence[other]).psh();
        let tcp = if fin { tcp.fin() } else { tcp };
        let mut packet = Vec::with_capacity(tcp.size(payload.len()));
        if tcp.write(&mut packet, payload).is_err() {
            return;
        }
        let (nanos, len) = (time.as_nanos() as u64, packet.len() as u32);
        packet.resize(packet.len().next_multiple_of(4), 0);
        if self.left_out > 0 || self.written + packet.len() as u64 > self.limit {
            self.left_out += payload.len() as u64;
            return;
        }
        self.block(PACKET, &[0, (nanos >> 32) as u32, nanos as u32, len, len], &packet);
    }

    /// In little endian, as the first block says.
    fn block(&mut self, kind: u32, words: &[u32], rest: &[u8]) {
        let length = (12 + 4 * words.len() + rest.len()) as u32;
        let mut block: Vec<u8> = [&[kind, length], words].concat().iter().flat_map(|word| word.to_le_bytes()).collect();
        block.extend_from_slice(rest);
        block.extend_from_slice(&length.to_le_bytes());
        self.written += block.len() as u64;
        if self.error.is_none() {
            self.error = self.out.write_all(&block).err();
        }
    }

    /// Writes what is left, and says what is missing.
    pub(super) fn finish(mut self) -> Result<Option<String>, Failure> {
        let flushed = self.out.flush();
        let Recorder { name, left_out, limit, error, .. } = self;
        match error.or(flushed.err()) {
            Some(error) => Err(Failure::File { name, error }),
            None if left_out == 0 => Ok(None),
            None => {
                Ok(Some(format!("{name} is full (--record-limit {limit}): the last {left_out} bytes are not in it")))
            }
        }
    }
}
