//! Encoders in buffers that are too short: what does not fit leaves no trace.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use spop_fuzz::Pairs;
use spop_fuzz::common::laws::no_space;
use spop_fuzz::common::owned::{Act, Msg};

#[derive(Arbitrary, Debug)]
enum Written {
    Notify { by_size: bool, list: Vec<Msg> },
    Ack { list: Vec<Act> },
    Fields { list: Pairs, acts: Vec<Act> },
}

fuzz_target!(|input: (u16, Written)| {
    let (limit, written) = input;
    // Short ones more often.
    let limit = usize::from(if limit & 1 == 0 { limit >> 1 & 0x7F } else { limit >> 4 });
    match written {
        Written::Notify { by_size, list } => no_space::notify(&list, limit, by_size && limit >= 4),
        Written::Ack { list } => no_space::ack(&list, limit),
        Written::Fields { list: Pairs(list), acts } => no_space::writer(&list, &acts, limit),
    }
});
