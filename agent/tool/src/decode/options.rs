//! What `spop decode` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Decode frames from hex lines, a byte stream or a packet capture, one line of output for each
///
/// Bytes that are no frame are reported with offset and reason, and the search goes on behind them. The TCP streams of a
/// capture are put together by their sequence numbers; those without anything like SPOP are passed over and counted.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The file to read; `-` is standard input
    #[arg(default_value = "-")]
    pub(super) file: PathBuf,
    /// What the input is
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub(super) format: Format,
    /// Print JSON, one object per line
    #[arg(long)]
    pub(super) json: bool,
    /// Put fragmented NOTIFYs together and print them whole
    #[arg(long)]
    pub(super) reassemble: bool,
    /// Encode every frame again and compare the bytes
    #[arg(long)]
    pub(super) reencode: bool,
    /// Of a capture, only TCP streams from or to this port, whatever is in them
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// Largest frame to take, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024, value_parser = clap::value_parser!(u32).range(256..))]
    pub(super) max_frame_size: u32,
    /// Largest fragmented NOTIFY to put together, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    pub(super) max_reassembly: usize,
    /// Most TCP streams of a capture at a time, each direction for itself; further ones are counted only
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub(super) max_streams: usize,
    /// Most bytes to keep of a TCP stream behind a packet that is missing, before it is given up as lost
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    pub(super) max_out_of_order: usize,
    /// Most bytes to keep of all TCP streams together; a stream that needs more gives up what it waits for
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024 * 1024)]
    pub(super) max_memory: usize,
    /// Most bytes that a packed file may unpack to
    #[arg(long, value_name = "BYTES", default_value_t = 4 * 1024 * 1024 * 1024)]
    pub(super) max_unpacked: u64,
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
pub(super) enum Format {
    /// Tell by the first bytes
    Auto,
    /// Lines of hex digits
    Hex,
    /// A stream of frames
    Binary,
    /// A packet capture: pcap or pcapng
    Pcap,
}
