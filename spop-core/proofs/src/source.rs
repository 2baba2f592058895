//! Values that the compiler knows nothing of.

use core::hint::black_box;
use core::net::{Ipv4Addr, Ipv6Addr};

use spop_core::{Capabilities, Flags, FrameId, FrameType, Header, Scope, Status, StreamId, Value, Version};

/// Takes values from the front of the input; zeros beyond its end.
pub struct Source<'a>(pub &'a [u8]);

impl<'a> Source<'a> {
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((array, rest)) => {
                self.0 = rest;
                *array
            }
            None => [0; N],
        }
    }

    pub fn bool(&mut self) -> bool {
        self.u8() & 1 != 0
    }

    pub fn u8(&mut self) -> u8 {
        u8::from_ne_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.array())
    }

    pub fn usize(&mut self) -> usize {
        self.u64() as usize
    }

    pub fn option(&mut self) -> Option<u64> {
        let value = self.u64();
        self.bool().then_some(value)
    }

    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.u8());
        let (bytes, rest) = self.0.split_at_checked(len).unwrap_or((self.0, &[]));
        self.0 = rest;
        bytes
    }

    /// The start of `memory`, of any length.
    pub fn part_of<'m>(&mut self, memory: &'m mut [u8]) -> &'m mut [u8] {
        let len = usize::from(u16::from_ne_bytes(self.array())).min(memory.len());
        black_box(memory.get_mut(..len).unwrap_or_default())
    }

    pub fn text(&mut self) -> &'a str {
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    pub fn ids(&mut self) -> (StreamId, FrameId) {
        (StreamId(self.u64()), FrameId(self.u64()))
    }

    pub fn header(&mut self) -> Header {
        let (stream_id, frame_id) = self.ids();
        Header { frame_type: FrameType(self.u8()), flags: Flags(self.u32()), stream_id, frame_id }
    }

    pub fn scope(&mut self) -> Scope {
        Scope::from_u8(self.u8()).unwrap_or(Scope::Session)
    }

    pub fn status(&mut self) -> Status {
        Status(self.u32())
    }

    pub fn version(&mut self) -> Version {
        Version { major: self.u32(), minor: self.u32() }
    }

    pub fn capabilities(&mut self) -> Capabilities {
        Capabilities::parse(self.bytes())
    }

    pub fn value(&mut self) -> Value<'a> {
        match self.u8() {
            0 => Value::Null,
            1 => Value::from(self.bool()),
            2 => Value::from(self.u32() as i32),
            3 => Value::from(self.u32()),
            4 => Value::from(self.u64() as i64),
            5 => Value::from(self.u64()),
            6 => Value::from(Ipv4Addr::from(self.array::<4>())),
            7 => Value::from(Ipv6Addr::from(self.array::<16>())),
            8 => Value::String(self.bytes()),
            9 => Value::Binary(self.bytes()),
            _ => Value::from(self.text()),
        }
    }
}

/// Makes the compiler believe that `value` is used.
pub fn touch<T>(value: T) {
    black_box(value);
}
