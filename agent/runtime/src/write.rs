//! What is sent: ACKs that are ready together leave in one write.

use std::io;

use futures_util::FutureExt;
use spop_core::{FrameType, Header, MAX_TRANSMIT_LEN};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::session::Session;
use crate::shared::beyond_own;
use crate::stats::{ServerStats, Side};

/// The output is sent before further frames are handled once it has so many bytes.
const OUTPUT_HIGH: usize = 64 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin, const OPEN: usize> Session<S, OPEN> {
    /// Has so much to send that the rest of the input has to wait.
    pub(crate) fn has_much_to_send(&self) -> bool {
        self.output.pending().len() > OUTPUT_HIGH
    }

    /// The frames of the agent itself.
    pub(crate) fn transmit(&mut self) {
        loop {
            let disconnect = self.agent.pending_disconnect();
            let output = &mut self.output;
            let room = output.room(MAX_TRANSMIT_LEN);
            let Ok(Some(len)) = self.agent.poll_transmit(room) else { return };
            let sent = Header::peek(room).map(|header| header.frame_type);
            output.commit(len);
            let stats = self.stats();
            let counter = match sent {
                Some(FrameType::AGENT_HELLO) => &stats.sent_hello,
                Some(FrameType::ACK) => &stats.sent_ack,
                _ => &stats.sent_disconnect,
            };
            ServerStats::add(counter, 1);
            if let Some(status) = disconnect {
                self.stats().disconnect(Side::Agent, status);
            }
        }
    }

    /// Sends all that is ready.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.transmit();
        let bytes = self.output.pending();
        if bytes.is_empty() {
            self.output.clear();
            return Ok(());
        }
        let (shared, held, output) = (&self.shared, self.held(), self.output.capacity());
        ServerStats::add(&shared.stats.bytes_out, bytes.len() as u64);
        let stream = &mut self.stream;
        // TLS keeps what the system does not take at once.
        let write = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        tokio::pin!(write);
        let written = match write.as_mut().now_or_never() {
            Some(written) => written,
            // HAProxy does not read as fast as it asks.
            None if shared.has_room(&mut self.buffered, held + output) => {
                match timeout(shared.config.write_timeout, write).await {
                    Ok(written) => written,
                    Err(_) => {
                        self.gave_up = true;
                        ServerStats::add(&shared.stats.write_timeouts, 1);
                        if let Some(left_out) = shared.logs.io.pass() {
                            let connection = self.connection.id;
                            tracing::info!(connection, left_out, "connection ended: its ACKs were not read in time");
                        }
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
            }
            // Nor would it read a DISCONNECT.
            None => {
                self.gave_up = true;
                return Err(io::ErrorKind::OutOfMemory.into());
            }
        };
        self.output.clear();
        self.buffered.set(beyond_own(held));
        written
    }
}
