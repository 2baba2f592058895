//! The messages of a NOTIFY as handlers see them. The runtime has validated them to their end before, so that nothing here
//! gives an error: the iterators would stop at one.

use std::iter::FusedIterator;

use spop_core::{Kv, Value};

/// The messages of a NOTIFY, in the order of HAProxy's configuration.
#[derive(Clone, Debug)]
pub struct Messages<'a>(spop_core::Messages<'a>);

impl<'a> Messages<'a> {
    pub(crate) const fn validated(payload: &'a [u8]) -> Self {
        Self(spop_core::Messages::new(payload))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    #[inline]
    fn next(&mut self) -> Option<Message<'a>> {
        let message = self.0.next()?.ok()?;
        Some(Message { name: message.name, args: message.args })
    }
}

impl FusedIterator for Messages<'_> {}

/// A message with its arguments.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The name, as in the `spoe-message` line of HAProxy's configuration.
    pub name: &'a [u8],
    args: spop_core::Args<'a>,
}

impl<'a> Message<'a> {
    /// The name as text, if it is UTF-8.
    pub fn name_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.name).ok()
    }

    /// The value of the first argument of that name; `None` if there is none.
    #[inline]
    pub fn arg(&self, name: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let name = name.as_ref();
        self.args().find(|arg| arg.key == name).map(|arg| arg.value)
    }

    /// The arguments, in the order of the configuration; keys may be empty or come twice.
    #[inline]
    pub fn args(&self) -> Args<'a> {
        Args(self.args.clone())
    }
}

/// The arguments of a message.
#[derive(Clone, Debug)]
pub struct Args<'a>(spop_core::Args<'a>);

impl<'a> Iterator for Args<'a> {
    type Item = Kv<'a>;

    #[inline]
    fn next(&mut self) -> Option<Kv<'a>> {
        self.0.next()?.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl ExactSizeIterator for Args<'_> {}
impl FusedIterator for Args<'_> {}
