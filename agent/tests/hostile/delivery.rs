//! How bytes arrive: cut at every place, one by one, very many at once, and with an end of either kind in the middle.

use std::time::Duration;

use crate::agent::{BOTH, LiveAgent, Program, figure};
use crate::case::{Case, Outcome, Start, acked, run_all};
use crate::hello::agreed;
use crate::raw::{Raw, Reply};
use crate::wire::{FIN, NOTIFY, UNSET, disconnect, frame, hello, message, notify};

/// A connection with a bit of everything: each frame, and what comes back when it is whole.
fn conversation() -> Vec<(Vec<u8>, Option<Reply>)> {
    let text = message("otel:cut", &[]);
    let (begin, end) = text.split_at(4);
    vec![
        (hello(), Some(agreed())),
        (notify(0, 1), Some(Reply::Ack(0, 1))),
        (frame(NOTIFY, 0, 300, 1, begin), None),
        (frame(50, 0, 0, 0, b"unknown"), None),
        (frame(UNSET, FIN, 300, 1, end), Some(Reply::Ack(300, 1))),
        (notify(u64::MAX, 70_000), Some(Reply::Ack(u64::MAX, 70_000))),
        (disconnect(0), Some(Reply::Disconnect(0))),
    ]
}

fn bytes(conversation: &[(Vec<u8>, Option<Reply>)]) -> Vec<u8> {
    conversation.iter().flat_map(|(frame, _)| frame).copied().collect()
}

/// The replies to the first `len` bytes.
fn replies_to(conversation: &[(Vec<u8>, Option<Reply>)], len: usize) -> Vec<Reply> {
    let mut end = 0;
    let whole = conversation.iter().take_while(|(frame, _)| {
        end += frame.len();
        end <= len
    });
    whole.filter_map(|(_, reply)| reply.clone()).collect()
}

#[tokio::test]
async fn the_end_after_every_byte() {
    let conversation = conversation();
    let bytes = bytes(&conversation);
    let case = |len| {
        let replies = replies_to(&conversation, len);
        Case::new(Start::Connected, format!("an end after {len} bytes"), &bytes[..len], Outcome::Waits(replies))
    };
    run_all(&[], &(0..=bytes.len()).map(case).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_reset_after_every_byte() {
    let bytes = bytes(&conversation());
    for program in BOTH {
        let mut agent = LiveAgent::start(program, &[]).await;
        let files = agent.open_files();
        for len in 0..=bytes.len() {
            let mut raw = Raw::connect(&agent.addr).await;
            raw.send(&bytes[..len]).await;
            raw.reset();
        }
        agent.serves("resets").await;
        agent.open_files_at_most(files).await;
        let log = agent.stop().await;
        if program == Program::SpoaOtel {
            assert_eq!(figure(&log, "report: connections ended", "protocol_errors"), 0, "{log:#?}");
        }
    }
}

#[tokio::test]
async fn a_pause_at_every_place() {
    let conversation = conversation();
    let bytes = bytes(&conversation);
    for program in BOTH {
        let mut agent = LiveAgent::start(program, &[]).await;
        for cut in 1..bytes.len() {
            let mut raw = Raw::connect(&agent.addr).await;
            raw.send(&bytes[..cut]).await;
            // What the first part answers tells that it was read alone.
            let mut replies = Vec::new();
            for _ in replies_to(&conversation, cut) {
                replies.push(raw.reply().await);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            raw.send(&bytes[cut..]).await;
            replies.extend(raw.replies().await);
            let expected = [&replies_to(&conversation, bytes.len())[..], &[Reply::End]].concat();
            assert_eq!(replies, expected, "{program:?}: cut at {cut}");
        }
        agent.serves("cut frames").await;
        agent.stop().await;
    }
}

#[tokio::test]
async fn byte_by_byte() {
    let conversation = conversation();
    let bytes = bytes(&conversation);
    for program in BOTH {
        let mut agent = LiveAgent::start(program, &[]).await;
        let mut raw = Raw::connect(&agent.addr).await;
        for byte in &bytes {
            raw.send(&[*byte]).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let expected = [&replies_to(&conversation, bytes.len())[..], &[Reply::End]].concat();
        assert_eq!(raw.replies().await, expected, "{program:?}");
        agent.serves("single bytes").await;
        agent.stop().await;
    }
}

#[tokio::test]
async fn thousands_of_frames_in_one_write() {
    let ids: Vec<_> = (0..1000).map(|n| (n, n + 1)).collect();
    let frames: Vec<u8> = ids.iter().flat_map(|&(stream_id, frame_id)| notify(stream_id, frame_id)).collect();
    let unknown = frame(50, 0, 0, 0, &[]).repeat(20_000);
    let same = notify(1, 1).repeat(1000);
    run_all(
        &[],
        &[
            Case::new(Start::AfterHello, "1000 NOTIFYs", frames, acked(&ids)),
            Case::new(Start::AfterHello, "20000 unknown frames", unknown, acked(&[])),
            Case::new(Start::AfterHello, "1000 NOTIFYs with the same ids", same, acked(&[(1, 1); 1000])),
        ],
    )
    .await;
}
