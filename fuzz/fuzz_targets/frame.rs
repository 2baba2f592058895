//! A frame of any type: decoded, walked in every way, and written again.

#![no_main]

use bytes::{Buf, BufMut, BytesMut};
use libfuzzer_sys::fuzz_target;
use spop_core::bytes::{FrameDecoder, append, put_frame};
use spop_core::{EncodeError, Frame, FrameEncoder, PREFIX_LEN, peek_len};
use spop_fuzz::common::laws::{bytes as any_bytes, round_trip};

const MAX_FRAME_SIZE: u32 = 16380;

fuzz_target!(|input: &[u8]| {
    // The prefix is read as a body too, so that each byte of it is one that a body can begin with.
    any_bytes::frame(input, MAX_FRAME_SIZE);
    let Some(body) = input.get(PREFIX_LEN..) else { return };
    any_bytes::frame(body, MAX_FRAME_SIZE);
    let Ok(Some(len)) = peek_len(input, MAX_FRAME_SIZE) else { return };
    let Some(whole) = input.get(..len) else { return };
    owned(whole);
    in_pieces(whole);
    if Frame::decode(&whole[PREFIX_LEN..]).is_ok() {
        round_trip::decoded_bytes(whole);
    }
});

/// The decoder over `Buf` says the same.
fn owned(whole: &[u8]) {
    let (mut rest, borrowed) = (whole, Frame::decode(&whole[PREFIX_LEN..]));
    let owned = FrameDecoder::new(MAX_FRAME_SIZE).decode(&mut rest);
    assert_eq!(
        owned.as_ref().map(|frame| frame.as_ref().map(|frame| frame.frame())),
        borrowed.as_ref().map(|f| Some(*f)).map_err(|e| e)
    );
    let Ok(frame) = borrowed else { return };
    assert_eq!(owned.ok().flatten().map(|owned| *owned.header()), Some(frame.header));
    let mut again = Vec::new();
    assert_eq!(put_frame(&mut again, MAX_FRAME_SIZE, frame.header, frame.payload), Ok(whole.len()));
    assert_eq!(again, whole);
}

/// The same, byte by byte, as long as it says that something is missing.
fn in_pieces(whole: &[u8]) {
    let mut decoder = FrameDecoder::new(0);
    decoder.set_max_frame_size(MAX_FRAME_SIZE);
    let mut buf = BytesMut::new();
    for (at, byte) in whole.iter().enumerate() {
        assert_eq!(decoder.missing(&buf), if at < PREFIX_LEN { PREFIX_LEN } else { whole.len() } - at);
        buf.put_u8(*byte);
        if at + 1 < whole.len() {
            assert_eq!(decoder.decode(&mut buf), Ok(None));
        }
    }
    let Ok(Some(frame)) = decoder.decode(&mut buf) else { return };
    assert!(!buf.has_remaining());
    let payload = frame.frame().payload;
    assert_eq!(frame.share(payload).as_deref(), Some(payload));
    assert_eq!(frame.share(whole), None);
    let encode = |room: &mut [u8]| {
        let mut encoder = FrameEncoder::new(room, MAX_FRAME_SIZE, *frame.header())?;
        encoder.payload().bytes(payload)?;
        Ok(encoder.finish())
    };
    assert_eq!(append(&mut buf, whole.len() - 1, encode), Err(EncodeError::NoSpace));
    assert_eq!(append(&mut buf, whole.len() + 1, encode), Ok(whole.len()));
    assert_eq!(buf, whole);
}
