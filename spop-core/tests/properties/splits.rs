//! A stream means the same however the transport cuts it.

use proptest::prelude::*;
use spop_core::{AgentConfig, Capabilities, ClientConfig, Want};

use super::strategies::{any_capabilities, stream};
use crate::common::{hello, AgentSide, ClientSide};

/// Cuts of a stream: lengths that are taken in turn.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), prop::collection::vec(1_usize..40, 1..20), prop::collection::vec(1_usize..6, 1..20)]
}

fn pieces<'a>(mut bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = bytes.split_at((*cuts.next()?).min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn agent(capabilities: Capabilities, answers: bool) -> AgentSide<3> {
    let config = AgentConfig { capabilities, max_fragments: 4, ..AgentConfig::DEFAULT };
    let mut side = AgentSide::new(config);
    side.reassembly = vec![0; 64];
    side.answers = answers;
    side
}

fn client(capabilities: Capabilities, notifies: bool) -> ClientSide {
    let mut side = ClientSide::new(ClientConfig { capabilities, ..ClientConfig::DEFAULT });
    side.flush();
    if notifies {
        // After the agent's HELLO, so that its ACKs mean something.
        side.feed(&hello(true, 16380, Capabilities::PIPELINING));
        for ids in [(0, 0), (1, 0), (2, 1)] {
            let _sync_mode_has_one = side.notify(ids);
        }
    }
    side
}

/// Reads as a transport does that takes exactly what `want` says.
fn read_exactly(bytes: &[u8], mut want: impl FnMut() -> Want, mut feed: impl FnMut(&[u8])) {
    let mut rest = bytes;
    while let Want::Read(n) = want() {
        assert!(n > 0);
        let Some((piece, after)) = rest.split_at_checked(n) else {
            // The end of the stream inside a step.
            return feed(rest);
        };
        feed(piece);
        rest = after;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn at_an_agent(bytes in stream(false), cuts in cuts(), capabilities in any_capabilities(), answers in any::<bool>()) {
        let mut whole = agent(capabilities, answers);
        whole.feed(&bytes);
        let mut cut = agent(capabilities, answers);
        pieces(&bytes, &cuts).for_each(|piece| cut.feed(piece));
        prop_assert_eq!(&whole.log, &cut.log);
        prop_assert_eq!(&whole.sent, &cut.sent);
        prop_assert_eq!(&whole.input, &cut.input);
        prop_assert_eq!(whole.agent.stats(), cut.agent.stats());
        prop_assert_eq!(whole.agent.is_closed(), cut.agent.is_closed());

        let exact = std::cell::RefCell::new(agent(capabilities, answers));
        read_exactly(&bytes, || exact.borrow().want(), |piece| exact.borrow_mut().feed(piece));
        let exact = exact.into_inner();
        prop_assert_eq!(&whole.log, &exact.log);
        prop_assert_eq!(&whole.sent, &exact.sent);
    }

    #[test]
    fn at_a_client(bytes in stream(true), cuts in cuts(), capabilities in any_capabilities(), notifies in any::<bool>()) {
        let mut whole = client(capabilities, notifies);
        whole.feed(&bytes);
        let mut cut = client(capabilities, notifies);
        pieces(&bytes, &cuts).for_each(|piece| cut.feed(piece));
        prop_assert_eq!(&whole.log, &cut.log);
        prop_assert_eq!(&whole.sent, &cut.sent);
        prop_assert_eq!(&whole.input, &cut.input);
        prop_assert_eq!(whole.client.stats(), cut.client.stats());
        prop_assert_eq!(whole.client.is_closed(), cut.client.is_closed());

        let exact = std::cell::RefCell::new(client(capabilities, notifies));
        read_exactly(&bytes, || exact.borrow().want(), |piece| exact.borrow_mut().feed(piece));
        let exact = exact.into_inner();
        prop_assert_eq!(&whole.log, &exact.log);
        prop_assert_eq!(&whole.sent, &exact.sent);
    }
}
