//! The payload of an ACK: actions.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spop_core::FrameType;
use spop_fuzz::common::laws::{bytes, round_trip};
use spop_fuzz::common::raw_frame;

fuzz_target!(|payload: &[u8]| {
    bytes::actions(payload);
    round_trip::decoded_bytes(&raw_frame(FrameType::ACK, 1, (5, 7), payload));
});
