//! A `Reassembler` against a model that has no bounds.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use spop_core::heapless::ReassemblyBuffer;
use spop_core::{FrameId, Messages, Reassembled, Reassembler, StreamId};
use spop_fuzz::Bytes;
use spop_fuzz::common::walk;

#[derive(Arbitrary, Debug)]
enum Call {
    Start(u8, Bytes),
    Push(Bytes),
    Finish,
    Abort,
}

/// Bytes of the memory.
const ROOM: usize = 64;

/// What came of the NOTIFY in progress.
struct Model {
    ids: (StreamId, FrameId),
    fragments: u32,
    bytes: Vec<u8>,
}

fuzz_target!(|input: (u8, Vec<Call>)| {
    let (max_fragments, calls) = (u32::from(input.0 % 8), input.1);
    let mut memory = [0; ROOM];
    let mut reassembler = Reassembler::new(max_fragments);
    let mut buffer = ReassemblyBuffer::<ROOM>::new(max_fragments);
    let mut model: Option<Model> = None;
    for call in calls {
        match call {
            Call::Start(id, Bytes(first)) => {
                let ids = (StreamId(u64::from(id)), FrameId(1));
                reassembler.start(ids, &first, &mut memory);
                buffer.start(ids, &first);
                model = Some(Model { ids, fragments: 1, bytes: first });
            }
            Call::Push(Bytes(more)) => {
                reassembler.push(&more, &mut memory);
                buffer.push(&more);
                if let Some(model) = &mut model {
                    model.fragments += 1;
                    model.bytes.extend(more);
                }
            }
            // Without a NOTIFY in progress there is nothing to finish.
            Call::Finish => {
                let Some(Model { fragments, bytes, .. }) = model.take() else { continue };
                let fits = bytes.len() <= ROOM && fragments <= max_fragments;
                match (reassembler.finish(), buffer.finish()) {
                    (Reassembled::Whole(len), Ok(messages)) => {
                        assert!(fits);
                        assert_eq!(memory[..len], bytes[..]);
                        assert_eq!(walk::messages(messages), walk::messages(Messages::new(&bytes)));
                    }
                    (Reassembled::TooBig, Err(_)) => assert!(!fits),
                    other => panic!("{other:?}"),
                }
            }
            Call::Abort => {
                reassembler.abort();
                buffer.abort();
                model = None;
            }
        }
        assert_eq!(reassembler.in_progress(), model.is_some());
        let ids = model.as_ref().map_or((StreamId(300), FrameId(1)), |model| model.ids);
        assert_eq!(reassembler.is_open(ids), model.is_some());
        assert_eq!(buffer.is_open(ids), model.is_some());
    }
});
