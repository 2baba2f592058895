//! Whatever is encoded decodes to the same.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use spop_fuzz::common::laws::round_trip;
use spop_fuzz::common::owned::{Act, Msg, Val};
use spop_fuzz::{Bytes, Number, Pairs, capabilities};

#[derive(Arbitrary, Debug)]
enum Written {
    Varint(Number),
    Value(Val),
    Pairs(Pairs),
    Notify(Number, Number, Vec<Msg>),
    Ack(Number, Number, Vec<Act>),
    HelloOfHaproxy { size: u32, capabilities: u8, healthcheck: bool, engine_id: Option<Bytes>, more: Pairs },
    HelloOfAgent { size: u32, capabilities: u8, minor: u16 },
    Disconnect { agent: bool, code: u32, text: Bytes },
}

fuzz_target!(|written: Written| match written {
    Written::Varint(Number(n)) => round_trip::number(n),
    Written::Value(value) => round_trip::value(&value),
    Written::Pairs(Pairs(list)) => round_trip::pairs(&list),
    Written::Notify(Number(stream), Number(frame), list) => round_trip::notify((stream, frame), &list),
    Written::Ack(Number(stream), Number(frame), list) => round_trip::ack((stream, frame), &list),
    Written::HelloOfHaproxy { size, capabilities: bits, healthcheck, engine_id, more: Pairs(more) } => {
        let engine_id = engine_id.as_ref().map(|Bytes(id)| &id[..]);
        round_trip::hello_of_haproxy(size, capabilities(bits), healthcheck, engine_id, &more);
    }
    Written::HelloOfAgent { size, capabilities: bits, minor } => {
        round_trip::hello_of_agent(size, capabilities(bits), u32::from(minor) % 1000);
    }
    Written::Disconnect { agent, code, text: Bytes(text) } => round_trip::disconnect(agent, code, &text),
});
