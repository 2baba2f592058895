//! Fragments: unknown, interleaved, thousands, aborted, too many, too big, and broken when put together.

use crate::case::{Case, Outcome, Start, acked, ignored, refused, run_all};
use crate::raw::Reply;
use crate::wire::{self, ABORT, FIN, NOTIFY, UNSET, disconnect, frame, hello, message, notify};

fn first(stream_id: u64, payload: &[u8]) -> Vec<u8> {
    frame(NOTIFY, 0, stream_id, 1, payload)
}

fn middle(stream_id: u64, payload: &[u8]) -> Vec<u8> {
    frame(UNSET, 0, stream_id, 1, payload)
}

fn last(stream_id: u64, payload: &[u8]) -> Vec<u8> {
    frame(UNSET, FIN, stream_id, 1, payload)
}

fn abort(stream_id: u64) -> Vec<u8> {
    frame(UNSET, FIN | ABORT, stream_id, 1, &[])
}

/// A NOTIFY in so many middle fragments, each with this payload.
fn in_fragments(stream_id: u64, count: usize, payload: &[u8]) -> Vec<u8> {
    [first(stream_id, payload), middle(stream_id, payload).repeat(count), last(stream_id, &[])].concat()
}

fn cases() -> Vec<Case> {
    let case = |name: &str, frames: &[Vec<u8>], outcome| Case::new(Start::AfterHello, name, frames.concat(), outcome);
    let text = message("m", &[]);
    let thousands = |unit: &dyn Fn(u64) -> Vec<u8>| (0..5000).flat_map(unit).collect::<Vec<u8>>();
    let whole = |n: u64| [first(n, &text), last(n, &[])].concat();
    let ids: Vec<_> = (0..5000).map(|n| (n, 1)).collect();
    let nothing = [0, 0]; // a message without a name
    vec![
        case("a fragment of an unknown stream", &[middle(1, b"x")], refused(11)),
        case("the last fragment of an unknown stream", &[last(1, b"x")], refused(11)),
        case("an abort of an unknown stream", &[abort(1)], ignored()),
        case("thousands of aborts of unknown streams", &[thousands(&abort)], ignored()),
        case(
            "a fragment after the last one",
            &[whole(1), middle(1, b"x")],
            Outcome::Refused(vec![Reply::Ack(1, 1)], 11),
        ),
        case("another stream's fragment between", &[first(1, &text), middle(3, b"x")], refused(11)),
        case("another frame's fragment between", &[first(1, &text), frame(UNSET, 0, 1, 2, b"x")], refused(11)),
        case("another stream's abort between", &[first(1, &text), abort(3)], refused(11)),
        case("another first fragment between", &[first(1, &text), first(3, &text)], refused(11)),
        case("the same first fragment twice", &[first(1, &text), first(1, &text)], refused(11)),
        case("a NOTIFY between", &[first(1, &text), notify(3, 1)], refused(11)),
        case("a HELLO between", &[first(1, &text), hello()], refused(4)),
        case("an ACK between", &[first(1, &text), frame(wire::ACK, FIN, 1, 1, &[])], refused(4)),
        case("a DISCONNECT between", &[first(1, &text), disconnect(0)], refused(0)),
        case("an unknown type between", &[first(1, &text), frame(50, 0, 1, 1, b"x"), last(1, &[])], acked(&[(1, 1)])),
        case("a first fragment with ABORT", &[frame(NOTIFY, ABORT, 1, 1, &text)], refused(4)),
        case("a middle one with ABORT", &[first(1, &text), frame(UNSET, ABORT, 1, 1, &[])], refused(4)),
        case("aborted", &[first(1, &text), abort(1)], ignored()),
        case("aborted with a payload", &[first(1, &text), frame(UNSET, FIN | ABORT, 1, 1, &text)], ignored()),
        case("aborted, then the same ids", &[first(1, &text), abort(1), whole(1)], acked(&[(1, 1)])),
        case("thousands aborted", &[thousands(&|n| [first(n, &text), abort(n)].concat())], ignored()),
        case("thousands in fragments", &[thousands(&whole)], acked(&ids)),
        case("never ended", &[first(1, &text), middle(1, &[])], Outcome::Waits(vec![])),
        case("empty fragments", &[first(1, &[]), middle(1, &[]).repeat(1000), last(1, &[])], acked(&[(1, 1)])),
        case("broken when put together", &[first(1, &[5]), middle(1, b"ab"), last(1, b"c")], refused(4)),
        case(
            "a byte a fragment",
            &[vec![5], b"hello".to_vec(), vec![0]]
                .concat()
                .chunks(1)
                .enumerate()
                .map(|(n, byte)| if n == 0 { first(1, byte) } else { middle(1, byte) })
                .chain([last(1, &[])])
                .collect::<Vec<_>>(),
            acked(&[(1, 1)]),
        ),
        // Beyond a bound: dropped, answered by an empty ACK. The next one is served.
        case("too many fragments", &[in_fragments(1, 5000, &nothing), whole(3)], acked(&[(1, 1), (3, 1)])),
        case("too many bytes", &[in_fragments(1, 100, &nothing.repeat(500)), whole(3)], acked(&[(1, 1), (3, 1)])),
        case("far too many bytes", &[in_fragments(1, 1000, &nothing.repeat(8000)), whole(3)], acked(&[(1, 1), (3, 1)])),
        case(
            "too many bytes, aborted",
            &[first(1, &nothing.repeat(8000)).to_vec(), middle(1, &nothing.repeat(8000)).repeat(9), abort(1)],
            ignored(),
        ),
    ]
}

#[tokio::test]
async fn every_order() {
    run_all(&["--max-reassembly", "65536"], &cases()).await;
}
