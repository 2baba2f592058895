//! IPv4 addresses as text.

use std::net::Ipv4Addr;

/// The longest text, `255.255.255.255`.
pub(crate) type Buffer = [u8; 15];

/// The text of an address.
pub(crate) fn text(ip: Ipv4Addr, out: &mut Buffer) -> &str {
    std::str::from_utf8(ascii(ip, out)).unwrap_or_default()
}

/// Its bytes. Nearly every request has such an address: `Display` takes several times as long.
pub(crate) fn ascii(ip: Ipv4Addr, out: &mut Buffer) -> &[u8] {
    let mut len = 0;
    let mut push = |byte| {
        if let Some(slot) = out.get_mut(len) {
            *slot = byte;
            len += 1;
        }
    };
    for (at, octet) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    out.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_the_standard_library_writes_them() {
        for octet in 0..=255 {
            let ip = Ipv4Addr::new(octet, 255 - octet, octet / 2, octet.wrapping_mul(7));
            assert_eq!(text(ip, &mut [0; 15]), ip.to_string());
        }
    }
}
