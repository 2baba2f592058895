//! A stream means the same however the transport cuts it, and its end leaves nobody stuck.

use std::cell::RefCell;

use spop_core::{AgentConfig, Capabilities, ClientConfig, Want};

use crate::common::{AgentSide, ClientSide, hello};

/// Cuts `bytes` into pieces of these lengths, taken in turn.
fn pieces<'a>(mut bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = bytes.split_at((*cuts.next()?).min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
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

/// A small agent, so that its bounds are met.
fn agent(capabilities: Capabilities, answers: bool) -> AgentSide<3> {
    let config = AgentConfig::DEFAULT.with_max_frame_size(16384).with_capabilities(capabilities).with_max_fragments(4);
    let mut side = AgentSide::new(config);
    side.reassembly = vec![0; 64];
    side.answers = answers;
    side
}

/// The events, the frames sent and what is left of `bytes` are those of one delivery. `cuts` are 1 or more each; with
/// `answers` each NOTIFY is answered at once.
pub fn at_an_agent(bytes: &[u8], cuts: &[usize], capabilities: Capabilities, answers: bool) {
    let mut whole = agent(capabilities, answers);
    whole.feed(bytes);
    let mut cut = agent(capabilities, answers);
    pieces(bytes, cuts).for_each(|piece| cut.feed(piece));
    assert_eq!(&whole.log, &cut.log);
    assert_eq!(&whole.sent, &cut.sent);
    assert_eq!(&whole.input, &cut.input);
    assert_eq!(whole.agent.stats(), cut.agent.stats());
    assert_eq!(whole.agent.is_closed(), cut.agent.is_closed());

    let exact = RefCell::new(agent(capabilities, answers));
    read_exactly(bytes, || exact.borrow().want(), |piece| exact.borrow_mut().feed(piece));
    let exact = exact.into_inner();
    assert_eq!(&whole.log, &exact.log);
    assert_eq!(&whole.sent, &exact.sent);
    agent_goes_on(whole);
}

/// With what it waits for the agent moves on: bytes, answers, or the end.
fn agent_goes_on(mut side: AgentSide<3>) {
    if side.want() == Want::Pause {
        assert_eq!(side.agent.open(), 3, "paused with room for a NOTIFY");
    }
    for ticket in side.tickets() {
        let _superseded = side.ack(ticket);
    }
    assert_eq!(side.agent.open(), 0);
    side.answers = true;
    side.run();
    // The rest of the prefix, then the rest of the frame.
    for _ in 0..2 {
        match side.want() {
            Want::Read(n) => side.feed(&vec![0; n]),
            Want::Pause => panic!("paused with every NOTIFY answered"),
            Want::Close => assert!(side.agent.is_closed(), "something is left to send"),
        }
    }
    assert!(side.input.is_empty(), "stuck with {} bytes", side.input.len());
}

/// A client that said its HELLO; with `notifies` the handshake is done and NOTIFYs are in flight.
fn client(capabilities: Capabilities, notifies: bool) -> ClientSide {
    let mut side = ClientSide::new(ClientConfig::DEFAULT.with_capabilities(capabilities));
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

/// As [`at_an_agent`].
pub fn at_a_client(bytes: &[u8], cuts: &[usize], capabilities: Capabilities, notifies: bool) {
    let mut whole = client(capabilities, notifies);
    whole.feed(bytes);
    let mut cut = client(capabilities, notifies);
    pieces(bytes, cuts).for_each(|piece| cut.feed(piece));
    assert_eq!(&whole.log, &cut.log);
    assert_eq!(&whole.sent, &cut.sent);
    assert_eq!(&whole.input, &cut.input);
    assert_eq!(whole.client.stats(), cut.client.stats());
    assert_eq!(whole.client.is_closed(), cut.client.is_closed());

    let exact = RefCell::new(client(capabilities, notifies));
    read_exactly(bytes, || exact.borrow().want(), |piece| exact.borrow_mut().feed(piece));
    let exact = exact.into_inner();
    assert_eq!(&whole.log, &exact.log);
    assert_eq!(&whole.sent, &exact.sent);
    client_goes_on(whole);
}

/// With the bytes that it waits for the client moves on.
fn client_goes_on(mut side: ClientSide) {
    for _ in 0..2 {
        match side.want() {
            Want::Read(n) => side.feed(&vec![0; n]),
            Want::Pause => panic!("a client does not pause"),
            Want::Close => assert!(side.client.is_closed(), "something is left to send"),
        }
    }
    assert!(side.input.is_empty(), "stuck with {} bytes", side.input.len());
}
