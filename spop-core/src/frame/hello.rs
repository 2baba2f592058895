//! Both HELLO frames (SPOE.txt, sections 3.2.4 and 3.2.5).

use super::Frame;
use super::capabilities::Capabilities;
use super::encoder::FrameEncoder;
use super::header::{FrameId, FrameType, Header, StreamId};
use super::version::Version;
use crate::error::{DecodeError, DecodeReason, EncodeError};
use crate::value::Value;
use crate::writer::Writer;

/// The known keys of both HELLOs, as far as they are there.
#[derive(Default)]
struct Keys<'a> {
    version: Option<&'a [u8]>,
    max_frame_size: Option<u32>,
    capabilities: Option<&'a [u8]>,
    healthcheck: bool,
    engine_id: Option<&'a [u8]>,
}

impl<'a> Keys<'a> {
    fn parse(frame: &Frame<'a>, version_key: &[u8]) -> Result<Self, DecodeError> {
        let mut keys = Keys::default();
        let mut list = frame.kv();
        let mut at = list.reader().offset();
        while let Some(kv) = list.next() {
            let kv = kv?;
            let wrong_type = Err(DecodeError::new(DecodeReason::WrongValueType, at));
            match (kv.key, kv.value) {
                (b"", _) => return Err(DecodeError::new(DecodeReason::EmptyKey, at)),
                (key, Value::String(text)) if key == version_key => keys.version = Some(text),
                (key, _) if key == version_key => return wrong_type,
                (b"max-frame-size", value) => match value.as_integer() {
                    // What u32 cannot hold is refused or capped by whoever judges the size.
                    Some(size) => keys.max_frame_size = Some(size.clamp(0, u32::MAX as i128) as u32),
                    None => return wrong_type,
                },
                (b"capabilities", Value::String(text)) => keys.capabilities = Some(text),
                (b"capabilities", _) => return wrong_type,
                (b"healthcheck", Value::Bool(flag)) => keys.healthcheck = flag,
                (b"healthcheck", _) => return wrong_type,
                (b"engine-id", Value::String(text)) => keys.engine_id = Some(text),
                (b"engine-id", _) => return wrong_type,
                _ => {}
            }
            at = list.reader().offset();
        }
        Ok(keys)
    }

    fn version(&self) -> Result<&'a [u8], DecodeError> {
        self.version.ok_or(DecodeError::new(DecodeReason::MissingVersion, 0))
    }

    fn max_frame_size(&self) -> Result<u32, DecodeError> {
        self.max_frame_size.ok_or(DecodeError::new(DecodeReason::MissingMaxFrameSize, 0))
    }

    fn capabilities(&self) -> Result<&'a [u8], DecodeError> {
        self.capabilities.ok_or(DecodeError::new(DecodeReason::MissingCapabilities, 0))
    }
}

/// The payload of HAPROXY-HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct HaproxyHello<'a> {
    /// `supported-versions`, as it came; see [`supports_2_0`](crate::supports_2_0).
    pub supported_versions: &'a [u8],
    /// `max-frame-size`: the largest frame body that HAProxy takes and sends, in bytes.
    pub max_frame_size: u32,
    /// `capabilities`, the known ones.
    pub capabilities: Capabilities,
    /// `healthcheck`: HAProxy only wants to see the AGENT-HELLO.
    pub healthcheck: bool,
    /// `engine-id`: the same in all connections of an engine; opaque, new at every reload of HAProxy.
    pub engine_id: Option<&'a [u8]>,
}

impl<'a> HaproxyHello<'a> {
    /// Reads the payload. Keys in any order; unknown ones are skipped, of a repeated one the last counts.
    ///
    /// # Errors
    /// Status 4: a malformed list, an empty key, a value of the wrong type. Then, in this order, 5, 6 and 7 for a
    /// missing version list, size and capabilities. The values are not judged.
    pub fn parse(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let keys = Keys::parse(frame, b"supported-versions")?;
        Ok(HaproxyHello {
            supported_versions: keys.version()?,
            max_frame_size: keys.max_frame_size()?,
            capabilities: Capabilities::parse(keys.capabilities()?),
            healthcheck: keys.healthcheck,
            engine_id: keys.engine_id,
        })
    }
}

/// The payload of AGENT-HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct AgentHello<'a> {
    /// `version`, as it came; see [`Version::parse`].
    pub version: &'a [u8],
    /// `max-frame-size`: the size for both directions from now on.
    pub max_frame_size: u32,
    /// `capabilities`, the known ones.
    pub capabilities: Capabilities,
}

impl<'a> AgentHello<'a> {
    /// Reads the payload, as [`HaproxyHello::parse`].
    ///
    /// # Errors
    /// As [`HaproxyHello::parse`].
    pub fn parse(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let keys = Keys::parse(frame, b"version")?;
        Ok(AgentHello {
            version: keys.version()?,
            max_frame_size: keys.max_frame_size()?,
            capabilities: Capabilities::parse(keys.capabilities()?),
        })
    }
}

/// A HELLO of either side. Each method adds one key; HAProxy wants the keys of its peer's HELLO all there, in any order.
#[derive(Debug)]
#[must_use = "finish it: without its length nothing can be sent"]
pub struct HelloEncoder<'b> {
    frame: FrameEncoder<'b>,
}

impl<'b> HelloEncoder<'b> {
    /// Begins an AGENT-HELLO.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`]; so in all methods here.
    pub fn agent(buf: &'b mut [u8], max_frame_size: u32) -> Result<Self, EncodeError> {
        Self::new(buf, max_frame_size, FrameType::AGENT_HELLO)
    }

    /// Begins a HAPROXY-HELLO.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn haproxy(buf: &'b mut [u8], max_frame_size: u32) -> Result<Self, EncodeError> {
        Self::new(buf, max_frame_size, FrameType::HAPROXY_HELLO)
    }

    fn new(buf: &'b mut [u8], max_frame_size: u32, frame_type: FrameType) -> Result<Self, EncodeError> {
        let header = Header::new(frame_type, StreamId(0), FrameId(0));
        Ok(HelloEncoder { frame: FrameEncoder::new(buf, max_frame_size, header)? })
    }

    /// Goes on with a HELLO.
    pub(crate) const fn resume(frame: FrameEncoder<'b>) -> Self {
        HelloEncoder { frame }
    }

    /// The bytes that still fit.
    pub const fn room(&self) -> usize {
        self.frame.writer.room()
    }

    /// Adds `version` (agent).
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn version(&mut self, version: Version) -> Result<(), EncodeError> {
        self.version_key(b"version", version)
    }

    /// Adds `supported-versions` (HAProxy) with one version.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn supported_versions(&mut self, version: Version) -> Result<(), EncodeError> {
        self.version_key(b"supported-versions", version)
    }

    fn version_key(&mut self, key: &[u8], version: Version) -> Result<(), EncodeError> {
        let mut text = [0; 21];
        let mut w = Writer::new(&mut text);
        decimal(&mut w, version.major)?;
        w.u8(b'.')?;
        decimal(&mut w, version.minor)?;
        let len = w.len();
        self.kv(key, Value::String(text.get(..len).unwrap_or_default()))
    }

    /// Adds `max-frame-size`.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn max_frame_size(&mut self, size: u32) -> Result<(), EncodeError> {
        self.kv(b"max-frame-size", Value::UInt32(size))
    }

    /// Adds `capabilities`, in the order pipelining, async, fragmentation.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn capabilities(&mut self, capabilities: Capabilities) -> Result<(), EncodeError> {
        let mut text = [0; 32];
        let mut w = Writer::new(&mut text);
        for name in capabilities.names() {
            if !w.is_empty() {
                w.u8(b',')?;
            }
            w.bytes(name.as_bytes())?;
        }
        let len = w.len();
        self.kv(b"capabilities", Value::String(text.get(..len).unwrap_or_default()))
    }

    /// Adds `healthcheck` (HAProxy).
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn healthcheck(&mut self, healthcheck: bool) -> Result<(), EncodeError> {
        self.kv(b"healthcheck", Value::Bool(healthcheck))
    }

    /// Adds `engine-id` (HAProxy).
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn engine_id(&mut self, id: impl AsRef<[u8]>) -> Result<(), EncodeError> {
        self.kv("engine-id", Value::String(id.as_ref()))
    }

    /// Adds any key. An agent must not send a key that begins with a known one: HAProxy compares prefixes.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn kv<'v>(&mut self, key: impl AsRef<[u8]>, value: impl Into<Value<'v>>) -> Result<(), EncodeError> {
        self.frame.writer.kv(key, value)
    }

    /// Completes the frame; its length, prefix included.
    #[must_use]
    pub fn finish(self) -> usize {
        self.frame.finish()
    }
}

fn decimal(w: &mut Writer<'_>, number: u32) -> Result<(), EncodeError> {
    let mut divisor: u32 = 1_000_000_000;
    let mut started = false;
    loop {
        let digit = number.checked_div(divisor).unwrap_or(0) % 10;
        started |= digit != 0 || divisor == 1;
        if started {
            w.u8(b'0' + digit as u8)?;
        }
        if divisor == 1 {
            return Ok(());
        }
        divisor /= 10;
    }
}
