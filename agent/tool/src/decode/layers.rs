//! The headers around a TCP segment: links, tunnels, IP fragments.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use etherparse::defrag::IpDefragBuf;
use etherparse::{IpNumber, LaxIpSlice, LenSource};

/// What a packet turned out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'a> {
    Tcp {
        from: IpAddr,
        to: IpAddr,
        /// Header and data.
        segment: Cow<'a, [u8]>,
        /// Bytes of data that the capture cut off; `None` if the IP header does not tell.
        cut_off: Option<u64>,
    },
    /// A fragment, taken; its IP packet is not whole yet.
    Fragment,
    /// Something else.
    Other,
    /// It breaks off, or its headers contradict each other.
    Malformed,
    /// Nothing that this tool knows begins so.
    UnknownLink,
}

/// Tunnels in tunnels, and the headers of links, at most.
const MAX_LAYERS: usize = 16;
/// IP packets of which fragments are kept at a time, each of 64 KiB at most.
const MAX_DATAGRAMS: usize = 256;

/// What comes next in a packet.
#[derive(Clone, Copy)]
enum Layer {
    Ethernet,
    EtherType(u16),
    /// PPP over Ethernet, with its header.
    PppoeSession,
    /// The number of the protocol, then its data.
    Ppp,
    Ip,
    /// The data of UDP with its header.
    Udp,
    Gre,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
/// VXLAN: the number that IANA gave it, and the one that Linux and Flannel take.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
const GENEVE_PORT: u16 = 6081;

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

/// The first layer of a link type, and where it begins; the numbers are those of <https://www.tcpdump.org/linktypes.html>.
fn link(link_type: i32, data: &[u8]) -> Option<Option<(Layer, usize)>> {
    Some(match link_type {
        1 => Some((Layer::Ethernet, 0)),
        // NULL and LOOP: four bytes with the address family, in either byte order.
        0 | 108 => Some((Layer::Ip, 4)),
        // RAW under its three numbers, IPV4, IPV6.
        12 | 14 | 101 | 228 | 229 => Some((Layer::Ip, 0)),
        // PPP, with HDLC's address and control byte or without.
        9 | 50 => Some((Layer::Ppp, if data.starts_with(&[0xFF, 3]) { 2 } else { 0 })),
        51 => Some((Layer::PppoeSession, 0)),
        // Linux cooked, the first and the second version.
        113 => u16_at(data, 14).map(|kind| (Layer::EtherType(kind), 16)),
        276 => u16_at(data, 0).map(|kind| (Layer::EtherType(kind), 20)),
        239 => nflog_payload(data).map(|at| (Layer::Ip, at)),
        _ => return None,
    })
}

/// Where the packet is among the fields of NFLOG. Their lengths are in the byte order of the machine that captured them, which
/// is told nowhere: only one of both leads to the field of the packet.
fn nflog_payload(data: &[u8]) -> Option<usize> {
    const PAYLOAD: u16 = 9;
    let walk = |number: fn([u8; 2]) -> u16| {
        let mut at = 4;
        loop {
            let [len, kind] =
                [0, 2].map(|skip| data.get(at + skip..).and_then(<[u8]>::first_chunk).copied().map(number));
            match (usize::from(len?), kind?) {
                (4.., PAYLOAD) => return Some(at + 4),
                (len @ 4.., _) => at += len.next_multiple_of(4),
                _ => return None,
            }
        }
    };
    walk(u16::from_le_bytes).or_else(|| walk(u16::from_be_bytes))
}

/// Finds the way through headers; keeps the fragments of IP packets.
#[derive(Default)]
pub(super) struct Layers {
    datagrams: HashMap<Key, IpDefragBuf>,
    /// From old to new; some are whole already.
    order: VecDeque<Key>,
    /// Fragments of IP packets that were not whole in time.
    pub(super) fragments_lost: u64,
    /// Those among them that may have been of TCP streams, but for what is in UDP, which mostly is something else.
    pub(super) tcp_fragments_lost: u64,
    /// IP packets put together.
    pub(super) defragmented: u64,
}

type Key = (IpAddr, IpAddr, u32, u8);

impl Layers {
    pub(super) fn find<'a>(&mut self, link_type: i32, data: &'a [u8]) -> Found<'a> {
        match link(link_type, data) {
            None => Found::UnknownLink,
            Some(None) => Found::Malformed,
            Some(Some((layer, at))) => self.walk(layer, data.get(at..).unwrap_or_default(), MAX_LAYERS),
        }
    }

    fn walk<'a>(&mut self, mut layer: Layer, mut data: &'a [u8], mut layers: usize) -> Found<'a> {
        loop {
            let Some(left) = layers.checked_sub(1) else { return Found::Other };
            layers = left;
            let next = match layer {
                Layer::Ip => match self.ip(data, layers) {
                    Ok((inner_layer, inner)) => {
                        (layer, data) = (inner_layer, inner);
                        continue;
                    }
                    Err(found) => return found,
                },
                Layer::EtherType(IPV4 | IPV6) => Some(Some((Layer::Ip, 0))),
                Layer::EtherType(0x8864) => Some(Some((Layer::PppoeSession, 0))),
                Layer::EtherType(0x6558) => Some(Some((Layer::Ethernet, 0))),
                // VLAN tags.
                Layer::EtherType(0x8100 | 0x88A8 | 0x9100) => {
                    u16_at(data, 2).map(|kind| Some((Layer::EtherType(kind), 4)))
                }
                Layer::EtherType(_) => Some(None),
                Layer::Ethernet => u16_at(data, 12).map(|kind| Some((Layer::EtherType(kind), 14))),
                Layer::PppoeSession => Some(Some((Layer::Ppp, 6))),
                Layer::Ppp => ppp(data),
                Layer::Udp => udp(data),
                Layer::Gre => gre(data),
            };
            match next {
                None => return Found::Malformed,
                Some(None) => return Found::Other,
                Some(Some((next, skip))) => {
                    layer = next;
                    data = data.get(skip..).unwrap_or_default();
                }
            }
        }
    }

    /// What an IP packet holds: another layer, or the end of the way.
    fn ip<'a>(&mut self, data: &'a [u8], layers: usize) -> Result<(Layer, &'a [u8]), Found<'a>> {
        let Ok((ip, _stop)) = LaxIpSlice::from_slice(data) else { return Err(Found::Malformed) };
        let (from, to, payload) = (ip.source_addr(), ip.destination_addr(), ip.payload());
        if payload.fragmented {
            let whole = self.fragment(&ip, (from, to))?;
            let found = match inner(payload.ip_number, &whole, (from, to), Some(0)) {
                Ok((layer, data)) => self.walk(layer, data, layers),
                Err(found) => found,
            };
            return Err(found.into_owned());
        }
        // By the slice only if the header says nothing (large segments before their split).
        let cut_off = match (payload.incomplete, payload.len_source) {
            (false, LenSource::Slice) => None,
            (false, _) => Some(0),
            (true, _) => Some(declared_len(&ip).saturating_sub(data.len() as u64)),
        };
        inner(payload.ip_number, payload.payload, (from, to), cut_off)
    }

    /// Takes a fragment; gives the data of its IP packet if that is whole now.
    fn fragment(&mut self, ip: &LaxIpSlice<'_>, addresses: (IpAddr, IpAddr)) -> Result<Vec<u8>, Found<'static>> {
        let payload = ip.payload();
        let (id, offset, more) = match ip {
            LaxIpSlice::Ipv4(ip) => {
                let header = ip.header();
                (u32::from(header.identification()), header.fragments_offset(), header.more_fragments())
            }
            LaxIpSlice::Ipv6(ip) => {
                let header = ip.extensions().clone().into_iter().find_map(|extension| match extension {
                    etherparse::Ipv6ExtensionSlice::Fragment(header) => Some(header.to_header()),
                    _ => None,
                });
                header
                    .map(|header| (header.identification, header.fragment_offset, header.more_fragments))
                    .ok_or(Found::Malformed)?
            }
        };
        let key = (addresses.0, addresses.1, id, payload.ip_number.0);
        if payload.incomplete {
            self.lose(1, payload.ip_number);
            return Err(Found::Fragment);
        }
        let datagram = self.datagrams.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            IpDefragBuf::new(payload.ip_number, Vec::new(), Vec::new())
        });
        if datagram.add(offset, more, payload.payload).is_err() {
            // It contradicts those before it.
            self.lose(1, payload.ip_number);
            return Err(Found::Fragment);
        }
        if datagram.is_complete() {
            self.defragmented += 1;
            return self.datagrams.remove(&key).map(|datagram| datagram.take_bufs().0).ok_or(Found::Fragment);
        }
        while self.order.len() > MAX_DATAGRAMS {
            self.drop_oldest();
        }
        Err(Found::Fragment)
    }

    fn drop_oldest(&mut self) {
        if let Some(datagram) = self.order.pop_front().and_then(|key| self.datagrams.remove(&key)) {
            self.lose(datagram.sections().len() as u64, datagram.ip_number());
        }
    }

    fn lose(&mut self, fragments: u64, of: IpNumber) {
        self.fragments_lost += fragments;
        if matches!(of, IpNumber::TCP | IpNumber::GRE | IpNumber::IPV4 | IpNumber::IPV6) {
            self.tcp_fragments_lost += fragments;
        }
    }

    /// No more packets come.
    pub(super) fn finish(&mut self) {
        while !self.order.is_empty() {
            self.drop_oldest();
        }
    }
}

/// The length of an IP packet by its header.
fn declared_len(ip: &LaxIpSlice<'_>) -> u64 {
    match ip {
        LaxIpSlice::Ipv4(ip) => ip.header().total_len().into(),
        LaxIpSlice::Ipv6(ip) => 40 + u64::from(ip.header().payload_length()),
    }
}

/// What follows an IP header.
fn inner(
    number: IpNumber,
    data: &[u8],
    (from, to): (IpAddr, IpAddr),
    cut_off: Option<u64>,
) -> Result<(Layer, &[u8]), Found<'_>> {
    match number {
        IpNumber::TCP => Err(Found::Tcp { from, to, segment: Cow::Borrowed(data), cut_off }),
        IpNumber::UDP => Ok((Layer::Udp, data)),
        IpNumber::GRE => Ok((Layer::Gre, data)),
        IpNumber::IPV4 | IpNumber::IPV6 => Ok((Layer::Ip, data)),
        _ => Err(Found::Other),
    }
}

impl Found<'_> {
    fn into_owned(self) -> Found<'static> {
        match self {
            Found::Tcp { from, to, segment, cut_off } => {
                Found::Tcp { from, to, segment: Cow::Owned(segment.into_owned()), cut_off }
            }
            Found::Fragment => Found::Fragment,
            Found::Other => Found::Other,
            Found::Malformed => Found::Malformed,
            Found::UnknownLink => Found::UnknownLink,
        }
    }
}

/// A layer and where it begins; `Some(None)` for nothing of interest, `None` for data that breaks off.
type Next = Option<Option<(Layer, usize)>>;

fn ppp(data: &[u8]) -> Next {
    // The protocol may be written without its leading zero.
    Some(match data {
        [0, 0x21 | 0x57, ..] => Some((Layer::Ip, 2)),
        [0x21 | 0x57, ..] => Some((Layer::Ip, 1)),
        [] | [_] => return None,
        _ => None,
    })
}

fn udp(data: &[u8]) -> Next {
    let port = u16_at(data, 2)?;
    if VXLAN_PORTS.contains(&port) {
        return Some((data.get(8)? & 8 != 0).then_some((Layer::Ethernet, 16)));
    }
    if port == GENEVE_PORT {
        let options = usize::from(data.get(8)? & 0x3F) * 4;
        return Some(Some((Layer::EtherType(u16_at(data, 10)?), 16 + options)));
    }
    Some(None)
}

fn gre(data: &[u8]) -> Next {
    let (flags, kind) = (u16_at(data, 0)?, u16_at(data, 2)?);
    // Routing, which nobody uses, or the version of PPTP.
    if flags & 0x4007 != 0 {
        return Some(None);
    }
    let fields = [0x8000, 0x2000, 0x1000].into_iter().filter(|bit| flags & bit != 0).count();
    Some(Some((Layer::EtherType(kind), 4 + 4 * fields)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, TcpSlice};

    fn ip() -> Vec<u8> {
        let mut ip = Vec::new();
        let builder = PacketBuilder::ipv4([127, 0, 0, 1], [127, 0, 0, 2], 64).tcp(1000, 2000, 7, 512);
        assert!(builder.write(&mut ip, b"data").is_ok());
        ip
    }

    fn with(head: &[u8], tail: &[u8]) -> Vec<u8> {
        [head, tail].concat()
    }

    fn ethernet(kind: u16, data: &[u8]) -> Vec<u8> {
        with(&[&[0; 12][..], &kind.to_be_bytes()].concat(), data)
    }

    fn ipv4(number: u8, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let header = etherparse::Ipv4Header::new(data.len() as u16, 64, IpNumber(number), [10, 0, 0, 1], [10, 0, 0, 2]);
        assert!(header.is_ok_and(|header| header.write(&mut out).is_ok()));
        with(&out, data)
    }

    fn udp_packet(port: u16, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(40000, port).write(&mut out, data).is_ok());
        out
    }

    fn nflog(number: fn(u16) -> [u8; 2], ip: &[u8]) -> Vec<u8> {
        let field = |kind: u16, data: &[u8]| {
            let mut field = [&number(data.len() as u16 + 4)[..], &number(kind), data].concat();
            field.resize(field.len().next_multiple_of(4), 0);
            field
        };
        [&[2, 0, 0, 30][..], &field(1, &[8, 0, 1, 0]), &field(10, b"SPOP-1\0"), &field(9, ip)].concat()
    }

    fn data_of(found: &Found<'_>) -> Option<(u32, Vec<u8>, Option<u64>)> {
        let Found::Tcp { segment, cut_off, .. } = found else { return None };
        TcpSlice::from_slice(segment).ok().map(|tcp| (tcp.sequence_number(), tcp.payload().to_vec(), *cut_off))
    }

    #[test]
    fn every_link_and_tunnel_leads_to_the_same_packet() {
        let ip = ip();
        let sll = [&[0, 0, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0][..], &[8, 0]].concat();
        let sll2 = [&[8, 0][..], &[0; 18]].concat();
        let pppoe = with(&[0x11, 0, 0, 1, 0, 0, 0, 0x21], &ip);
        let vxlan = with(&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(0x0800, &ip));
        let geneve = with(&[1, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 4], &ethernet(0x0800, &ip));
        let tunnel_in_tunnel = udp_packet(
            4789,
            &with(&[8, 0, 0, 0, 0, 0, 5, 0], &ethernet(0x0800, &ipv4(47, &with(&[0, 0, 8, 0], &ipv4(4, &ip))))),
        );
        let cases = [
            ("null", 0, with(&[2, 0, 0, 0], &ip)),
            ("loop", 108, with(&[0, 0, 0, 2], &ip)),
            ("ethernet", 1, ethernet(0x0800, &ip)),
            ("ethernet, padded", 1, with(&ethernet(0x0800, &ip), &[0; 6])),
            ("vlan", 1, ethernet(0x8100, &with(&[0, 5, 8, 0], &ip))),
            ("vlan in vlan", 1, ethernet(0x88A8, &with(&[0, 5, 0x81, 0, 0, 6, 8, 0], &ip))),
            ("raw", 101, ip.clone()),
            ("cooked", 113, with(&sll, &ip)),
            ("cooked 2", 276, with(&sll2, &ip)),
            ("nflog, little-endian", 239, nflog(u16::to_le_bytes, &ip)),
            ("nflog, big-endian", 239, nflog(u16::to_be_bytes, &ip)),
            ("pppoe", 1, ethernet(0x8864, &pppoe)),
            ("pppoe as link", 51, pppoe),
            ("ppp", 9, with(&[0xFF, 3, 0, 0x21], &ip)),
            ("ppp, short", 9, with(&[0x21], &ip)),
            ("gre", 1, ethernet(0x0800, &ipv4(47, &with(&[0, 0, 8, 0], &ip)))),
            (
                "gre with all fields",
                1,
                ethernet(0x0800, &ipv4(47, &with(&[0xB0, 0, 8, 0, 1, 1, 0, 0, 2, 2, 2, 2, 3, 3, 3, 3], &ip))),
            ),
            ("gre with ethernet", 101, ipv4(47, &with(&[0, 0, 0x65, 0x58], &ethernet(0x0800, &ip)))),
            ("ip in ip", 101, ipv4(4, &ip)),
            ("vxlan", 1, ethernet(0x0800, &udp_packet(4789, &vxlan))),
            ("vxlan of flannel", 101, udp_packet(8472, &vxlan)),
            ("geneve", 101, udp_packet(6081, &geneve)),
            ("tunnels in a tunnel", 1, ethernet(0x0800, &tunnel_in_tunnel)),
        ];
        for (name, link_type, data) in cases {
            let mut layers = Layers::default();
            assert_eq!(data_of(&layers.find(link_type, &data)), Some((7, b"data".to_vec(), Some(0))), "{name}");
            for cut in 0..data.len().min(data.len() - 4) {
                // The rest of a packet never panics, and never has data that the packet has not.
                if let Some((_, bytes, _)) = data_of(&layers.find(link_type, &data[..cut])) {
                    assert!(b"data".starts_with(&bytes), "{name} at {cut}");
                }
            }
        }
        assert_eq!(Layers::default().find(147, &ip), Found::UnknownLink);
        let mut deep = ip;
        for _ in 0..MAX_LAYERS {
            deep = ipv4(4, &deep);
        }
        assert_eq!(Layers::default().find(101, &deep), Found::Other);
    }

    #[test]
    fn what_the_capture_cut_off_by_the_header_of_ip() {
        let ip = ip();
        let found = Layers::default().find(101, &ip[..ip.len() - 3]).into_owned();
        assert_eq!(data_of(&found), Some((7, b"d".to_vec(), Some(3))));
    }

    /// Fragments of 8 bytes.
    fn fragments(id: u16) -> Vec<Vec<u8>> {
        let ip = ip();
        let payload = ip.get(20..).unwrap_or_default();
        let count = payload.len().div_ceil(8);
        let one = |(n, part): (usize, &[u8])| {
            let mut head = ip.get(..20).unwrap_or_default().to_vec();
            head[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            head[4..6].copy_from_slice(&id.to_be_bytes());
            head[6..8].copy_from_slice(&(n as u16 | if n + 1 < count { 0x2000 } else { 0 }).to_be_bytes());
            with(&head, part)
        };
        payload.chunks(8).enumerate().map(one).collect()
    }

    #[test]
    fn fragments_of_ipv6() {
        let tcp = ip().get(20..).unwrap_or_default().to_vec();
        let part = |offset: usize, end: usize| {
            let more = u16::from(end < tcp.len());
            let fragment = [&[6, 0][..], &(offset as u16 | more).to_be_bytes(), &[0, 0, 0, 9]].concat();
            let len = (8 + end - offset) as u16;
            [&[0x60, 0, 0, 0][..], &len.to_be_bytes(), &[44, 64], &[1; 16], &[2; 16], &fragment, &tcp[offset..end]]
                .concat()
        };
        let mut layers = Layers::default();
        assert_eq!(layers.find(229, &part(16, tcp.len())), Found::Fragment);
        assert_eq!(data_of(&layers.find(229, &part(0, 16))), Some((7, b"data".to_vec(), Some(0))));
    }

    #[test]
    fn fragments_of_ip_in_any_order_within_bounds() {
        let mut parts = fragments(1);
        assert_eq!(parts.len(), 3);
        parts.rotate_left(1);
        parts.swap(0, 1);
        let mut layers = Layers::default();
        assert_eq!(layers.find(101, &parts[0]), Found::Fragment);
        assert_eq!(layers.find(101, &parts[0]), Found::Fragment);
        assert_eq!(layers.find(101, &ipv4(4, &parts[1])), Found::Fragment);
        assert_eq!(data_of(&layers.find(101, &parts[2])), Some((7, b"data".to_vec(), Some(0))));
        assert_eq!((layers.defragmented, layers.fragments_lost, layers.datagrams.len()), (1, 0, 0));
        for id in 0..1000 {
            assert_eq!(layers.find(101, &fragments(id)[0]), Found::Fragment);
            assert!(layers.datagrams.len() <= MAX_DATAGRAMS);
        }
        layers.finish();
        assert_eq!(layers.fragments_lost, 1000);
    }
}
