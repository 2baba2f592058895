//! A program without standard library and without allocator that uses the whole public API of spop-core on bytes that
//! the compiler cannot know. See `run` for what its link proves.

#![no_std]
#![no_main]

mod codec;
mod machines;
mod source;

use core::hint::black_box;
use source::Source;

#[link(name = "c")]
extern "C" {
    fn read(fd: i32, buf: *mut u8, len: usize) -> isize;
    #[cfg(not(feature = "no-panic"))]
    fn abort() -> !;
}

#[panic_handler]
fn on_panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(feature = "no-panic")]
    {
        extern "C" {
            fn spop_core_can_panic() -> !;
        }
        // SAFETY: it exists nowhere, so a program with this call in it cannot be linked.
        unsafe { spop_core_can_panic() }
    }
    #[cfg(not(feature = "no-panic"))]
    // SAFETY: it takes nothing and may be called at any time.
    unsafe {
        abort()
    }
}

#[no_mangle]
extern "C" fn main() -> i32 {
    let mut input = [0_u8; 64 * 1024];
    // SAFETY: `input` is that long and writable.
    let len = unsafe { read(0, input.as_mut_ptr(), input.len()) };
    let input = black_box(input.get(..len as usize).unwrap_or_default());

    #[cfg(feature = "with-alloc")]
    {
        extern crate alloc;
        black_box(alloc::vec::Vec::from(input));
    }
    #[cfg(feature = "with-panic")]
    black_box(input[input.len() / 2]);

    codec::all(Source(input));
    machines::all(Source(input));
    0
}
