//! Whose connections count together.

use std::net::{IpAddr, Ipv6Addr};

/// Who is at the other end. Whoever has an IPv6 address has a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(addr: IpAddr) -> Self {
        let network = |ip: Ipv6Addr| Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX));
        Peer(match addr.to_canonical() {
            IpAddr::V6(ip) => network(ip).into(),
            ip => ip,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let of = |text: &str| Peer::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
