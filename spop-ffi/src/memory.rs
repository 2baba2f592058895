//! From C's pointers to references and back, with the checks that can be made.

use core::ffi::{c_char, c_void};
use core::ptr::NonNull;

use crate::error::{Code, SPOP_E_ARGUMENT, SPOP_E_NO_SPACE, SPOP_E_NULL, SPOP_OK, spop_error};

/// Bytes that belong to somebody else, with their length; not ended by a NUL.
///
/// What the library gives out points into the memory that the caller gave in. If `len` is 0, `ptr` may be anything, NULL
/// too. To print it: `printf("%.*s", (int)b.len, b.ptr)`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_bytes {
    /// The first byte.
    pub ptr: *const c_char,
    /// The number of bytes.
    pub len: usize,
}

impl spop_bytes {
    pub(crate) const NONE: spop_bytes = spop_bytes { ptr: core::ptr::null(), len: 0 };
}

impl From<&[u8]> for spop_bytes {
    fn from(bytes: &[u8]) -> Self {
        spop_bytes { ptr: bytes.as_ptr().cast(), len: bytes.len() }
    }
}

/// The body of a function that can fail.
#[inline]
pub(crate) fn run(body: impl FnOnce() -> Result<(), Code>) -> spop_error {
    match body() {
        Ok(()) => SPOP_OK,
        Err(Code(code)) => code,
    }
}

/// The bytes that a caller lets us read.
///
/// # Safety
/// The rules of the crate; the view is used no longer than they allow.
#[inline(never)]
pub(crate) unsafe fn input<'a>(ptr: *const c_void, len: usize) -> Result<&'a [u8], Code> {
    check_bytes(ptr, len)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: not NULL, not above `isize::MAX`, and readable by rule 1.
    Ok(unsafe { core::slice::from_raw_parts(ptr.cast(), len) })
}

/// The bytes that a caller lets us write. C's callers give them as malloc() does, uninitialised: the core writes below a
/// length that it counts, and reads nothing back that it has not written.
///
/// # Safety
/// The rules of the crate; the view is used no longer than they allow.
#[inline(never)]
pub(crate) unsafe fn output<'a>(ptr: *mut c_void, len: usize) -> Result<&'a mut [u8], Code> {
    check_bytes(ptr, len)?;
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: not NULL, not above `isize::MAX`, writable by rule 1 and ours alone by rules 2 and 4. That the bytes are
    // initialised, which `from_raw_parts_mut` asks for too, is rule 6 for callers in Rust. Callers in C do not keep it; what
    // is relied on there is that the library is compiled apart from them (no LTO across languages), so that these are to
    // the compiler bytes of any value, and that none is read before it is written, which the tests in C hold under valgrind.
    Ok(unsafe { core::slice::from_raw_parts_mut(ptr.cast(), len) })
}

#[inline]
fn check_bytes(ptr: *const c_void, len: usize) -> Result<(), Code> {
    if ptr.is_null() && len > 0 {
        return Err(Code(SPOP_E_NULL));
    }
    if len > isize::MAX as usize {
        return Err(Code(SPOP_E_ARGUMENT));
    }
    Ok(())
}

#[inline]
fn check_object<T>(ptr: *const T) -> Result<(), Code> {
    if ptr.is_null() {
        return Err(Code(SPOP_E_NULL));
    }
    Ok(())
}

/// An object that a caller lets us read.
///
/// # Safety
/// The rules of the crate.
#[inline]
pub(crate) unsafe fn shared<'a, T>(ptr: *const T) -> Result<&'a T, Code> {
    check_object(ptr)?;
    // SAFETY: not NULL, and live by rules 1 and 5.
    Ok(unsafe { &*ptr })
}

/// An object that a caller lets us change.
///
/// # Safety
/// The rules of the crate.
#[inline]
pub(crate) unsafe fn unique<'a, T>(ptr: *mut T) -> Result<&'a mut T, Code> {
    check_object(ptr)?;
    // SAFETY: not NULL, live by rules 1 and 5, and ours alone by rules 2 and 4.
    Ok(unsafe { &mut *ptr })
}

/// Is this where a T may stand?
pub(crate) fn check_place<T>(ptr: *mut c_void, len: usize) -> Result<(), Code> {
    check_object(ptr)?;
    if !ptr.cast::<T>().is_aligned() {
        return Err(Code(SPOP_E_ARGUMENT));
    }
    if len < core::mem::size_of::<T>() {
        return Err(Code(SPOP_E_NO_SPACE));
    }
    Ok(())
}

/// Where a result goes; it may be uninitialised before.
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// # Safety
    /// The rules of the crate.
    #[inline]
    pub(crate) unsafe fn new(ptr: *mut T) -> Result<Self, Code> {
        check_object(ptr)?;
        NonNull::new(ptr).map(Out).ok_or(Code(SPOP_E_NULL))
    }

    #[inline]
    pub(crate) fn set(&self, value: T) {
        // SAFETY: `new` was told that this is the caller's memory for a T, and found it not NULL.
        unsafe { self.0.as_ptr().write(value) }
    }
}
