//! The graceful drain of a connection: what HAProxy sent before it could know that we stop is read, and nothing that we
//! sent is overtaken by the end. [`Server::run`](crate::Server::run) begins it.

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::frames::Frames;
use crate::session::Session;
use crate::stats::ServerStats;

/// How long HAProxy may take to close after our last frame.
const LINGER: Duration = Duration::from_secs(1);

impl<S: AsyncRead + AsyncWrite + Unpin, const OPEN: usize> Session<S, OPEN> {
    /// Takes what HAProxy sent before it can know that we stop.
    pub(crate) fn read_what_is_there(&mut self) {
        if self.agent.want(self.inbound.input.unread()).bytes() > 0 {
            if let Some(Ok(n)) = self.inbound.input.read(&mut self.stream).now_or_never() {
                ServerStats::add(&self.stats().bytes_in, n as u64);
            }
        }
    }

    /// Closes without a reset that could overtake the last frames: reads what still comes until HAProxy closes. Gives
    /// the number of NOTIFYs in it.
    pub(crate) async fn linger(&mut self) -> u64 {
        let mut frames = Frames::default();
        frames.scan(self.inbound.input.unread());
        self.inbound.input.consume(self.inbound.input.unread().len());
        let discard = async {
            self.stream.shutdown().await?;
            while self.inbound.input.read(&mut self.stream).await? > 0 {
                frames.scan(self.inbound.input.unread());
                self.inbound.input.consume(self.inbound.input.unread().len());
            }
            Ok::<(), io::Error>(())
        };
        // Whatever happens here, the connection is over.
        let _ended = tokio::time::timeout(LINGER, discard).await;
        frames.notifies()
    }
}
