//! Timeouts, by ticks.

use spop_core::{AgentConfig, ClientConfig, FrameType, ProtocolError, Status, Timer};

use crate::common::{AgentLog, AgentSide, ClientLog, ClientSide, Pair, hello, raw_frame};

const ALL: AgentConfig =
    AgentConfig::DEFAULT.with_hello_timeout(Some(100)).with_half_frame_timeout(Some(10)).with_idle_timeout(Some(50));

fn running(config: AgentConfig) -> AgentSide<2> {
    let mut side = AgentSide::new(config);
    side.feed(&hello(false, 16380, super::ALL[0]));
    side.take_log();
    side.take_sent();
    side
}

/// Nothing happens up to the tick before `at`; then the connection ends by status 2.
fn assert_fires<const N: usize>(mut side: AgentSide<N>, at: u64, timer: Timer) {
    assert_eq!(side.agent.poll_timeout(), Some(at));
    assert_eq!(side.at(at - 1), Ok(()));
    assert_eq!(side.agent.poll_timeout(), Some(at));
    assert_eq!(side.at(at), Err(ProtocolError::TimedOut(timer)));
    assert_eq!(side.sent.len(), 1);
    assert!(side.agent.is_closed());
    assert_eq!((side.agent.poll_timeout(), side.at(u64::MAX)), (None, Ok(())));
    let mut client: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
    client.feed(&side.sent.concat());
    assert!(matches!(client.log[..], [ClientLog::Disconnect { status: Some(Status::TIMEOUT), .. }]));
}

#[test]
fn no_timeout_by_default() {
    let mut side: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
    side.feed(&[0]);
    assert_eq!((side.agent.poll_timeout(), side.at(u64::MAX)), (None, Ok(())));
    let side = running(AgentConfig::DEFAULT);
    assert_eq!(side.agent.poll_timeout(), None);
    assert_eq!(ClientSide::<1>::new(ClientConfig::DEFAULT).client.poll_timeout(), None);
}

#[test]
fn no_hello() {
    assert_fires(AgentSide::<2>::new(ALL), 100, Timer::Hello);
    // Half a HELLO: whichever comes first.
    let mut side = AgentSide::<2>::new(ALL);
    side.at(30).unwrap();
    side.feed(&[0, 0, 0]);
    assert_fires(side, 40, Timer::HalfFrame);
    let mut side = AgentSide::<2>::new(ALL);
    side.at(95).unwrap();
    side.feed(&[0, 0, 0]);
    assert_fires(side, 100, Timer::Hello);
}

#[test]
fn half_a_frame() {
    let mut side = running(ALL);
    side.at(5).unwrap();
    let frame = raw_frame(FrameType::NOTIFY, 1, (1, 1), b"");
    side.feed(&frame[..1]);
    // More of it does not give more time.
    side.at(12).unwrap();
    side.feed(&frame[1..10]);
    assert_fires(side, 15, Timer::HalfFrame);

    // The end of it does, and the half of the next one begins anew.
    let mut side = running(ALL);
    side.feed(&frame[..1]);
    side.at(9).unwrap();
    side.feed(&frame[1..]);
    assert_eq!(side.log.len(), 1);
    assert_eq!(side.agent.poll_timeout(), None, "a NOTIFY is open");
    side.feed(&frame[..5]);
    assert_fires(side, 19, Timer::HalfFrame);
}

#[test]
fn a_fragmented_notify_that_stands_still() {
    let first = raw_frame(FrameType::NOTIFY, 0, (1, 1), b"\x01");
    let mut side = running(ALL);
    side.at(5).unwrap();
    side.feed(&first);
    assert_eq!(side.agent.poll_timeout(), Some(15));
    side.at(14).unwrap();
    side.feed(&raw_frame(FrameType::UNSET, 0, (1, 1), b"m"));
    assert_eq!(side.agent.poll_timeout(), Some(24), "a fragment gives more time");
    assert_fires(side, 24, Timer::HalfFrame);

    // Neither an answer to another NOTIFY nor a frame of an unknown type does.
    let mut side = running(ALL);
    side.feed(&raw_frame(FrameType::NOTIFY, 1, (9, 1), b""));
    side.at(5).unwrap();
    side.feed(&first);
    side.at(12).unwrap();
    side.ack(side.tickets()[0]).unwrap();
    side.feed(&raw_frame(FrameType(50), 1, (1, 1), b""));
    assert_eq!(side.agent.poll_timeout(), Some(15));
    side.sent.clear();
    assert_fires(side, 15, Timer::HalfFrame);

    // The last fragment, an abort and a DISCONNECT end the wait.
    for end in [
        raw_frame(FrameType::UNSET, 1, (1, 1), b"m\x00"),
        raw_frame(FrameType::UNSET, 3, (1, 1), b""),
        raw_frame(FrameType::HAPROXY_DISCONNECT, 1, (0, 0), b""),
    ] {
        let mut side = running(ALL.with_idle_timeout(None));
        side.feed(&first);
        side.feed(&end);
        assert_eq!((side.agent.poll_timeout(), side.at(1000)), (None, Ok(())));
        assert_eq!(side.log.len(), 1);
    }
}

#[test]
fn idle() {
    assert_fires(running(ALL), 50, Timer::Idle);
    let mut side = running(ALL);
    side.at(20).unwrap();
    side.feed(&raw_frame(FrameType(50), 1, (1, 1), b""));
    assert_eq!(side.agent.poll_timeout(), Some(70), "a frame of any type");
    side.at(69).unwrap();
    side.feed(&raw_frame(FrameType::NOTIFY, 1, (1, 1), b""));
    assert_eq!((side.agent.poll_timeout(), side.at(1000)), (None, Ok(())), "a NOTIFY is open");
    side.ack(side.tickets()[0]).unwrap();
    assert_eq!(side.agent.poll_timeout(), Some(1050), "from the answer on");
    side.sent.clear();
    assert_fires(side, 1050, Timer::Idle);
}

/// While the agent itself does not read, the peer is not to blame.
#[test]
fn none_while_paused() {
    let mut side = running(ALL);
    let frames = [(1, 1), (3, 1), (5, 1)].map(|ids| raw_frame(FrameType::NOTIFY, 1, ids, b"")).concat();
    side.feed(&frames[..frames.len() - 1]);
    assert_eq!((side.agent.open(), side.agent.poll_timeout(), side.at(1000)), (2, None, Ok(())));
    side.ack(side.tickets()[0]).unwrap();
    assert_eq!(side.agent.poll_timeout(), None);
    side.run();
    assert_eq!(side.agent.poll_timeout(), Some(1010), "the half frame counts from now");
    side.feed(&frames[frames.len() - 1..]);
    assert_eq!(side.tickets().len(), 3);

    // Neither while its HELLO waits to be sent, nor while it drains.
    let mut side: AgentSide = AgentSide::new(ALL);
    side.agent.handle_input(&hello(false, 16380, super::ALL[0]), &mut []).unwrap();
    assert_eq!(side.agent.poll_timeout(), None);
    side.flush();
    assert_eq!(side.agent.poll_timeout(), Some(50));
    side.feed(&raw_frame(FrameType::NOTIFY, 1, (1, 1), b""));
    side.feed(&[0]);
    assert_eq!(side.agent.poll_timeout(), Some(10));
    side.close(Status::NORMAL);
    assert_eq!((side.agent.poll_timeout(), side.at(1000)), (None, Ok(())));
}

/// A clock that goes back does not; one at its end does not overflow.
#[test]
fn odd_clocks() {
    let mut side = running(ALL);
    side.at(40).unwrap();
    side.at(3).unwrap();
    side.feed(&[0]);
    assert_eq!(side.agent.poll_timeout(), Some(50));
    let mut side = running(ALL.with_idle_timeout(None));
    side.at(u64::MAX - 1).unwrap();
    side.feed(&[0]);
    assert_eq!(side.agent.poll_timeout(), Some(u64::MAX));
    assert_eq!(side.at(u64::MAX), Err(ProtocolError::TimedOut(Timer::HalfFrame)));
}

#[test]
fn the_clients_hello() {
    let config = ClientConfig::DEFAULT.with_hello_timeout(Some(30));
    let mut pair: Pair = Pair::new(AgentConfig::DEFAULT, config);
    pair.client.flush();
    pair.client.sent.clear();
    assert_eq!(pair.client.client.poll_timeout(), Some(30));
    assert_eq!(pair.client.client.handle_timeout(29), Ok(()));
    assert_eq!(pair.client.client.handle_timeout(30), Err(ProtocolError::TimedOut(Timer::Hello)));
    assert_eq!(pair.client.client.poll_timeout(), None);
    pair.exchange();
    assert!(matches!(pair.agent.log[..], [AgentLog::Disconnect { status: Some(Status::TIMEOUT), .. }]));

    let mut pair: Pair = Pair::new(AgentConfig::DEFAULT, config);
    pair.exchange();
    assert_eq!((pair.client.client.poll_timeout(), pair.client.client.handle_timeout(99)), (None, Ok(())));
}
