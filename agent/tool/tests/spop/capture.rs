//! `spop decode` with captures that are in disorder, incomplete, tunnelled, packed, or hostile.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use etherparse::PacketBuilder;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Output, framed, program, spop_with};

/// A TCP segment of one of two directions.
#[derive(Clone, Debug)]
struct Segment {
    to_agent: bool,
    ports: u16,
    seq: u32,
    flags: &'static str,
    data: Vec<u8>,
    micros: u64,
}

impl Segment {
    fn ip(&self) -> Vec<u8> {
        let (from, to) = if self.to_agent { (self.ports, 12345) } else { (12345, self.ports) };
        let mut tcp = PacketBuilder::ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64).tcp(from, to, self.seq, 512);
        for flag in self.flags.bytes() {
            tcp = match flag {
                b's' => tcp.syn(),
                b'f' => tcp.fin(),
                _ => tcp.rst(),
            };
        }
        let mut ip = Vec::new();
        tcp.write(&mut ip, &self.data).unwrap();
        ip
    }
}

fn segment(seq: u32, flags: &'static str, data: &[u8]) -> Segment {
    Segment { to_agent: true, ports: 1000, seq, flags, data: data.to_vec(), micros: 0 }
}

/// A capture of raw IP, or of what else the link type says.
fn pcap(link_type: u32, packets: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Vec<u8> {
    let mut file = b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0".to_vec();
    file.extend(link_type.to_le_bytes());
    for (micros, packet) in packets {
        let len = (packet.len() as u32).to_le_bytes();
        let time = [(micros / 1_000_000) as u32, (micros % 1_000_000) as u32].map(u32::to_le_bytes);
        file.extend([time[0], time[1], len, len].concat());
        file.extend(packet);
    }
    file
}

fn capture(segments: &[Segment]) -> Vec<u8> {
    pcap(101, segments.iter().map(|segment| (segment.micros, segment.ip())))
}

fn decode(args: &[&str], input: &[u8]) -> Output {
    spop_with(&[&["decode", "--json"], args].concat(), input)
}

/// A NOTIFY with this stream-id and a text of `len` bytes, less than 240 (more would need a longer length).
fn notify(id: u8, len: u8) -> Vec<u8> {
    let head = [3, 0, 0, 0, 1, id, 1, 1, b'm', 1, 1, b'a', 8, len];
    framed(&[&head[..], &vec![b'x'; usize::from(len)]].concat())
}

/// The stream-ids of the NOTIFYs, in order.
fn ids(output: &Output) -> Vec<u64> {
    output
        .json_lines()
        .iter()
        .filter(|line| line["type"] == "NOTIFY")
        .map(|line| line["stream_id"].as_u64().unwrap())
        .collect()
}

/// `n` NOTIFYs, each in a segment of its own.
fn one_by_one(n: u8, first: u32) -> Vec<Segment> {
    let frames: Vec<_> = (1..=n).map(|id| notify(id, 20)).collect();
    let mut seq = first;
    let mut segments = Vec::new();
    for frame in frames {
        segments.push(segment(seq, "", &frame));
        seq = seq.wrapping_add(frame.len() as u32);
    }
    segments
}

fn end_of(segments: &[Segment]) -> u32 {
    segments.iter().map(|segment| segment.seq + segment.data.len() as u32).max().unwrap()
}

/// The other direction of one has no end of its own; it takes no place for ever, and what was under way still belongs to it.
#[test]
fn connections_that_a_rst_ended_make_room() {
    let at = |ports, to_agent, segment: Segment| Segment { ports, to_agent, ..segment };
    let refused = |n| [at(n, true, segment(99, "s", b"")), at(n, false, segment(0, "r", b""))];
    let frame = notify(1, 20);
    let reset = |n| {
        let both = [true, false].map(|to_agent| at(n, to_agent, segment(99, "s", b"")));
        let frames = [true, false].map(|to_agent| at(n, to_agent, segment(100, "", &frame)));
        let rst = at(n, true, segment(100 + frame.len() as u32, "r", b""));
        // Under way as the RST was sent, in two parts.
        let (one, two) = frame.split_at(9);
        let next = 100 + frame.len() as u32;
        let late = [at(n, false, segment(next, "", one)), at(n, false, segment(next + 9, "", two))];
        both.into_iter().chain(frames).chain([rst]).chain(late)
    };
    for args in [&["--max-streams", "4"][..], &["--max-streams", "4", "--port", "12345"]] {
        let segments: Vec<_> = (1..=9).flat_map(refused).chain(reset(60_000)).collect();
        let output = decode(args, &capture(&segments)).ok();
        assert_eq!(ids(&output).len(), 3, "{output:?}");
        assert!(output.stderr.contains("2 streams with SPOP"), "{output:?}");
        let segments: Vec<_> = (1..=9).flat_map(reset).collect();
        assert_eq!(ids(&decode(args, &capture(&segments)).ok()).len(), 27);
    }
}

#[test]
fn data_behind_a_fin_in_the_capture_but_before_it_in_the_stream() {
    for flag in ["f", "r"] {
        for args in [&[][..], &["--port", "12345"]] {
            let mut segments = vec![segment(99, "s", b"")];
            segments.extend(one_by_one(8, 100));
            segments.insert(6, segment(end_of(&segments), flag, b""));
            let output = decode(args, &capture(&segments)).ok();
            assert_eq!(ids(&output), [1, 2, 3, 4, 5, 6, 7, 8], "{output:?}");
            assert!(!output.stderr.contains("sent again"), "{output:?}");
        }
    }
    // The FIN has data, and comes first of all but the SYN.
    let mut segments = one_by_one(4, 100);
    segments[3].flags = "f";
    segments.swap(0, 3);
    segments.insert(0, segment(99, "s", b""));
    assert_eq!(ids(&decode(&[], &capture(&segments)).ok()), [1, 2, 3, 4]);
}

#[test]
fn a_beginning_in_the_middle_in_disorder() {
    for swap in [(0, 1), (0, 3), (1, 5)] {
        let mut segments = one_by_one(6, u32::MAX - 40);
        segments.swap(swap.0, swap.1);
        for args in [&[][..], &["--port", "12345"]] {
            let output = decode(args, &capture(&segments)).ok();
            assert_eq!(ids(&output), [1, 2, 3, 4, 5, 6], "{output:?}");
            assert!(!output.stderr.contains("sent again") && !output.stderr.contains("passed over"), "{output:?}");
        }
    }
    // The frames do not begin with segments, and half a frame comes first.
    let bytes: Vec<u8> = (1..=6).flat_map(|id| notify(id, 20)).collect();
    let mut segments: Vec<_> =
        bytes[9..].chunks(25).enumerate().map(|(n, part)| segment(25 * n as u32, "", part)).collect();
    segments.swap(0, 1);
    assert_eq!(ids(&decode(&[], &capture(&segments)).ok()), [2, 3, 4, 5, 6]);
    // The SYN comes behind the data.
    let mut segments = one_by_one(3, 100);
    segments.push(segment(99, "s", b""));
    assert_eq!(ids(&decode(&["--port", "12345"], &capture(&segments)).ok()), [1, 2, 3]);
}

#[test]
fn what_is_left_out_is_told() {
    // The first segment comes long after the second one.
    let mut segments = one_by_one(6, 100);
    segments[0].micros = 9_000_000;
    segments[5].micros = 8_000_000;
    segments[..].rotate_left(1);
    let output = decode(&[], &capture(&segments)).failed(1, "bytes left out that came after their place was given up");
    assert_eq!(ids(&output), [2, 3, 4, 5, 6]);
    assert!(!output.stderr.contains("sent again"), "{output:?}");
    // A gap is given up at its bound; what fills it comes later, twice.
    let mut segments = one_by_one(6, 100);
    segments.insert(0, segment(99, "s", b""));
    let second = segments.remove(2);
    segments.extend([second.clone(), second.clone()]);
    let len = second.data.len();
    let output = decode(&["--max-out-of-order", "60"], &capture(&segments)).failed(1, "2 errors");
    assert_eq!(ids(&output), [1, 3, 4, 5, 6]);
    for says in [format!("{len} bytes sent again"), format!("{len} bytes missing"), format!("{len} bytes left out")] {
        assert!(output.stderr.contains(&says), "{says}: {output:?}");
    }
    // The last one before the FIN is not there; nor is the first one, in a stream that shows what it is only later.
    let mut segments = one_by_one(6, 100);
    segments.insert(0, segment(99, "s", b""));
    segments.push(segment(end_of(&segments), "f", b""));
    for (remove, left) in [(6, [1, 2, 3, 4, 5]), (1, [2, 3, 4, 5, 6])] {
        let mut segments = segments.clone();
        segments.remove(remove);
        let output = decode(&[], &capture(&segments)).failed(1, "bytes missing");
        assert_eq!(ids(&output), left);
        assert!(!output.stderr.contains("sent again"), "{output:?}");
    }
    // Streams beyond the limit.
    let mut segments = one_by_one(1, 100);
    segments.push(Segment { ports: 1001, ..segments[0].clone() });
    let output = decode(&["--max-streams", "1"], &capture(&segments));
    assert_eq!(ids(&output.failed(1, "1 packets of streams beyond --max-streams passed over")), [1]);
}

/// One frame behind bytes that look like the beginning of a long one.
#[test]
fn a_frame_behind_a_false_beginning() {
    let bytes = [b"\0\x0f\0\0\x03\0\0\0\x01\x01\x01", &notify(7, 20)[..]].concat();
    let output = decode(&[], &capture(&[segment(100, "", &bytes)])).ok();
    assert_eq!(ids(&output), [7], "{output:?}");
}

#[test]
fn connections_one_after_the_other_between_the_same_ports() {
    for syn in [true, false] {
        let mut all = Vec::new();
        for (n, first) in [(1, 100), (2, 5_000), (3, 3_000_000_000_u32)] {
            if syn {
                all.push(segment(first - 1, "s", b""));
            }
            let frame = notify(n, 20);
            all.push(segment(first, "f", &frame));
            all.push(segment(first, "", &frame));
        }
        for each in all.iter_mut().enumerate() {
            each.1.micros = 2_000_000 * each.0 as u64;
        }
        let output = decode(&[], &capture(&all)).ok();
        assert_eq!(ids(&output), [1, 2, 3], "{output:?}");
        assert!(output.stderr.contains("3 streams with SPOP"), "{output:?}");
    }
}

#[test]
fn all_streams_together_have_a_bound() {
    let frame = notify(1, 150);
    let mut segments = Vec::new();
    for ports in 0..50 {
        let of_this = |seq, flags, data: &[u8]| Segment { ports, ..segment(seq, flags, data) };
        segments.push(of_this(99, "s", b""));
        // The first bytes are missing, what follows waits.
        for n in 0..20 {
            segments.push(of_this(101 + n * frame.len() as u32, "", &frame));
        }
    }
    let output = decode(&["--max-memory", "100000"], &capture(&segments)).failed(1, "bytes missing");
    assert_eq!(ids(&output).len(), 50 * 20, "{output:?}");
    // A frame that never ends, in each of many streams.
    let segments: Vec<_> = (0..50)
        .map(|ports| {
            let data = [b"\0\x0f\0\0\x03\0\0\0\x01\x01\x01", &[0; 9000][..]].concat();
            Segment { ports, ..segment(100, "", &data) }
        })
        .collect();
    decode(&["--max-memory", "100000"], &capture(&segments)).failed(1, "bytes given up to stay within --max-memory");
}

/// The bytes of a stream cut into segments, more of them that repeat and overlap, and an order that they come in.
#[derive(Debug)]
struct Shuffled {
    syn: bool,
    first: u32,
    cuts: Vec<usize>,
    extra: Vec<(usize, usize)>,
    order: Vec<u64>,
}

fn shuffled() -> impl Strategy<Value = Shuffled> {
    let cuts = prop::collection::vec(1_usize..60, 4..20);
    let extra = prop::collection::vec((0_usize..400, 1_usize..80), 0..10);
    let order = prop::collection::vec(any::<u64>(), 60);
    (any::<bool>(), any::<u32>(), cuts, extra, order).prop_map(|(syn, first, cuts, extra, order)| Shuffled {
        syn,
        first,
        cuts,
        extra,
        order,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any order of the segments of a stream, with repeated and overlapping ones, gives the same frames.
    #[test]
    fn any_order_gives_the_same_frames(Shuffled { syn, first, cuts, extra, order } in shuffled()) {
        let bytes: Vec<u8> = (1..=12).flat_map(|id| notify(id, id * 7)).collect();
        let at = |offset: usize| first.wrapping_add(offset as u32);
        let mut segments = Vec::new();
        let mut offset = 0;
        for cut in cuts.iter().cycle() {
            let end = (offset + cut).min(bytes.len());
            segments.push(segment(at(offset), if end == bytes.len() { "f" } else { "" }, &bytes[offset..end]));
            if end == bytes.len() {
                break;
            }
            offset = end;
        }
        for (from, len) in extra {
            let from = from % bytes.len();
            segments.push(segment(at(from), "", &bytes[from..(from + len).min(bytes.len())]));
        }
        if syn {
            segments.push(segment(first.wrapping_sub(1), "s", b""));
        }
        let sorted = decode(&[], &capture(&segments)).ok();
        prop_assert_eq!(ids(&sorted), (1..=12).collect::<Vec<_>>());
        let mut keyed: Vec<_> = order.iter().cycle().zip(&segments).enumerate().map(|(n, (key, s))| (key.rotate_left(n as u32), s)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        let mut segments: Vec<Segment> = keyed.into_iter().map(|(_, segment)| segment.clone()).collect();
        for (n, segment) in segments.iter_mut().enumerate() {
            segment.micros = 1000 * n as u64;
        }
        let output = decode(&["--max-out-of-order", "100000"], &capture(&segments)).ok();
        let frames = |output: &Output| -> Vec<Value> {
            let without_time = |mut line: Value| { line.as_object_mut().unwrap().remove("time"); line };
            output.json_lines().into_iter().map(without_time).collect()
        };
        prop_assert_eq!(frames(&output), frames(&sorted));
    }
}

#[test]
fn link_types_with_fcs_bits_tunnels_and_unknown_ones() {
    let segments = one_by_one(3, 100);
    let ethernet = |segment: &Segment| (0, [&[0; 12][..], &[8, 0], &segment.ip(), b"FCS!"].concat());
    for link_type in [1, 0x2400_0001, 0xF400_0001] {
        assert_eq!(ids(&decode(&[], &pcap(link_type, segments.iter().map(ethernet))).ok()), [1, 2, 3]);
    }
    let vxlan = |segment: &Segment| {
        let inner = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &ethernet(segment).1].concat();
        let mut outer = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(40000, 8472).write(&mut outer, &inner).unwrap();
        (0, outer)
    };
    assert_eq!(ids(&decode(&[], &pcap(101, segments.iter().map(vxlan))).ok()), [1, 2, 3]);

    let unknown = decode(&[], &pcap(147, segments.iter().map(ethernet)));
    unknown.failed(1, "3 packets of unknown link types or malformed: link type 147 is not known to this tool");
    let malformed = segments.iter().map(|segment| (0, segment.ip()[..30].to_vec()));
    decode(&[], &pcap(101, malformed))
        .failed(1, "3 packets of unknown link types or malformed: packets are cut short or malformed");
    // Some that cannot be read beside frames are counted.
    let some = segments.iter().map(|segment| (0, segment.ip())).chain([(0, vec![0x45, 0])]);
    assert!(decode(&[], &pcap(101, some)).ok().stderr.contains("1 packets of unknown link types or malformed"));
}

#[test]
fn fragments_of_ip() {
    let whole = one_by_one(1, 100)[0].ip();
    let part = |offset: usize, end: usize| {
        let mut head = whole[..20].to_vec();
        head[2..4].copy_from_slice(&((20 + end - offset) as u16).to_be_bytes());
        let more = if 20 + end < whole.len() { 0x2000 } else { 0 };
        head[6..8].copy_from_slice(&((offset as u16 / 8) | more).to_be_bytes());
        (0, [&head[..], &whole[20 + offset..20 + end]].concat())
    };
    let len = whole.len() - 20;
    let output = decode(&[], &pcap(101, [part(16, len), part(0, 16)])).ok();
    assert_eq!(ids(&output), [1]);
    assert!(output.stderr.contains("1 IP packets put together"), "{output:?}");
    decode(&[], &pcap(101, [part(0, 16)])).failed(1, "1 IP fragments passed over");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_files() {
    let capture = capture(&one_by_one(3, 100));
    let zstd = zstd::encode_all(&capture[..], 3).unwrap();
    for packed in [gzip(&capture), zstd.clone(), [gzip(&capture[..70]), gzip(&capture[70..])].concat()] {
        assert_eq!(ids(&decode(&[], &packed).ok()), [1, 2, 3]);
        assert_ne!(decode(&[], &packed[..packed.len() - 9]).code, 0);
    }
    // Cut off, it tells, after what came out.
    let packed = gzip(&capture);
    let cut = decode(&[], &packed[..packed.len() - 9]).failed(1, "1 errors");
    assert!(ids(&cut) == [1, 2, 3] && cut.stdout.contains("the capture cannot be read on: "), "{cut:?}");
    let hex = b"0000000767000000010101\n".repeat(3);
    assert_eq!(decode(&[], &gzip(&hex)).ok().json_lines().len(), 3);
    decode(&[], b"\x1f\x8bnonsense").failed(6, "standard input: invalid gzip header");
}

/// What unpacks to very much takes no memory, and ends at a limit.
#[test]
fn a_bomb() {
    let zeros = vec![0; 256 * 1024 * 1024];
    let zstd = zstd::encode_all(&zeros[..], 1).unwrap();
    for (packed, kib) in [(gzip(&zeros), 100_000), (zstd, 300_000)] {
        assert!(packed.len() < 4 * 1024 * 1024);
        let script = format!("ulimit -v {kib}; exec \"$0\" decode --max-unpacked 8388608");
        let mut child = Command::new("sh")
            .args(["-c", &script, program("spop").to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feed = std::thread::spawn(move || drop(stdin.write_all(&packed)));
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{text}");
        assert!(text.contains("it unpacks to more than 8388608 bytes (--max-unpacked)"), "{text}");
    }
}

/// The first frame of a connection that was there already is shown though nothing comes after it.
#[test]
fn a_live_capture_that_is_silent() {
    let mut child = Command::new(program("spop"))
        .args(["decode", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&capture(&one_by_one(1, 100))).unwrap();
    stdin.flush().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"NOTIFY\""), "{line}");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
