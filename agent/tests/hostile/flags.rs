//! FIN and ABORT in all combinations, with and without the reserved bits, on every type of frame.

use crate::case::{Case, Outcome, Start, acked, ignored, refused, run_all};
use crate::raw::Reply;
use crate::wire::{self, ABORT, FIN, MAX_FRAME_SIZE, frame, hello_keys, message};

const COMBINATIONS: [u32; 4] = [0, FIN, ABORT, FIN | ABORT];

/// The outcomes of a type for each of [`COMBINATIONS`].
type Outcomes = [Outcome; 4];

fn always(outcome: Outcome) -> Outcomes {
    [outcome.clone(), outcome.clone(), outcome.clone(), outcome]
}

/// `accepted` with FIN, whatever ABORT is; DISCONNECT 10 without.
fn with_fin(accepted: Outcome) -> Outcomes {
    [refused(10), accepted.clone(), refused(10), accepted]
}

fn cases(start: Start, table: &[(u8, Outcomes)]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, outcomes) in table {
        for (flags, outcome) in COMBINATIONS.into_iter().zip(outcomes) {
            for reserved in [0, 0x8000_0000, 0xffff_fffc] {
                let payload = match *kind {
                    wire::HELLO | wire::AGENT_HELLO => hello_keys().concat(),
                    wire::NOTIFY => message("m", &[]),
                    _ => Vec::new(),
                };
                let ids = if matches!(*kind, wire::NOTIFY | wire::UNSET | wire::ACK) { 1 } else { 0 };
                let bytes = frame(*kind, flags | reserved, ids, ids, &payload);
                let name = format!("type {kind}, flags {:#x}, {start:?}", flags | reserved);
                cases.push(Case::new(start, name, bytes, outcome.clone()));
            }
        }
    }
    cases
}

fn before_hello(capabilities: &str) -> Vec<Case> {
    let agreed = Outcome::GoesOn(vec![Reply::Hello(MAX_FRAME_SIZE, capabilities.to_owned())]);
    cases(
        Start::Connected,
        &[
            (wire::HELLO, with_fin(agreed)),
            (wire::DISCONNECT, with_fin(refused(0))),
            (wire::NOTIFY, always(refused(4))),
            (wire::UNSET, always(refused(4))),
            (wire::ACK, always(refused(4))),
            (wire::AGENT_HELLO, always(refused(4))),
            (wire::AGENT_DISCONNECT, always(refused(4))),
            (50, always(refused(4))),
        ],
    )
}

/// What does not depend on fragmentation.
fn control() -> Vec<(u8, Outcomes)> {
    vec![
        (wire::HELLO, always(refused(4))),
        (wire::DISCONNECT, with_fin(refused(0))),
        (wire::ACK, always(refused(4))),
        (wire::AGENT_HELLO, always(refused(4))),
        (wire::AGENT_DISCONNECT, always(refused(4))),
        (50, always(ignored())),
        (255, always(ignored())),
    ]
}

#[tokio::test]
async fn with_fragmentation() {
    let mut table = control();
    // A first fragment is waited for to end.
    let waits = Outcome::Waits(vec![]);
    table.push((wire::NOTIFY, [waits, acked(&[(1, 1)]), refused(4), ignored()]));
    table.push((wire::UNSET, [refused(11), refused(11), refused(4), ignored()]));
    let mut all = cases(Start::AfterHello, &table);
    all.extend(before_hello("pipelining,fragmentation"));
    run_all(&[], &all).await;
}

#[tokio::test]
async fn without_fragmentation() {
    let mut table = control();
    table.push((wire::NOTIFY, [refused(10), acked(&[(1, 1)]), refused(10), ignored()]));
    table.push((wire::UNSET, always(refused(10))));
    let mut all = cases(Start::AfterHello, &table);
    all.extend(before_hello("pipelining"));
    run_all(&["--max-reassembly", "0"], &all).await;
}
