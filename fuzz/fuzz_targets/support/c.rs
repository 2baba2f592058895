//! What calls of the C interface need.

use std::ffi::c_void;
use std::mem::MaybeUninit;

/// An object for a call to fill, as `= {0}` gives it in C.
///
/// # Safety
/// Zeros are a value of `T`.
pub unsafe fn zeroed<T>() -> T {
    // SAFETY: as the caller says.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

pub fn ptr(bytes: &[u8]) -> *const c_void {
    bytes.as_ptr().cast()
}
