//! Another Rust library in the same C program, with its own copy of the standard library.

/// Counts the words of a text, by way of allocation and formatting.
///
/// # Safety
/// `text` is NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn other_count_words(text: *const std::ffi::c_char) -> usize {
    // SAFETY: by this function's contract.
    let text = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy();
    let words: Vec<String> = text.split_whitespace().map(|word| format!("<{word}>")).collect();
    std::panic::catch_unwind(|| words.len()).unwrap_or(0)
}
