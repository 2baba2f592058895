//! A frame of any type: decoded, walked in every way, and written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spop_core::bytes::{put_frame, FrameDecoder};
use spop_core::{peek_len, PREFIX_LEN};
use spop_fuzz::common::laws::{bytes, round_trip};

const MAX_FRAME_SIZE: u32 = 16380;

fuzz_target!(|input: &[u8]| {
    // The prefix is read as a body too, so that each byte of it is one that a body can begin with.
    bytes::frame(input, MAX_FRAME_SIZE);
    let Some(body) = input.get(PREFIX_LEN..) else { return };
    bytes::frame(body, MAX_FRAME_SIZE);
    let Ok(Some(len)) = peek_len(input, MAX_FRAME_SIZE) else { return };
    let Some(whole) = input.get(..len) else { return };
    owned(whole);
    if spop_core::Frame::decode(&whole[PREFIX_LEN..]).is_ok() {
        round_trip::decoded_bytes(whole);
    }
});

/// The decoder over `Buf` says the same.
fn owned(whole: &[u8]) {
    let (mut rest, borrowed) = (whole, spop_core::Frame::decode(&whole[PREFIX_LEN..]));
    let owned = FrameDecoder::new(MAX_FRAME_SIZE).decode(&mut rest);
    assert_eq!(
        owned.as_ref().map(|frame| frame.as_ref().map(|frame| frame.frame())),
        borrowed.as_ref().map(|f| Some(*f)).map_err(|e| e)
    );
    let Ok(frame) = borrowed else { return };
    let mut again = Vec::new();
    assert_eq!(put_frame(&mut again, MAX_FRAME_SIZE, frame.header, frame.payload), Ok(whole.len()));
    assert_eq!(again, whole);
}
