//! The graceful drain of a connection: it is served until nothing comes for a while, what HAProxy sent before it could know
//! that we stop is read, and nothing that we sent is overtaken by the end. [`Server::run`](crate::Server::run) begins it.

use std::io;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::session::Session;
use crate::stats::ServerStats;

/// How long HAProxy may take to close after our last frame.
const LINGER: Duration = Duration::from_secs(1);

/// A NOTIFY that crosses our DISCONNECT gets no answer, so it leaves when none is to be expected: after silence, or right behind
/// the only answer that HAProxy waits for, since before it has read both it sends nothing on that connection.
const QUIET: Duration = Duration::from_millis(200);

/// So long every connection that is not silent is served on: the events of a request that is under way come to the agent that
/// has its first ones.
const SERVED: Duration = Duration::from_millis(100);

/// A connection that is neither silent nor has ever but one answer outstanding is served for so long, or half of the grace time.
const LONGEST: Duration = Duration::from_millis(500);

/// So often it is looked at the end whether something has come: while the first of it was handled more may have.
pub(crate) const LAST_READS: usize = 2;

/// When a connection is to end that is served no longer than it must be.
pub(crate) struct Closing {
    served: Instant,
    heard: Instant,
    latest: Instant,
}

impl Closing {
    /// The drain begins; something came last at `heard`.
    pub(crate) fn begin(now: Instant, heard: Instant, grace: Duration) -> Self {
        Self { served: now + SERVED.min(grace / 4), heard, latest: now + LONGEST.min(grace / 2) }
    }

    /// Something came.
    pub(crate) fn heard(&mut self, at: Instant) {
        self.heard = at;
    }

    /// When it ends though nothing comes.
    pub(crate) fn at(&self) -> Instant {
        (self.heard + QUIET).min(self.latest)
    }

    /// Does it end now? `last_answer`: an answer is to leave, and HAProxy waits for no other.
    pub(crate) fn is_over(&self, now: Instant, last_answer: bool) -> bool {
        self.at() <= now || last_answer && self.served <= now
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, const OPEN: usize> Session<S, OPEN> {
    /// Takes what HAProxy sent before it can know that we stop. False if there is nothing.
    pub(crate) fn read_what_is_there(&mut self) -> bool {
        if self.agent.want(self.inbound.input.unread()).bytes() == 0 {
            return false;
        }
        match self.inbound.input.read(&mut self.stream).now_or_never() {
            Some(Ok(n)) => {
                ServerStats::add(&self.stats().bytes_in, n as u64);
                n > 0
            }
            _ => false,
        }
    }

    /// What is in the input is not handled any more, only counted.
    pub(crate) fn leave_unhandled(&mut self) {
        let unread = self.inbound.input.unread();
        self.unhandled.scan(unread);
        self.inbound.input.consume(unread.len());
    }

    /// Closes without a reset that could overtake the last frames: reads what still comes until HAProxy closes. Gives
    /// the number of NOTIFYs in it and in what was left unhandled before.
    pub(crate) async fn linger(&mut self) -> u64 {
        self.leave_unhandled();
        let discard = async {
            self.stream.shutdown().await?;
            while self.inbound.input.read(&mut self.stream).await? > 0 {
                self.leave_unhandled();
            }
            Ok::<(), io::Error>(())
        };
        // Whatever happens here, the connection is over.
        let _ended = tokio::time::timeout(LINGER, discard).await;
        self.unhandled.notifies()
    }
}
