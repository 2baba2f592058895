//! Feature `heapless`: lists, owned messages and reassembly in containers of fixed capacity. Needs Rust 1.87.
//!
//! ```
//! use spop_core::heapless::{collect, CollectError, Vec};
//! use spop_core::{Kv, Messages};
//!
//! let mut messages = Messages::new(b"\x05check\x02\x02ip\x06\xc0\0\x02\x11\x04port\x04\x50");
//! let message = messages.next().expect("one message")?;
//! let args: Vec<Kv, 4> = collect(message.args()).expect("no more than four");
//! assert_eq!(args[1].key, b"port");
//! assert_eq!(collect::<_, 1>(message.args()), Err(CollectError::Full { capacity: 1 }));
//! # Ok::<(), spop_core::DecodeError>(())
//! ```

use core::fmt;

pub use ::heapless::Vec;

use crate::error::DecodeError;
use crate::frame::{FrameId, Messages, StreamId};
use crate::reassembly::{Reassembled, Reassembler};
use crate::valid;

/// Why a container of fixed capacity could not be filled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CollectError {
    /// The bytes are malformed.
    Malformed(DecodeError),
    /// There is more than fits.
    Full {
        /// The capacity, in entries or bytes.
        capacity: usize,
    },
}

impl From<DecodeError> for CollectError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Full { capacity } => write!(f, "more than the capacity of {capacity}"),
        }
    }
}

impl core::error::Error for CollectError {}

/// All of a [`KvList`](crate::KvList), of [`Args`](crate::Args), [`Messages`] or [`Actions`](crate::Actions).
///
/// # Errors
/// The first error of the list; [`CollectError::Full`] if it has more than `N` entries.
pub fn collect<T, const N: usize>(
    list: impl IntoIterator<Item = Result<T, DecodeError>>,
) -> Result<Vec<T, N>, CollectError> {
    let mut all = Vec::new();
    for entry in list {
        all.push(entry?).map_err(|_| CollectError::Full { capacity: N })?;
    }
    Ok(all)
}

/// Messages that own their bytes, to be kept longer than the input: the payload of a NOTIFY of at most `N` bytes,
/// known to be well-formed.
///
/// ```
/// use spop_core::heapless::OwnedMessages;
///
/// let owned = OwnedMessages::<64>::new(b"\x05check\x01\x02ip\x06\xc0\0\x02\x11")?;
/// assert_eq!(owned.messages().next().map(|message| message.name), Some(&b"check"[..]));
/// # Ok::<(), spop_core::heapless::CollectError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedMessages<const N: usize> {
    payload: Vec<u8, N>,
    /// How many messages there are.
    len: usize,
}

impl<const N: usize> OwnedMessages<N> {
    /// A copy of a payload, such as [`Notify::payload`](crate::Notify::payload).
    ///
    /// # Errors
    /// The first error of the payload; [`CollectError::Full`] if it has more than `N` bytes.
    pub fn new(payload: &[u8]) -> Result<Self, CollectError> {
        let len = Messages::new(payload).validate()?.len();
        let payload = Vec::from_slice(payload).map_err(|_| CollectError::Full { capacity: N })?;
        Ok(Self { payload, len })
    }

    /// The messages.
    pub fn messages(&self) -> valid::Messages<'_> {
        valid::Messages::kept(&self.payload, self.len)
    }
}

/// A [`Reassembler`] with its own memory of `N` bytes.
#[derive(Clone, Debug)]
pub struct ReassemblyBuffer<const N: usize> {
    reassembler: Reassembler,
    memory: [u8; N],
}

impl<const N: usize> ReassemblyBuffer<N> {
    /// Nothing gathered yet; at most `max_fragments` fragments for each NOTIFY.
    pub const fn new(max_fragments: u32) -> Self {
        Self { reassembler: Reassembler::new(max_fragments), memory: [0; N] }
    }

    /// Is this the NOTIFY that is in progress?
    pub fn is_open(&self, ids: (StreamId, FrameId)) -> bool {
        self.reassembler.is_open(ids)
    }

    /// Begins a NOTIFY with its first fragment; what was in progress is dropped.
    pub fn start(&mut self, ids: (StreamId, FrameId), fragment: &[u8]) {
        self.reassembler.start(ids, fragment, &mut self.memory);
    }

    /// Adds a fragment to the NOTIFY in progress; without one, nothing happens.
    pub fn push(&mut self, fragment: &[u8]) {
        self.reassembler.push(fragment, &mut self.memory);
    }

    /// Ends the NOTIFY in progress: its messages; without one, none.
    ///
    /// # Errors
    /// [`CollectError::Full`] if it had more than `N` bytes or too many fragments.
    pub fn finish(&mut self) -> Result<Messages<'_>, CollectError> {
        match self.reassembler.finish() {
            Reassembled::Whole(len) => Ok(Messages::new(self.memory.get(..len).unwrap_or_default())),
            Reassembled::TooBig => Err(CollectError::Full { capacity: N }),
        }
    }

    /// Drops the NOTIFY in progress.
    pub fn abort(&mut self) {
        self.reassembler.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DecodeReason;

    const PAYLOAD: &[u8] = b"\x01a\x01\x01k\x04\x07\x01b\0";
    const IDS: (StreamId, FrameId) = (StreamId(5), FrameId(7));

    #[test]
    fn a_list_fills_its_capacity_and_no_more() {
        let names = |messages: &[crate::Message<'_>]| (messages[0].name[0], messages[1].name[0]);
        let exact: Vec<_, 2> = collect(Messages::new(PAYLOAD)).expect("two fit");
        assert_eq!(names(&exact), (b'a', b'b'));
        assert_eq!(collect::<_, 1>(Messages::new(PAYLOAD)).err(), Some(CollectError::Full { capacity: 1 }));
        let cut = collect::<_, 2>(Messages::new(&PAYLOAD[..6])).err();
        assert!(matches!(cut, Some(CollectError::Malformed(e)) if e.reason == DecodeReason::Truncated));
    }

    #[test]
    fn owned_messages_are_whole_and_valid() {
        let owned = OwnedMessages::<10>::new(PAYLOAD).expect("it fits");
        assert_eq!(owned.messages().map(|message| message.args().count()).collect::<Vec<_, 3>>(), [1, 0]);
        assert_eq!(OwnedMessages::<9>::new(PAYLOAD), Err(CollectError::Full { capacity: 9 }));
        assert!(matches!(OwnedMessages::<10>::new(&PAYLOAD[..4]), Err(CollectError::Malformed(_))));
    }

    #[test]
    fn fragments_come_together_within_the_bounds() {
        let mut buffer = ReassemblyBuffer::<10>::new(2);
        buffer.start(IDS, &PAYLOAD[..3]);
        assert!(buffer.is_open(IDS) && !buffer.is_open((IDS.0, FrameId(8))));
        buffer.push(&PAYLOAD[3..]);
        assert_eq!(buffer.finish().expect("it fits").count(), 2);

        buffer.start(IDS, PAYLOAD);
        buffer.push(b"x");
        assert_eq!(buffer.finish().err(), Some(CollectError::Full { capacity: 10 }));

        buffer.start(IDS, PAYLOAD);
        buffer.abort();
        assert!(!buffer.is_open(IDS));
        assert_eq!(buffer.finish().expect("nothing is in progress").count(), 0);
    }
}
