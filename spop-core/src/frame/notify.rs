//! The payload of NOTIFY: a list of messages (SPOE.txt, sections 3.1 and 3.2.6).

use crate::error::DecodeError;
use crate::kv::Args;
use crate::reader::Reader;
use crate::value::Value;

/// A message with its arguments.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The name, as in the `spoe-message` line of HAProxy's configuration.
    pub name: &'a [u8],
    /// The arguments, in the order of the configuration; keys may be empty or come twice.
    pub args: Args<'a>,
}

impl<'a> Message<'a> {
    /// The arguments again from the first one.
    pub fn args(&self) -> Args<'a> {
        self.args.clone()
    }

    /// The value of the first argument of that name; `None` if there is none.
    ///
    /// # Errors
    /// Those of the arguments before it.
    pub fn arg(&self, name: impl AsRef<[u8]>) -> Result<Option<Value<'a>>, DecodeError> {
        let name = name.as_ref();
        for kv in self.args() {
            let kv = kv?;
            if kv.key == name {
                return Ok(Some(kv.value));
            }
        }
        Ok(None)
    }

    /// The name as text, if it is UTF-8.
    pub fn name_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.name).ok()
    }
}

/// The messages of a NOTIFY, to the end of the payload. The list may be empty.
///
/// A fused iterator: after an error it ends. A broken argument shows both in its message's arguments and here, at the
/// next message, so that a walk over the messages alone, [`validate`](Self::validate), finds every error.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    /// The arguments of the last message, passed over when the next one is asked for.
    pending: Args<'a>,
}

impl<'a> Messages<'a> {
    /// The messages in `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Messages::at(Reader::new(payload))
    }

    pub(crate) const fn at(reader: Reader<'a>) -> Self {
        Messages::after(Args::at(reader, 0))
    }

    /// The messages that follow these arguments: goes on where another walk stopped.
    pub const fn after(args: Args<'a>) -> Self {
        Messages { pending: args }
    }

    /// The arguments of the last message, all of them; the next message follows.
    pub fn pending(&self) -> Args<'a> {
        self.pending.clone()
    }

    /// All bytes, of an iterator that has not begun.
    pub(crate) const fn unread(&self) -> &'a [u8] {
        self.pending.reader().remaining()
    }

    /// Walks to the end; the number of messages.
    ///
    /// # Errors
    /// The first error of the payload.
    pub fn validate(self) -> Result<usize, DecodeError> {
        let mut count = 0;
        for message in self {
            message?;
            count += 1;
        }
        Ok(count)
    }

    #[inline]
    fn step(&mut self) -> Result<Option<Message<'a>>, DecodeError> {
        let mut reader = self.pending.clone().skip_all()?;
        if reader.is_empty() {
            self.pending = Args::at(reader, 0);
            return Ok(None);
        }
        let name = reader.string()?;
        let count = reader.u8()?;
        self.pending = Args::at(reader, count);
        Ok(Some(Message { name, args: self.pending.clone() }))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.pending = Args::at(Reader::new(&[]), 0);
        }
        step.transpose()
    }
}

impl core::iter::FusedIterator for Messages<'_> {}
