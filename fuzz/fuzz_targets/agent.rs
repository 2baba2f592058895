//! An `Agent` fed with any bytes, however cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spop_fuzz::Stream;
use spop_fuzz::common::laws::splits;

fuzz_target!(|input: &[u8]| {
    let Some(Stream { capabilities, switch, cuts, bytes }) = Stream::new(input) else { return };
    splits::at_an_agent(bytes, &cuts, capabilities, switch);
});
