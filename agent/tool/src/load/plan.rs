//! What every connection of a run does.

use spop_agent::addr::Addr;
use spop_core::{ClientConfig, EncodeError};

use crate::expect::Expected;
use crate::message::{self, OwnedMessage};
use crate::tls::Tls;

/// The same for all connections.
pub(super) struct Plan {
    pub(super) addr: Addr,
    pub(super) tls: Option<Tls>,
    pub(super) config: ClientConfig,
    pub(super) payload: Payload,
    pub(super) expected: Vec<Expected>,
    /// Most NOTIFYs in flight on a connection.
    pub(super) in_flight: usize,
    /// Nanoseconds that an answer may take.
    pub(super) timeout: u64,
    /// Nanoseconds after which nothing more is sent.
    pub(super) end: Option<u64>,
}

/// Encoded messages, with places for numbers.
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    places: Vec<usize>,
}

/// What stands for a number in a string.
const PLACEHOLDER: &str = "{seq}";
/// Hex digits of a number.
const DIGITS: usize = 16;

impl Payload {
    pub(super) fn new(messages: &[OwnedMessage]) -> Result<Self, EncodeError> {
        // The places are where two encodings with different numbers differ.
        let encode = |digit: &str| {
            let number = digit.repeat(DIGITS);
            let filled: Vec<_> = messages.iter().map(|m| m.replace(PLACEHOLDER, &number)).collect();
            message::encode_all(&filled)
        };
        let (bytes, other) = (encode("0")?, encode("1")?);
        let differ: Vec<usize> = (0..bytes.len()).filter(|&at| bytes.get(at) != other.get(at)).collect();
        Ok(Payload { bytes, places: differ.chunks_exact(DIGITS).filter_map(|run| run.first().copied()).collect() })
    }

    /// Writes `number` to its places in a copy of the bytes.
    pub(super) fn number(&self, copy: &mut [u8], number: u64) {
        for &place in &self.places {
            if let Some(slot) = copy.get_mut(place..place + DIGITS) {
                for (n, digit) in slot.iter_mut().rev().enumerate() {
                    let nibble = (number >> (4 * n)) as u32 & 0xF;
                    *digit = char::from_digit(nibble, 16).map_or(b'0', |c| c as u8);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn numbers_stand_where_the_placeholders_were() {
        let words: Vec<OsString> = ["m", "id=string:a{seq}{seq}b", "x=string:{seq}", "y=string:n", "z=int64:5"]
            .iter()
            .map(OsString::from)
            .collect();
        let payload = Payload::new(&message::parse_all(&words, &[]).unwrap()).unwrap();
        let mut copy = payload.bytes.clone();
        payload.number(&mut copy, 0x0123_4567_89ab_cdef);
        let message = spop_core::Messages::new(&copy).next().unwrap().unwrap();
        let value = |key: &str| message.arg(key).unwrap().unwrap().as_str().map(str::to_owned);
        assert_eq!(value("id").as_deref(), Some("a0123456789abcdef0123456789abcdefb"));
        assert_eq!(value("x").as_deref(), Some("0123456789abcdef"));
        assert_eq!(value("y").as_deref(), Some("n"));
        assert_eq!(copy.len(), payload.bytes.len());
    }
}
