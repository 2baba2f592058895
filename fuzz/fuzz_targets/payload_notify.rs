//! The payload of a NOTIFY: messages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spop_core::heapless::{CollectError, OwnedMessages, Vec, collect};
use spop_core::{FrameType, Kv, Messages};
use spop_fuzz::common::laws::{bytes, round_trip};
use spop_fuzz::common::{check_text, raw_frame};

fuzz_target!(|payload: &[u8]| {
    bytes::messages(payload);
    round_trip::decoded_bytes(&raw_frame(FrameType::NOTIFY, 1, (5, 7), payload));
    fixed_capacity(payload);
});

/// The containers of fixed capacity hold what there is, or say why not.
fn fixed_capacity(payload: &[u8]) {
    let valid = Messages::new(payload).validate();
    match OwnedMessages::<64>::new(payload) {
        Ok(owned) => {
            assert!(payload.len() <= 64);
            let messages = Messages::new(payload).map(|message| message.expect("valid").name);
            assert!(owned.messages().map(|message| message.name).eq(messages));
            assert_eq!(owned.messages().len(), valid.expect("valid").len());
        }
        Err(CollectError::Malformed(error)) => {
            check_text(&CollectError::Malformed(error));
            assert_eq!(valid.map(drop), Err(error));
        }
        Err(error) => assert!(payload.len() > 64, "{error}"),
    }
    for message in Messages::new(payload).flatten() {
        let args = message.args();
        match collect::<Kv<'_>, 4>(message.args()) {
            Ok(collected) => assert!(args.len() == collected.len() && args.flatten().eq(collected)),
            Err(CollectError::Malformed(error)) => assert_eq!(args.last(), Some(Err(error))),
            Err(error) => {
                assert_eq!(error.to_string(), "more than the capacity of 4");
                assert!(args.flatten().count() > 4);
            }
        }
    }
    let _all: Result<Vec<_, 8>, _> = collect(Messages::new(payload));
}
