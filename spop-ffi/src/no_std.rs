//! What a program without the standard library has to bring.

#[panic_handler]
fn on_panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[link(name = "c")]
    extern "C" {
        #[cfg(not(feature = "prove-no-panic"))]
        fn abort() -> !;
        /// Exists nowhere: with a way to a panic in it, the library has an undefined symbol.
        #[cfg(feature = "prove-no-panic")]
        #[link_name = "spop_can_panic"]
        fn abort() -> !;
    }
    // SAFETY: libc's `abort` may be called at any time, and the other one never runs.
    unsafe { abort() }
}

// The prebuilt `core` refers to the personality of unwinding, which panic = "abort" never calls.
core::arch::global_asm!(".weak rust_eh_personality", ".hidden rust_eh_personality", "rust_eh_personality:",);

/// Must not link with `prove-no-panic`.
#[cfg(feature = "with-panic")]
#[no_mangle]
pub extern "C" fn spop_with_panic(index: usize) -> u8 {
    [1, 2, 3][index]
}
