//! The payloads of HELLO and DISCONNECT, and the grammars in them.

use core::ffi::c_void;

use spop_core::{AgentHello, Capabilities, Disconnect, HaproxyHello, Version, supports_2_0};

use crate::error::{Code, SPOP_E_ARGUMENT, SPOP_E_VERSION, spop_error};
use crate::frame::spop_frame;
use crate::memory::{Out, input, run, shared, spop_bytes};

/// Capability `pipelining`: several NOTIFYs in flight on a connection, ACKs in any order.
pub const SPOP_CAP_PIPELINING: u32 = 1;
/// Capability `async`: ACKs on any connection of the same engine-id. HAProxy up to 3.0.
pub const SPOP_CAP_ASYNC: u32 = 2;
/// Capability `fragmentation`: a NOTIFY may come in fragments. HAProxy up to 3.0 sends such if the agent announces it.
pub const SPOP_CAP_FRAGMENTATION: u32 = 4;

const CAPABILITIES: [(u32, Capabilities); 3] = [
    (SPOP_CAP_PIPELINING, Capabilities::PIPELINING),
    (SPOP_CAP_ASYNC, Capabilities::ASYNC),
    (SPOP_CAP_FRAGMENTATION, Capabilities::FRAGMENTATION),
];

pub(crate) fn capabilities_from_bits(bits: u32) -> Result<Capabilities, Code> {
    let known = CAPABILITIES.iter().filter(|(bit, _)| bits & bit != 0);
    let set = known.fold(Capabilities::NONE, |set, &(_, capability)| set.union(capability));
    if capabilities_to_bits(set) == bits { Ok(set) } else { Err(Code(SPOP_E_ARGUMENT)) }
}

pub(crate) fn capabilities_to_bits(set: Capabilities) -> u32 {
    CAPABILITIES.iter().filter(|&&(_, capability)| set.contains(capability)).fold(0, |bits, &(bit, _)| bits | bit)
}

/// The payload of a HELLO. What the frame does not have is empty or 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_hello {
    /// HAPROXY-HELLO: `supported-versions`. AGENT-HELLO: `version`. As it came.
    pub versions: spop_bytes,
    /// HAPROXY-HELLO: `engine-id`, the same in all connections of an engine, new at every reload; `ptr` is NULL without.
    pub engine_id: spop_bytes,
    /// `max-frame-size`.
    pub max_frame_size: u32,
    /// `capabilities`, the known ones: SPOP_CAP_...
    pub capabilities: u32,
    /// HAPROXY-HELLO: `healthcheck`: HAProxy only wants to see the AGENT-HELLO.
    pub healthcheck: u32,
}

/// The payload of a DISCONNECT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_disconnect {
    /// 1 if there is a `status-code`.
    pub has_status: u32,
    /// `status-code`.
    pub status: u32,
    /// `message`; empty if it is missing.
    pub message: spop_bytes,
}

impl From<Disconnect<'_>> for spop_disconnect {
    fn from(disconnect: Disconnect<'_>) -> Self {
        spop_disconnect {
            has_status: disconnect.status.is_some().into(),
            status: disconnect.status.map_or(0, |status| status.0),
            message: disconnect.message.into(),
        }
    }
}

/// Reads the payload of a HAPROXY-HELLO into `*hello`, which then points into the frame. Keys in any order; unknown ones
/// are skipped, of a repeated one the last counts. The values are not judged.
///
/// SPOP_E_EMPTY_KEY, SPOP_E_VALUE_TYPE, the errors of the list; then, in this order, SPOP_E_NO_VERSION,
/// SPOP_E_NO_MAX_FRAME_SIZE, SPOP_E_NO_CAPABILITIES.
#[no_mangle]
pub unsafe extern "C" fn spop_haproxy_hello_parse(frame: *const spop_frame, hello: *mut spop_hello) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (frame, out) = unsafe { (shared(frame)?.to_core()?, Out::new(hello)?) };
        let hello = HaproxyHello::parse(&frame)?;
        out.set(spop_hello {
            versions: hello.supported_versions.into(),
            engine_id: hello.engine_id.map_or(spop_bytes::NONE, spop_bytes::from),
            max_frame_size: hello.max_frame_size,
            capabilities: capabilities_to_bits(hello.capabilities),
            healthcheck: hello.healthcheck.into(),
        });
        Ok(())
    })
}

/// Reads the payload of an AGENT-HELLO, as spop_haproxy_hello_parse().
#[no_mangle]
pub unsafe extern "C" fn spop_agent_hello_parse(frame: *const spop_frame, hello: *mut spop_hello) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (frame, out) = unsafe { (shared(frame)?.to_core()?, Out::new(hello)?) };
        let hello = AgentHello::parse(&frame)?;
        out.set(spop_hello {
            versions: hello.version.into(),
            engine_id: spop_bytes::NONE,
            max_frame_size: hello.max_frame_size,
            capabilities: capabilities_to_bits(hello.capabilities),
            healthcheck: 0,
        });
        Ok(())
    })
}

/// Reads the payload of a DISCONNECT of either side into `*disconnect`, which then points into the frame.
///
/// SPOP_E_EMPTY_KEY, SPOP_E_VALUE_TYPE, the errors of the list.
#[no_mangle]
pub unsafe extern "C" fn spop_disconnect_parse(
    frame: *const spop_frame,
    disconnect: *mut spop_disconnect,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (frame, out) = unsafe { (shared(frame)?.to_core()?, Out::new(disconnect)?) };
        out.set(Disconnect::parse(&frame)?.into());
        Ok(())
    })
}

/// Reads the text of a `capabilities` value into `*capabilities` (SPOP_CAP_...). Unknown items are ignored.
#[no_mangle]
pub unsafe extern "C" fn spop_capabilities_parse(
    text: *const c_void,
    len: usize,
    capabilities: *mut u32,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (text, out) = unsafe { (input(text, len)?, Out::new(capabilities)?) };
        out.set(capabilities_to_bits(Capabilities::parse(text)));
        Ok(())
    })
}

/// Reads the text of a `version` value. SPOP_E_VERSION if it is none.
#[no_mangle]
pub unsafe extern "C" fn spop_version_parse(
    text: *const c_void,
    len: usize,
    major: *mut u32,
    minor: *mut u32,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (text, major, minor) = unsafe { (input(text, len)?, Out::new(major)?, Out::new(minor)?) };
        let version = Version::parse(text).ok_or(Code(SPOP_E_VERSION))?;
        major.set(version.major);
        minor.set(version.minor);
        Ok(())
    })
}

/// Judges the text of a `supported-versions` value: SPOP_OK if it offers 2.0, the version of this library, else
/// SPOP_E_VERSION.
#[no_mangle]
pub unsafe extern "C" fn spop_versions_check(text: *const c_void, len: usize) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let text = unsafe { input(text, len)? };
        if supports_2_0(text) { Ok(()) } else { Err(Code(SPOP_E_VERSION)) }
    })
}
