//! A case: bytes, and what has to come of them.

use crate::agent::{BOTH, LiveAgent, Program, figure};
use crate::common::PATIENCE;
use crate::raw::{Raw, Reply};
use crate::wire;

/// Where a case begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Connected,
    AfterHello,
}

/// What has to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// These replies, then AGENT-DISCONNECT with this status, then the end.
    Refused(Vec<Reply>, u32),
    /// These replies, then the end.
    Ended(Vec<Reply>),
    /// These replies, and the connection goes on.
    GoesOn(Vec<Reply>),
    /// These replies; then the agent waits for the rest, and ends when the peer does.
    Waits(Vec<Reply>),
}

/// As many log lines an agent may write, from its start to its end, whatever peers do meanwhile: some ten of its own, and
/// one in ten seconds for each of the seven causes that peers have.
pub const QUIET: usize = 60;

pub struct Case {
    pub name: String,
    pub start: Start,
    pub bytes: Vec<u8>,
    pub outcome: Outcome,
}

/// AGENT-DISCONNECT and the end.
pub fn refused(status: u32) -> Outcome {
    Outcome::Refused(Vec::new(), status)
}

/// The connection goes on, with these ACKs first.
pub fn acked(ids: &[(u64, u64)]) -> Outcome {
    Outcome::GoesOn(ids.iter().map(|&(stream_id, frame_id)| Reply::Ack(stream_id, frame_id)).collect())
}

/// Nothing comes of it and the connection goes on.
pub fn ignored() -> Outcome {
    acked(&[])
}

/// Ids of the NOTIFY that shows that a connection goes on.
const PROBE: (u64, u64) = (u64::MAX, u64::MAX);

impl Case {
    pub fn new(start: Start, name: impl Into<String>, bytes: impl Into<Vec<u8>>, outcome: Outcome) -> Self {
        Case { name: name.into(), start, bytes: bytes.into(), outcome }
    }

    async fn run(&self, addr: &str) -> Vec<Reply> {
        let mut raw = match self.start {
            Start::Connected => Raw::connect(addr).await,
            Start::AfterHello => Raw::running(addr).await,
        };
        raw.send(&self.bytes).await;
        match self.outcome {
            Outcome::Waits(_) => raw.finish().await,
            Outcome::GoesOn(_) => {
                raw.send(&wire::notify(PROBE.0, PROBE.1)).await;
            }
            Outcome::Refused(..) | Outcome::Ended(_) => {}
        }
        let mut replies = Vec::new();
        loop {
            let reply = raw.reply().await;
            let last = reply == Reply::End || reply == Reply::Ack(PROBE.0, PROBE.1);
            replies.push(reply);
            if last {
                return replies;
            }
        }
    }

    fn expected(&self) -> Vec<Reply> {
        let (replies, last) = match &self.outcome {
            Outcome::Refused(replies, status) => (replies, vec![Reply::Disconnect(*status), Reply::End]),
            Outcome::Ended(replies) | Outcome::Waits(replies) => (replies, vec![Reply::End]),
            Outcome::GoesOn(replies) => (replies, vec![Reply::Ack(PROBE.0, PROBE.1)]),
        };
        [&replies[..], &last].concat()
    }
}

/// Each case against both agents, which have to serve others after it, and to count and log it as they should.
pub async fn run_all(args: &[&str], cases: &[Case]) {
    let args = [&["--max-frame-size", "16380"], args].concat();
    for program in BOTH {
        let mut agent = LiveAgent::start(program, &args).await;
        for case in cases {
            let what = format!("{program:?} {args:?}: {}", case.name);
            let replies = tokio::time::timeout(PATIENCE / 2, case.run(&agent.addr)).await;
            let replies = replies.unwrap_or_else(|_| panic!("{what}: timed out"));
            assert_eq!(replies, case.expected(), "{what}");
            agent.serves(&case.name).await;
        }
        let log = agent.stop().await;
        assert!(log.len() <= QUIET, "{log:#?}");
        if program == Program::SpoaOtel {
            let broken = cases.iter().filter(|case| matches!(case.outcome, Outcome::Refused(_, 1..))).count() as u64;
            assert_eq!(figure(&log, "report: connections ended", "protocol_errors"), broken, "{log:#?}");
        }
    }
}
