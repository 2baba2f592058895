//! How long something took, counted in buckets whose bounds double.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Durations in `N` buckets. The first goes up to `FIRST` nanoseconds inclusive, each of the next ones twice as far, and
/// the last one takes what is longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durations<const FIRST: u64, const N: usize> {
    counts: [u64; N],
    sum_nanos: u64,
}

impl<const FIRST: u64, const N: usize> Default for Durations<FIRST, N> {
    fn default() -> Self {
        Self { counts: [0; N], sum_nanos: 0 }
    }
}

impl<const FIRST: u64, const N: usize> Durations<FIRST, N> {
    /// Counts one.
    pub fn observe(&mut self, took: Duration) {
        let nanos = nanos(took);
        self.counts[Self::bucket(nanos)] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    /// The upper bound of each bucket in seconds, the last of which is infinite, and its count.
    pub fn buckets(&self) -> [(f64, u64); N] {
        std::array::from_fn(|at| {
            let bound = if at + 1 == N { f64::INFINITY } else { (FIRST << at) as f64 / 1e9 };
            (bound, self.counts[at])
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    fn bucket(nanos: u64) -> usize {
        let halvings = u64::BITS - (nanos.saturating_sub(1) / FIRST).leading_zeros();
        (halvings as usize).min(N - 1)
    }
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// [`Durations`] that several tasks add to.
#[derive(Debug)]
pub struct Histogram<const FIRST: u64, const N: usize> {
    counts: [AtomicU64; N],
    sum_nanos: AtomicU64,
}

impl<const FIRST: u64, const N: usize> Default for Histogram<FIRST, N> {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), sum_nanos: AtomicU64::new(0) }
    }
}

impl<const FIRST: u64, const N: usize> Histogram<FIRST, N> {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let mut one = Durations::default();
        one.observe(took);
        self.add(&one);
    }

    /// Adds what was counted elsewhere.
    pub fn add(&self, durations: &Durations<FIRST, N>) {
        for (shared, &count) in self.counts.iter().zip(&durations.counts).filter(|&(_, &count)| count > 0) {
            shared.fetch_add(count, Relaxed);
        }
        self.sum_nanos.fetch_add(durations.sum_nanos, Relaxed);
    }

    /// The present values.
    pub fn snapshot(&self) -> Durations<FIRST, N> {
        Durations {
            counts: std::array::from_fn(|at| self.counts[at].load(Relaxed)),
            sum_nanos: self.sum_nanos.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Small = Durations<1000, 4>;

    #[test]
    fn bounds_belong_to_their_buckets() {
        for (nanos, bucket) in [(0, 0), (1, 0), (1000, 0), (1001, 1), (2000, 1), (2001, 2), (4000, 2), (4001, 3)] {
            let mut durations = Small::default();
            durations.observe(Duration::from_nanos(nanos));
            let counts = durations.buckets().map(|(_, count)| count);
            assert_eq!(counts.iter().position(|&count| count == 1), Some(bucket), "{nanos} ns");
        }
        assert_eq!(Small::default().buckets().map(|(bound, _)| bound), [1e-6, 2e-6, 4e-6, f64::INFINITY]);
    }

    #[test]
    fn what_is_longest_of_all_is_no_overflow() {
        let mut durations = Small::default();
        durations.observe(Duration::MAX);
        durations.observe(Duration::MAX);
        assert_eq!((durations.count(), durations.sum()), (2, Duration::from_nanos(u64::MAX)));
    }

    #[test]
    fn shared_is_the_sum_of_its_parts() {
        let shared = Histogram::<1000, 4>::default();
        let mut part = Small::default();
        part.observe(Duration::from_micros(3));
        part.observe(Duration::from_micros(30));
        shared.add(&part);
        shared.observe(Duration::from_micros(3));
        let snapshot = shared.snapshot();
        assert_eq!(snapshot.buckets().map(|(_, count)| count), [0, 0, 2, 1]);
        assert_eq!((snapshot.count(), snapshot.sum()), (3, Duration::from_micros(36)));
    }
}
