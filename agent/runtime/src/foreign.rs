//! Other protocols than SPOP, told by the first bytes of a connection: what people connect to the wrong port.

use std::fmt;

/// A protocol that is not SPOP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Foreign {
    /// TLS: a ClientHello, a ServerHello or an alert.
    Tls,
    /// HTTP/1: a request or a response.
    Http1,
    /// HTTP/2: the preface of a client or the SETTINGS of a server, which gRPC begins with too.
    Http2,
    /// The PROXY protocol, version 1.
    ProxyV1,
    /// The PROXY protocol, version 2.
    ProxyV2,
    /// Printable ASCII of another protocol.
    Text,
}

/// The methods of HTTP, and what begins a response.
const HTTP1: [&[u8]; 11] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
    b"QUERY ",
    b"HTTP/1.",
];
/// Frame type and flags (ACK or none) of HTTP/2's SETTINGS, and stream 0.
const SETTINGS: [[u8; 6]; 2] = [[4, 0, 0, 0, 0, 0], [4, 1, 0, 0, 0, 0]];

impl Foreign {
    /// What the first bytes that a peer sent belong to, if that is known; the four that SPOP needs for the length of a
    /// frame are enough but for HTTP/2's SETTINGS, which take nine. No frame of SPOP is mistaken for another protocol.
    pub fn detect(first: &[u8]) -> Option<Self> {
        let begins = |with: &[u8]| {
            let len = first.len().min(with.len());
            len >= 4.min(with.len()) && first.get(..len) == with.get(..len)
        };
        if begins(&[0x16, 3]) || begins(&[0x15, 3]) {
            Some(Self::Tls)
        } else if begins(b"PRI * HTTP/2.0\r\n")
            || first.get(3..9).is_some_and(|head| SETTINGS.iter().any(|s| s == head))
        {
            Some(Self::Http2)
        } else if HTTP1.iter().any(|with| begins(with)) {
            Some(Self::Http1)
        } else if begins(b"PROXY ") {
            Some(Self::ProxyV1)
        } else if begins(b"\r\n\r\n\0\r\nQUIT\n") {
            Some(Self::ProxyV2)
        } else {
            let is_text = |&byte: &u8| byte.is_ascii_graphic() || b" \t\r\n".contains(&byte);
            first.get(..4).is_some_and(|bytes| bytes.iter().all(is_text)).then_some(Self::Text)
        }
    }

    /// What to change where this comes to the port of an agent.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Tls => "HAProxy's server line must not have ssl, or the address that the agent listens on needs ,tls",
            Self::Http1 => {
                "an agent's backend in HAProxy is in mode tcp or spop, with option spop-check for its checks; \
                 /metrics and other pages have a port of their own"
            }
            Self::Http2 => "is it OTLP over gRPC? That has a port of its own",
            Self::ProxyV1 | Self::ProxyV2 => "HAProxy's server line must not have send-proxy or send-proxy-v2",
            Self::Text => "only HAProxy's SPOE filter speaks to this port",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http1 => "HTTP",
            Self::Http2 => "HTTP/2",
            Self::ProxyV1 => "the PROXY protocol, version 1",
            Self::ProxyV2 => "the PROXY protocol, version 2",
            Self::Text => "text",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_by_four_bytes_or_more() {
        for (first, foreign) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], Foreign::Tls),
            (b"\x15\x03\x03\x00\x02\x02\x28", Foreign::Tls),
            (b"GET /metrics HTTP/1.1\r\n", Foreign::Http1),
            (b"OPTIONS / HTTP/1.0\r\n", Foreign::Http1),
            (b"QUERY /x HTTP/1.1\r\n", Foreign::Http1),
            (b"HTTP/1.1 400 Bad Request\r\n", Foreign::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Foreign::Http2),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Foreign::ProxyV1),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Foreign::ProxyV2),
            (b"SSH-2.0-OpenSSH", Foreign::Text),
            (b"220 mail ESMTP\r\n", Foreign::Text),
        ] {
            for len in 4..first.len() {
                assert_eq!(Foreign::detect(&first[..len]), Some(foreign), "{:?}", String::from_utf8_lossy(first));
            }
        }
        for settings in [&b"\0\0\x12\x04\0\0\0\0\0\0\x04"[..], b"\0\0\0\x04\x01\0\0\0\0"] {
            assert_eq!(Foreign::detect(settings), Some(Foreign::Http2));
        }
    }

    #[test]
    fn spop_is_not_foreign() {
        // The lengths up to 16 MiB, with every type of frame.
        for len in (0..1 << 24).step_by(257) {
            for kind in [0, 1, 2, 3, 101, 102, 103] {
                let frame = [&u32::to_be_bytes(len)[..], &[kind, 0, 0, 0, 1, 0, 0]].concat();
                assert_eq!(Foreign::detect(&frame), None, "{frame:?}");
            }
        }
        for unknown in [&b""[..], b"\0\0", b"\x16", b"GE", b"\xff\xff\xff\xff", b"\0\0\x12\x04\0\0"] {
            assert_eq!(Foreign::detect(unknown), None, "{unknown:?}");
        }
    }
}
