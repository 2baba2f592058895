//! The two buffers of a connection. A connection without work holds none: buffers come from, and go back to, a small
//! store of their thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, ReadBuf};

/// The most that one read takes.
const READ: usize = 64 * 1024;
/// So many bytes of unused buffers a thread keeps of each kind.
const KEPT: usize = 4 * 1024 * 1024;
/// In at most so many buffers.
const SPARE: usize = 16;

thread_local! {
    /// What a read fills before anybody knows how much it is.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
    /// Buffers for output; their bytes are initialised.
    static SPARE_OUTPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    /// Buffers for input, empty.
    static SPARE_INPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn take(store: &'static std::thread::LocalKey<RefCell<Vec<Vec<u8>>>>) -> Vec<u8> {
    store.with_borrow_mut(Vec::pop).unwrap_or_default()
}

fn give_back(store: &'static std::thread::LocalKey<RefCell<Vec<Vec<u8>>>>, buffer: Vec<u8>) {
    if buffer.capacity() > 0 {
        store.with_borrow_mut(|spare| {
            let kept: usize = spare.iter().map(Vec::capacity).sum();
            if spare.len() < SPARE && kept + buffer.capacity() <= KEPT {
                spare.push(buffer);
            }
        });
    }
}

/// Received bytes that are not used yet.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    used: usize,
}

impl Input {
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.used += n;
        if self.used >= self.bytes.len() {
            self.used = 0;
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            give_back(&SPARE_INPUTS, bytes);
        }
    }

    /// One read. Safe to cancel.
    pub(crate) async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut read = ReadBuf::new(scratch);
                let poll = Pin::new(&mut *stream).poll_read(cx, &mut read);
                poll.map_ok(|()| {
                    self.append(read.filled());
                    read.filled().len()
                })
            })
        })
        .await
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes = take(&SPARE_INPUTS);
        }
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }
}

/// Frames to send, each written in its place and then counted in.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    used: usize,
}

impl Output {
    /// At least `n` bytes behind the frames that are there.
    pub(crate) fn room(&mut self, n: usize) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = take(&SPARE_OUTPUTS);
        }
        let needed = self.used.saturating_add(n);
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        &mut self.bytes[self.used..]
    }

    /// Counts in a frame of `len` bytes that was written at the start of [`room`](Self::room).
    pub(crate) fn commit(&mut self, len: usize) {
        self.used = self.used.saturating_add(len).min(self.bytes.len());
    }

    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// All is sent.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        give_back(&SPARE_OUTPUTS, std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Their room was zeroed once; to give them up after each frame means to do it again for the next one.
    #[test]
    fn large_buffers_are_kept_within_the_bound() {
        let mut output = Output::default();
        let room = output.room(1024 * 1024).as_ptr();
        output.clear();
        assert_eq!(output.room(1024 * 1024).as_ptr(), room);
        output.clear();

        let mut many: Vec<Output> = (0..8).map(|_| Output::default()).collect();
        many.iter_mut().for_each(|output| assert_eq!(output.room(1024 * 1024).len(), 1024 * 1024));
        many.iter_mut().for_each(Output::clear);
        let kept: usize = SPARE_OUTPUTS.with_borrow(|spare| spare.iter().map(Vec::capacity).sum());
        assert!((1024 * 1024..=KEPT).contains(&kept), "{kept}");
    }
}
