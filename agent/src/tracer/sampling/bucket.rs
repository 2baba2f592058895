//! A bound on the number of traces in a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const SECOND: u64 = 1_000_000_000;
/// Of an interval, so that sums do not overflow: more than a century.
const LONGEST: u64 = u64::MAX / 4;

/// A token bucket that holds the tokens of one second, and one at least. It is kept as the instant at which it will
/// be full again (GCRA), in one atomic: it is asked under the lock of a shard.
#[derive(Debug)]
pub(super) struct TokenBucket {
    epoch: Instant,
    /// Nanoseconds for one token.
    interval: u64,
    /// When it will be full, in nanoseconds since the epoch.
    full_at: AtomicU64,
}

impl TokenBucket {
    /// A full one.
    pub(super) fn new(per_second: f64, epoch: Instant) -> Self {
        let interval = (SECOND as f64 / per_second).clamp(1.0, LONGEST as f64) as u64;
        TokenBucket { epoch, interval, full_at: AtomicU64::new(0) }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&self, now: Instant) -> bool {
        let now = u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        let capacity = SECOND.max(self.interval);
        let taken = |full_at: u64| {
            let after = full_at.max(now).saturating_add(self.interval);
            (after - now <= capacity).then_some(after)
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The number of tokens that can be had at this time.
    fn drain(bucket: &TokenBucket, ms: u64) -> usize {
        let now = bucket.epoch + Duration::from_millis(ms);
        (0..1000).take_while(|_| bucket.take(now)).count()
    }

    #[test]
    fn at_most_the_tokens_of_a_second_at_once() {
        let bucket = TokenBucket::new(10.0, Instant::now());
        assert_eq!([0, 0, 99, 100, 350, 100_000].map(|ms| drain(&bucket, ms)), [10, 0, 0, 1, 2, 10]);
        assert_eq!(drain(&bucket, 99_000), 0, "a late reader of the clock");
    }

    #[test]
    fn less_than_one_in_a_second() {
        let bucket = TokenBucket::new(0.5, Instant::now());
        assert_eq!([0, 1000, 1999, 2000, 60_000].map(|ms| drain(&bucket, ms)), [1, 0, 0, 1, 1]);
    }

    #[test]
    fn extremes() {
        let bucket = TokenBucket::new(1e300, Instant::now());
        assert_eq!(drain(&bucket, 0), 1000);
        let bucket = TokenBucket::new(1e-300, Instant::now());
        assert_eq!([0, u64::from(u32::MAX)].map(|ms| drain(&bucket, ms)), [1, 0]);
    }
}
