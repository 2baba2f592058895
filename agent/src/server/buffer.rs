//! The two buffers of a connection. They grow as needed, are kept from frame to frame, and shrink when they are empty.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The least room for a read, so that a batch of frames comes with one.
const READ_ROOM: usize = 16 * 1024;
/// A larger buffer is given back when it is empty.
const KEPT: usize = 256 * 1024;

/// Received bytes that are not used yet.
pub(super) struct Input(BytesMut);

impl Input {
    pub(super) fn new() -> Self {
        Input(BytesMut::new())
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.0.advance(n);
        if self.0.is_empty() && self.0.capacity() > KEPT {
            self.0 = BytesMut::new();
        }
    }

    /// One read, with room for at least `want` bytes. Safe to cancel.
    pub(super) async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin), want: usize) -> io::Result<usize> {
        self.0.reserve(want.max(READ_ROOM));
        stream.read_buf(&mut self.0).await
    }
}

/// Frames to send, each written in its place and then counted in.
pub(super) struct Output {
    bytes: Vec<u8>,
    used: usize,
}

impl Output {
    pub(super) fn new() -> Self {
        Output { bytes: Vec::new(), used: 0 }
    }

    /// At least `n` bytes behind the frames that are there.
    pub(super) fn room(&mut self, n: usize) -> &mut [u8] {
        let needed = self.used.saturating_add(n);
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        &mut self.bytes[self.used..]
    }

    /// Counts in a frame of `len` bytes that was written at the start of [`room`](Self::room).
    pub(super) fn commit(&mut self, len: usize) {
        self.used = self.used.saturating_add(len).min(self.bytes.len());
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
        if self.bytes.len() > KEPT {
            self.bytes = Vec::new();
        }
    }
}
