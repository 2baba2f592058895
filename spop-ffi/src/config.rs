//! Structs with a size: the configurations and counters of both sides.

use core::ffi::c_void;
use core::mem::size_of;

use spop_core::{AgentConfig, AgentStats, Capabilities, ClientConfig, ClientStats, EngineId};

use crate::error::{Code, SPOP_E_ARGUMENT, SPOP_E_SIZE, spop_error};
use crate::frame::SPOP_MIN_MAX_FRAME_SIZE;
use crate::memory::{input, run, shared, spop_bytes};
use crate::payload::{capabilities_from_bits, capabilities_to_bits};

/// What an agent offers and tolerates. Set the defaults by spop_agent_config_init(), then change what you need. Times are
/// in ticks, whose unit is yours; 0 is no timeout.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_agent_config {
    /// sizeof(spop_agent_config), by spop_agent_config_init().
    pub size: usize,
    /// The largest frame that the agent takes, at least 256. The smaller of this and HAProxy's is negotiated. Default
    /// 1 MiB, so that HAProxy's counts.
    pub max_frame_size: u32,
    /// The same before HELLO, when nothing is known of the peer. Default 4096.
    pub hello_max_frame_size: u32,
    /// What to announce: SPOP_CAP_PIPELINING and SPOP_CAP_ASYNC if HAProxy has them too, SPOP_CAP_FRAGMENTATION if there is
    /// reassembly memory. Default pipelining and fragmentation. Without concurrent handling of NOTIFYs, if that can take
    /// long, leave pipelining out.
    pub capabilities: u32,
    /// The most fragments of one NOTIFY. Default 4096.
    pub max_fragments: u32,
    /// How long HAProxy may take for its HELLO. Default 0.
    pub hello_timeout: u64,
    /// How long a frame, or a fragmented NOTIFY, may stand still half received. Default 0.
    pub half_frame_timeout: u64,
    /// How long a connection may be without any frame and any open NOTIFY. Default 0: HAProxy ends idle connections, and
    /// an agent that does so first races with a NOTIFY.
    pub idle_timeout: u64,
    /// Memory for fragmented NOTIFYs, which the agent uses as long as it lives. Default NULL.
    pub reassembly: *mut c_void,
    /// Its length: the most bytes of one NOTIFY. Default 0: `fragmentation` is not announced.
    pub reassembly_len: usize,
}

/// What a client offers. Set the defaults by spop_client_config_init(), then change what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_client_config {
    /// sizeof(spop_client_config), by spop_client_config_init().
    pub size: usize,
    /// The largest frame, at least 256. Default 16380, HAProxy's.
    pub max_frame_size: u32,
    /// What to announce: SPOP_CAP_... Default pipelining, as HAProxy since 3.1.
    pub capabilities: u32,
    /// Not 0: ask for a health check, which ends after the agent's HELLO. Capabilities and engine-id stay away then, as in
    /// HAProxy's `option spop-check`. Default 0.
    pub healthcheck: u32,
    /// 0. Reserved.
    pub reserved: u32,
    /// How long the agent may take for its HELLO, in ticks. Default 0: no timeout.
    pub hello_timeout: u64,
    /// The engine-id to send, up to 64 bytes, which are copied. Default none (`ptr` is NULL).
    pub engine_id: spop_bytes,
}

/// What an agent counted. Set `size` to sizeof(spop_agent_stats) before spop_agent_get_stats().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_agent_stats {
    /// sizeof(spop_agent_stats), set by the caller.
    pub size: usize,
    /// NOTIFYs given out as events.
    pub notifies: u64,
    /// ACKs begun, and NOTIFYs released.
    pub acks: u64,
    /// NOTIFYs that a later one with the same ids, or without pipelining any later one, made void.
    pub superseded: u64,
    /// NOTIFYs that came with FIN and ABORT at once: nobody waits for an answer.
    pub cancelled: u64,
    /// Fragmented NOTIFYs that HAProxy gave up.
    pub aborted: u64,
    /// Fragmented NOTIFYs beyond the bounds.
    pub too_big: u64,
    /// Fragments received.
    pub fragments: u64,
    /// Frames of unknown types, and aborts of nothing.
    pub ignored: u64,
    /// NOTIFYs that were open when the connection ended: nobody waits for their answer.
    pub voided: u64,
}

/// What a client counted. Set `size` to sizeof(spop_client_stats) before spop_client_get_stats().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_client_stats {
    /// sizeof(spop_client_stats), set by the caller.
    pub size: usize,
    /// NOTIFYs begun.
    pub notifies: u64,
    /// ACKs that answered one.
    pub acks: u64,
    /// ACKs that answered nothing, and frames of unknown types.
    pub ignored: u64,
    /// NOTIFYs that were in flight when the connection ended.
    pub voided: u64,
}

/// No version of these structs will be larger: what claims to be, is something else.
const MAX_SIZE: usize = 4096;

/// A struct of C that begins with its size and may grow at its end; any bits are a valid one.
///
/// # Safety
/// `repr(C)`, the first member is `size: usize`, no bits are invalid, no padding.
pub(crate) unsafe trait Versioned: Copy {}

// SAFETY: integers and pointers without gaps, `size` first.
unsafe impl Versioned for spop_agent_config {}
// SAFETY: the same.
unsafe impl Versioned for spop_client_config {}
// SAFETY: the same.
unsafe impl Versioned for spop_agent_stats {}
// SAFETY: the same.
unsafe impl Versioned for spop_client_stats {}

/// Reads a struct of a caller that knows this version of it or a later one, whose further members must be 0.
///
/// # Safety
/// The rules of the crate, with `size` for the length.
unsafe fn read_sized<T: Versioned>(ptr: *const T) -> Result<T, Code> {
    // SAFETY: the rules of the crate; a caller has `size` bytes there, the size itself at least.
    let rest = unsafe {
        let size = *shared(ptr.cast::<usize>())?;
        check_size::<T>(size)?;
        input(ptr.cast::<u8>().wrapping_add(size_of::<T>()).cast(), size.saturating_sub(size_of::<T>()))?
    };
    if rest.iter().any(|&byte| byte != 0) {
        return Err(Code(SPOP_E_SIZE));
    }
    // SAFETY: `size` covers a T.
    Ok(unsafe { *shared(ptr)? })
}

/// Writes a struct to a caller that has `size` bytes for it; further members become 0.
///
/// # Safety
/// The rules of the crate, with `size` for the length.
pub(crate) unsafe fn write_sized<T: Versioned>(ptr: *mut T, size: usize, value: T) -> Result<(), Code> {
    check_size::<T>(size)?;
    // SAFETY: the rules of the crate; a caller has `size` bytes there, which cover a T.
    unsafe {
        crate::memory::Out::new(ptr)?.set(value);
        let rest = ptr.cast::<u8>().wrapping_add(size_of::<T>());
        rest.write_bytes(0, size.saturating_sub(size_of::<T>()));
    }
    Ok(())
}

fn check_size<T>(size: usize) -> Result<(), Code> {
    if (size_of::<T>()..=MAX_SIZE).contains(&size) { Ok(()) } else { Err(Code(SPOP_E_SIZE)) }
}

fn timeout(ticks: u64) -> Option<u64> {
    (ticks > 0).then_some(ticks)
}

fn max_frame_size(size: u32) -> Result<u32, Code> {
    if size >= SPOP_MIN_MAX_FRAME_SIZE { Ok(size) } else { Err(Code(SPOP_E_ARGUMENT)) }
}

impl spop_agent_config {
    fn default() -> Self {
        let core = AgentConfig::DEFAULT;
        spop_agent_config {
            size: size_of::<Self>(),
            max_frame_size: core.max_frame_size,
            hello_max_frame_size: core.hello_max_frame_size,
            capabilities: capabilities_to_bits(core.capabilities),
            max_fragments: core.max_fragments,
            hello_timeout: 0,
            half_frame_timeout: 0,
            idle_timeout: 0,
            reassembly: core::ptr::null_mut(),
            reassembly_len: 0,
        }
    }

    /// The configuration at `ptr`, the defaults for NULL.
    ///
    /// # Safety
    /// The rules of the crate.
    pub(crate) unsafe fn read(ptr: *const Self) -> Result<Self, Code> {
        if ptr.is_null() {
            return Ok(Self::default());
        }
        // SAFETY: the rules of the crate.
        unsafe { read_sized(ptr) }
    }

    pub(crate) fn to_core(self) -> Result<AgentConfig, Code> {
        let mut capabilities = capabilities_from_bits(self.capabilities)?;
        if self.reassembly_len == 0 {
            capabilities = capabilities.without(Capabilities::FRAGMENTATION);
        }
        Ok(AgentConfig::DEFAULT
            .with_max_frame_size(max_frame_size(self.max_frame_size)?)
            .with_hello_max_frame_size(max_frame_size(self.hello_max_frame_size)?)
            .with_capabilities(capabilities)
            .with_max_fragments(self.max_fragments)
            .with_hello_timeout(timeout(self.hello_timeout))
            .with_half_frame_timeout(timeout(self.half_frame_timeout))
            .with_idle_timeout(timeout(self.idle_timeout)))
    }
}

impl spop_client_config {
    fn default() -> Self {
        let core = ClientConfig::DEFAULT;
        spop_client_config {
            size: size_of::<Self>(),
            max_frame_size: core.max_frame_size,
            capabilities: capabilities_to_bits(core.capabilities),
            healthcheck: 0,
            reserved: 0,
            hello_timeout: 0,
            engine_id: spop_bytes::NONE,
        }
    }

    /// The configuration at `ptr` as the core has it, the defaults for NULL.
    ///
    /// # Safety
    /// The rules of the crate.
    pub(crate) unsafe fn read(ptr: *const Self) -> Result<ClientConfig, Code> {
        // SAFETY: the rules of the crate.
        let config = if ptr.is_null() { Self::default() } else { unsafe { read_sized(ptr)? } };
        let engine_id = if config.engine_id.ptr.is_null() && config.engine_id.len == 0 {
            None
        } else {
            // SAFETY: the rules of the crate.
            let id = unsafe { input(config.engine_id.ptr.cast(), config.engine_id.len)? };
            Some(EngineId::new(id).ok_or(Code(SPOP_E_ARGUMENT))?)
        };
        if config.reserved != 0 {
            return Err(Code(SPOP_E_SIZE));
        }
        Ok(ClientConfig::DEFAULT
            .with_max_frame_size(max_frame_size(config.max_frame_size)?)
            .with_capabilities(capabilities_from_bits(config.capabilities)?)
            .with_healthcheck(config.healthcheck != 0)
            .with_engine_id(engine_id)
            .with_hello_timeout(timeout(config.hello_timeout)))
    }
}

/// Sets the defaults: `spop_agent_config_init(&config, sizeof config)`. SPOP_E_SIZE if the size is not that of any version
/// of the struct.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_config_init(config: *mut spop_agent_config, size: usize) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| unsafe { write_sized(config, size, spop_agent_config { size, ..spop_agent_config::default() }) })
}

/// Sets the defaults: `spop_client_config_init(&config, sizeof config)`. SPOP_E_SIZE if the size is not that of any
/// version of the struct.
#[no_mangle]
pub unsafe extern "C" fn spop_client_config_init(config: *mut spop_client_config, size: usize) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| unsafe { write_sized(config, size, spop_client_config { size, ..spop_client_config::default() }) })
}

impl spop_agent_stats {
    /// Writes the counters to a struct whose `size` the caller has set.
    ///
    /// # Safety
    /// The rules of the crate.
    pub(crate) unsafe fn write(ptr: *mut Self, stats: &AgentStats) -> Result<(), Code> {
        // SAFETY: the rules of the crate.
        let size = *unsafe { shared(ptr.cast::<usize>())? };
        let stats = spop_agent_stats {
            size,
            notifies: stats.notifies,
            acks: stats.acks,
            superseded: stats.superseded,
            cancelled: stats.cancelled,
            aborted: stats.aborted,
            too_big: stats.too_big,
            fragments: stats.fragments,
            ignored: stats.ignored,
            voided: stats.voided,
        };
        // SAFETY: the rules of the crate.
        unsafe { write_sized(ptr, size, stats) }
    }
}

impl spop_client_stats {
    /// Writes the counters to a struct whose `size` the caller has set.
    ///
    /// # Safety
    /// The rules of the crate.
    pub(crate) unsafe fn write(ptr: *mut Self, stats: &ClientStats) -> Result<(), Code> {
        // SAFETY: the rules of the crate.
        let size = *unsafe { shared(ptr.cast::<usize>())? };
        let ClientStats { notifies, acks, ignored, voided, .. } = *stats;
        // SAFETY: the same.
        unsafe { write_sized(ptr, size, spop_client_stats { size, notifies, acks, ignored, voided }) }
    }
}
