//! The input: a file or standard input, unpacked if gzip or zstd packed it.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The largest window of a packed file, as a power of two: what the program `zstd` takes without `--long`.
const MAX_WINDOW: u32 = 27;

/// The first failure of a reader, for those who only hear that there was one.
#[derive(Clone, Default)]
pub(super) struct Failed(Arc<Mutex<Option<String>>>);

/// The bytes of the input.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    /// What may still come out of a packed file, and what could at first.
    left: Option<(u64, u64)>,
    pub(super) failed: Failed,
    /// To ask whether more is there; not for packed input.
    waits: Option<OwnedFd>,
}

impl Input {
    /// Tells by the first bytes whether it is packed. Neither a frame nor a line of hex digits nor a capture begins so.
    pub(super) fn new(mut file: File, max_unpacked: u64) -> io::Result<Self> {
        let waits = file.try_clone()?.into();
        let mut head = Vec::new();
        file.by_ref().take(4).read_to_end(&mut head)?;
        let packed =
            matches!(head.as_slice(), [0x1F, 0x8B, ..] | [0x28, 0xB5, 0x2F, 0xFD] | [0x50..=0x5F, 0x2A, 0x4D, 0x18]);
        let gzip = head.first() == Some(&0x1F);
        let bytes = Cursor::new(head).chain(file);
        let reader: Box<dyn Read + Send> = match (packed, gzip) {
            (false, _) => Box::new(bytes),
            (true, true) => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
            (true, false) => {
                let mut decoder = zstd::Decoder::new(bytes)?;
                decoder.window_log_max(MAX_WINDOW)?;
                Box::new(decoder)
            }
        };
        let (left, waits) = if packed { (Some((max_unpacked, max_unpacked)), None) } else { (None, Some(waits)) };
        Ok(Input { reader, left, failed: Failed::default(), waits })
    }

    /// The side of it that tells whether more is there.
    pub(super) fn take_waits(&mut self) -> Option<OwnedFd> {
        self.waits.take()
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.reader.read(buf).and_then(|n| match &mut self.left {
            Some((left, limit)) if (n as u64) > *left => {
                Err(io::Error::other(format!("it unpacks to more than {limit} bytes (--max-unpacked)")))
            }
            Some((left, _)) => {
                *left -= n as u64;
                Ok(n)
            }
            None => Ok(n),
        });
        if let Err(error) = result.as_ref().map_err(ToString::to_string) {
            self.failed.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
        result
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

/// Nothing came for so long.
pub(super) fn is_silent(input: &OwnedFd, time: Duration) -> bool {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    // An error, if there is one, comes up at the next read.
    matches!(poll(&mut [PollFd::new(input, PollFlags::IN)], Some(&time)), Ok(0))
}
