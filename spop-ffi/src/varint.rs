//! The variable-length integer of the protocol.

use core::ffi::c_void;

use spop_core::varint;

use crate::error::{Code, SPOP_E_NO_SPACE, spop_error};
use crate::memory::{Out, input, output, run};

/// The longest varint, in bytes.
pub const SPOP_VARINT_MAX_LEN: usize = 10;

/// Reads a varint at the start of `data` into `*value`, and how many bytes it took into `*used`.
///
/// SPOP_E_TRUNCATED (read more and try again, unless this is a whole frame), SPOP_E_VARINT_LENGTH, SPOP_E_VARINT_RANGE.
#[no_mangle]
pub unsafe extern "C" fn spop_varint_decode(
    data: *const c_void,
    len: usize,
    value: *mut u64,
    used: *mut usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (data, value, used) = unsafe { (input(data, len)?, Out::new(value)?, Out::new(used)?) };
        let (decoded, taken) = varint::decode(data)?;
        value.set(decoded);
        used.set(taken);
        Ok(())
    })
}

/// Writes `value` as a varint to `out`, and its length into `*len`. SPOP_E_NO_SPACE if `cap` bytes do not suffice.
#[no_mangle]
pub unsafe extern "C" fn spop_varint_encode(value: u64, out: *mut c_void, cap: usize, len: *mut usize) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (out, len) = unsafe { (output(out, cap)?, Out::new(len)?) };
        let (bytes, used) = varint::encode(value);
        let room = out.get_mut(..used).ok_or(Code(SPOP_E_NO_SPACE))?;
        room.copy_from_slice(bytes.get(..used).ok_or(Code(SPOP_E_NO_SPACE))?);
        len.set(used);
        Ok(())
    })
}

/// The number of bytes that `value` takes as a varint, 1 to 10. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_varint_len(value: u64) -> usize {
    varint::len(value)
}
