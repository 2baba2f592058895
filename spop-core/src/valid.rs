//! The messages of a NOTIFY whose payload was parsed to its end: no error comes up in them, so that these iterators give
//! the messages and arguments themselves.
//!
//! A [`Notify`](crate::Notify) has them; of bytes from elsewhere they come by [`validate`](crate::Messages::validate).
//!
//! ```
//! use spop_core::{Messages, Value};
//!
//! let messages = Messages::new(b"\x05check\x02\x02ip\x06\xc0\0\x02\x11\x04port\x04\x50").validate()?;
//! for message in messages {
//!     assert_eq!(message.name, b"check");
//!     assert_eq!(message.arg("port"), Some(Value::Int64(80)));
//! }
//! # Ok::<(), spop_core::DecodeError>(())
//! ```

use core::iter::FusedIterator;

use crate::kv::{Kv, skip};
use crate::value::Value;
use crate::varint;

/// The messages of a NOTIFY, in the order of HAProxy's configuration. The list may be empty.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    /// What was not walked yet: the arguments of the last message, then further messages.
    rest: &'a [u8],
    /// How many arguments of the last message there are; they are passed over when the next message is asked for.
    args: usize,
    /// How many messages follow.
    left: usize,
}

impl<'a> Messages<'a> {
    /// The messages in `payload`; `None` if anything in it is malformed.
    #[inline]
    pub(crate) fn parse(payload: &'a [u8]) -> Option<Self> {
        let (mut at, mut count) = (0, 0);
        while at < payload.len() {
            at = varint::skip_string(payload, at)?;
            let args = usize::from(*payload.get(at)?);
            at = skip(payload, at + 1, args)?;
            count += 1;
        }
        (at == payload.len()).then_some(Self::kept(payload, count))
    }

    /// The messages of a payload that was kept, and of which there were `len` when it was valid. With any other bytes or
    /// number the list, or the arguments of a message, are cut short.
    #[inline]
    pub const fn kept(payload: &'a [u8], len: usize) -> Self {
        Self { rest: payload, args: 0, left: len }
    }

    /// All the bytes, as long as no message was taken.
    pub(crate) const fn payload(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Message<'a>> {
        // Behind the last message nobody asks for more, so that its arguments are not passed over.
        self.left = self.left.checked_sub(1)?;
        let mut rest = match self.args {
            0 => self.rest,
            args => behind(self.rest, args)?,
        };
        let name = varint::take_string(&mut rest)?;
        let (&args, rest) = rest.split_first()?;
        (self.rest, self.args) = (rest, usize::from(args));
        Some(Message { name, args: Args { rest, left: self.args } })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// What follows `args` arguments. Out of line, since most NOTIFYs have one message only.
#[inline(never)]
fn behind(bytes: &[u8], args: usize) -> Option<&[u8]> {
    bytes.get(skip(bytes, 0, args)?..)
}

impl ExactSizeIterator for Messages<'_> {}
impl FusedIterator for Messages<'_> {}

/// A message with its arguments.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The name, as in the `spoe-message` line of HAProxy's configuration.
    pub name: &'a [u8],
    args: Args<'a>,
}

impl<'a> Message<'a> {
    /// The arguments, in the order of the configuration; keys may be empty or come twice.
    #[inline]
    pub fn args(&self) -> Args<'a> {
        self.args.clone()
    }

    /// The value of the first argument of that name; `None` if there is none.
    #[inline]
    pub fn arg(&self, name: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let name = name.as_ref();
        self.args().find(|arg| arg.key == name).map(|arg| arg.value)
    }

    /// The name as text, if it is UTF-8.
    pub fn name_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.name).ok()
    }
}

/// The arguments of a message.
#[derive(Clone, Debug)]
pub struct Args<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Args<'a> {
    /// The value of the next argument if that has no name; else it stays the next one.
    ///
    /// ```
    /// # use spop_core::{Messages, Value};
    /// let mut messages = Messages::new(b"\x01m\x03\x03tag\x08\x01a\0\x11\x03log\0").validate()?;
    /// let mut args = messages.next().unwrap().args();
    /// assert_eq!(args.next_unnamed(), None);
    /// assert_eq!(args.next().unwrap().key, b"tag");
    /// assert_eq!(args.next_unnamed(), Some(Value::Bool(true)));
    /// assert_eq!(args.next_unnamed(), None);
    /// assert_eq!(args.next().unwrap().key, b"log");
    /// assert_eq!((args.next_unnamed(), args.next()), (None, None));
    /// # Ok::<(), spop_core::DecodeError>(())
    /// ```
    #[inline(always)]
    pub fn next_unnamed(&mut self) -> Option<Value<'a>> {
        let left = self.left.checked_sub(1)?;
        // The length of an empty name.
        let (0, rest) = self.rest.split_first()? else { return None };
        (self.rest, self.left) = (rest, left);
        take_value(&mut self.rest)
    }
}

/// Out of line: that there is none is asked for more often.
#[inline(never)]
fn take_value<'a>(bytes: &mut &'a [u8]) -> Option<Value<'a>> {
    Value::take(bytes)
}

impl<'a> Iterator for Args<'a> {
    type Item = Kv<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Kv<'a>> {
        self.left = self.left.checked_sub(1)?;
        Kv::take(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Args<'_> {}
impl FusedIterator for Args<'_> {}
