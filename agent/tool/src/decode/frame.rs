//! A frame taken apart, as far as it goes, and put together again.

use spop_core::{
    Action, DecodeError, EncodeError, Frame, FrameEncoder, FrameType, Header, Kv, Messages, NotifyEncoder, PREFIX_LEN,
};

/// A frame with every field. What came before an error is kept.
pub(crate) struct Decoded<'a> {
    pub(crate) header: Header,
    pub(crate) body: Body<'a>,
    pub(crate) error: Option<DecodeError>,
}

/// What a payload holds, by the type of its frame.
pub(crate) enum Body<'a> {
    Keys(Vec<Kv<'a>>),
    Messages(Vec<Message<'a>>),
    Actions(Vec<Action<'a>>),
    /// A piece of a payload.
    Fragment(&'a [u8]),
    /// The payload of a frame of unknown type.
    Unknown(&'a [u8]),
}

/// A message with its arguments.
pub(crate) struct Message<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) args: Vec<Kv<'a>>,
}

impl<'a> Decoded<'a> {
    /// Decodes a frame without its prefix.
    ///
    /// # Errors
    /// The header is malformed.
    pub(crate) fn new(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let frame = Frame::decode(frame)?;
        let header = frame.header;
        let (body, error) = match header.frame_type {
            FrameType::UNSET => (Body::Fragment(frame.payload), None),
            FrameType::NOTIFY | FrameType::ACK if !header.flags.fin() => (Body::Fragment(frame.payload), None),
            FrameType::NOTIFY => {
                let (messages, error) = messages(frame.messages());
                (Body::Messages(messages), error)
            }
            FrameType::ACK => {
                let (actions, error) = until_error(frame.actions());
                (Body::Actions(actions), error)
            }
            kind if kind.name().is_some() => {
                let (keys, error) = until_error(frame.kv());
                (Body::Keys(keys), error)
            }
            _ => (Body::Unknown(frame.payload), None),
        };
        Ok(Decoded { header, body, error })
    }

    /// Decodes a payload that was put together from fragments, under the header of the first one.
    pub(crate) fn reassembled(header: Header, payload: &'a [u8]) -> Self {
        let (messages, error) = messages(Messages::new(payload));
        Decoded { header, body: Body::Messages(messages), error }
    }

    /// Encodes it again into `len` bytes at most, prefix included.
    ///
    /// # Errors
    /// It needs more room.
    pub(crate) fn encode(&self, len: usize) -> Result<Vec<u8>, EncodeError> {
        let mut buf = vec![0; len];
        let mut frame = FrameEncoder::new(&mut buf, u32::MAX, self.header)?;
        let w = frame.payload();
        match &self.body {
            Body::Keys(keys) => keys.iter().try_for_each(|kv| w.kv(kv.key, kv.value))?,
            Body::Messages(list) => w.bytes(&encode_messages(list, len)?)?,
            Body::Actions(actions) => actions.iter().try_for_each(|action| match action {
                Action::SetVar { scope, name, value } => w.set_var(*scope, name, value),
                Action::UnsetVar { scope, name } => w.unset_var(*scope, name),
            })?,
            Body::Fragment(bytes) | Body::Unknown(bytes) => w.bytes(bytes)?,
        }
        let len = frame.finish();
        buf.truncate(len);
        Ok(buf)
    }
}

/// Messages without a frame around them, in `len` bytes at most.
pub(crate) fn encode_messages(messages: &[Message<'_>], len: usize) -> Result<Vec<u8>, EncodeError> {
    let mut buf = vec![0; len];
    let mut encoder = NotifyEncoder::payload(&mut buf);
    for message in messages {
        encoder.message(message.name)?;
        for kv in &message.args {
            encoder.arg(kv.key, kv.value)?;
        }
    }
    let len = encoder.finish();
    buf.truncate(len);
    Ok(buf)
}

fn until_error<T>(items: impl Iterator<Item = Result<T, DecodeError>>) -> (Vec<T>, Option<DecodeError>) {
    let mut good = Vec::new();
    for item in items {
        match item {
            Ok(item) => good.push(item),
            Err(error) => return (good, Some(error)),
        }
    }
    (good, None)
}

fn messages(list: Messages<'_>) -> (Vec<Message<'_>>, Option<DecodeError>) {
    let mut good = Vec::new();
    for message in list {
        match message {
            Ok(message) => {
                let (args, error) = until_error(message.args());
                good.push(Message { name: message.name, args });
                if error.is_some() {
                    return (good, error);
                }
            }
            Err(error) => return (good, Some(error)),
        }
    }
    (good, None)
}

/// Could a frame begin here? For finding the way back into a stream: `None` means that more bytes are needed to know, an error
/// how many bytes were decoded in vain. Without `deep` the header decides.
/// A continuation is of no use without its beginning, so UNSET does not count.
pub(crate) fn is_plausible(bytes: &[u8], max_frame_size: u32, deep: bool) -> Option<Result<(), usize>> {
    let total = match spop_core::peek_len(bytes, max_frame_size) {
        Ok(Some(total)) => total,
        Ok(None) => return None,
        Err(_) => return Some(Err(0)),
    };
    let kind = *bytes.get(PREFIX_LEN)?;
    if kind == FrameType::UNSET.0 || FrameType(kind).name().is_none() {
        return Some(Err(0));
    }
    // The three high bytes of the flags are reserved.
    let flags = bytes.get(PREFIX_LEN + 1..PREFIX_LEN + 5)?;
    if !matches!(flags, [0, 0, 0, 0..=3]) {
        return Some(Err(0));
    }
    let body = bytes.get(PREFIX_LEN..total)?;
    if !deep {
        return Some(Ok(()));
    }
    match Decoded::new(body) {
        Ok(Decoded { error: None, .. }) => Some(Ok(())),
        Ok(Decoded { error: Some(error), .. }) => Some(Err(error.offset)),
        Err(_) => Some(Err(0)),
    }
}
