//! Who may send log lines: whoever may can tell of requests that never were.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Senders that are allowed beside this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allowed {
    /// All.
    Any,
    /// A network, or one address.
    Net(IpNet),
}

/// The text is neither of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network such as 10.0.0.0/8, an address, or any")]
pub struct AllowedError;

impl FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let net = text.parse().or_else(|_| text.parse().map(|addr: IpAddr| IpNet::from(addr.to_canonical())));
        net.map(|net| Self::Net(canonical(net))).map_err(|_| AllowedError)
    }
}

/// A network of IPv4 addresses in those of IPv6 as what it is: so are the senders that it is compared with.
fn canonical(net: IpNet) -> IpNet {
    let mapped = |v6: Ipv6Net| {
        let prefix_len = v6.prefix_len().checked_sub(MAPPED_BITS)?;
        Ipv4Net::new(v6.network().to_ipv4_mapped()?, prefix_len).ok()
    };
    match net {
        IpNet::V6(v6) => mapped(v6).map_or(net, IpNet::V4),
        IpNet::V4(_) => net,
    }
}

/// Bits before an IPv4 address that is mapped to one of IPv6.
const MAPPED_BITS: u8 = 96;

/// The senders that are allowed.
#[derive(Debug)]
pub(super) struct AllowList(Vec<Allowed>);

impl AllowList {
    pub(super) fn new(allowed: Vec<Allowed>) -> Self {
        Self(allowed)
    }

    /// Was anybody named?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// May this address send lines? This host always may.
    pub(super) fn admits(&self, addr: IpAddr) -> bool {
        let within = |allowed: &Allowed| match allowed {
            Allowed::Any => true,
            Allowed::Net(net) => net.contains(&addr),
        };
        addr.is_loopback() || self.0.iter().any(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_addresses_and_any() {
        let admits = |allowed: &[&str], addr: &str| {
            let list = AllowList::new(allowed.iter().map(|text| text.parse().unwrap()).collect());
            list.admits(addr.parse().unwrap())
        };
        for (allowed, addr, may) in [
            (&[][..], "127.0.0.1", true),
            (&[], "127.9.9.9", true),
            (&[], "::1", true),
            (&[], "10.0.0.1", false),
            (&["10.0.0.0/8"], "10.255.255.255", true),
            (&["10.0.0.0/8"], "11.0.0.0", false),
            (&["10.0.0.0/8"], "127.0.0.1", true),
            (&["10.0.0.7"], "10.0.0.7", true),
            (&["::ffff:10.0.0.7"], "10.0.0.7", true),
            (&["::ffff:10.0.0.0/104"], "10.1.2.3", true),
            (&["::ffff:10.0.0.0/104"], "11.1.2.3", false),
            (&["::/0"], "2001:db8::1", true),
            (&["10.0.0.7"], "10.0.0.8", false),
            (&["10.0.0.7", "2001:db8::/32"], "2001:db8:1::1", true),
            (&["0.0.0.0/0"], "2001:db8::1", false),
            (&["any"], "2001:db8::1", true),
        ] {
            assert_eq!(admits(allowed, addr), may, "{allowed:?} {addr}");
        }
        for wrong in ["", "all", "10.0.0.0/33", "10.0.0", "localhost", "10.0.0.1:514", "::/129"] {
            assert_eq!(wrong.parse::<Allowed>(), Err(AllowedError), "{wrong}");
        }
    }
}
