//! When the collector may be asked. While it fails, one request at a time asks
//! it again, after growing waits; all others wait for the outcome.

use super::config::RetryConfig;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// By so much later than the others comes who failed: their timers end first.
const BEHIND: Duration = Duration::from_millis(20);

/// The longest wait once the exporter is to stop: little time is left.
const LONGEST_AT_END: Duration = Duration::from_millis(500);

/// Shared by all requests to one collector.
#[derive(Debug)]
pub(super) struct Backoff {
    config: RetryConfig,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Attempts that failed since the last success.
    failures: u32,
    /// Changes with each outcome: what began before it tells nothing new.
    epoch: u64,
    /// Not before then, while there are failures.
    next: Instant,
    /// The collector itself set `next`.
    asked: bool,
    probing: bool,
    ending: bool,
}

/// The right to send one request. Its outcome is to be told; without one (it
/// was given up) the next in line has its turn.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    backoff: &'a Backoff,
    epoch: u64,
    is_probe: bool,
}

impl Backoff {
    pub(super) fn new(config: RetryConfig) -> Self {
        let state = State { failures: 0, epoch: 0, next: Instant::now(), asked: false, probing: false, ending: false };
        Self { config, state: Mutex::new(state), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may be sent. `own`: not before then, as its last failure said.
    pub(super) async fn turn(&self, own: Option<Instant>) -> Turn<'_> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next = {
                let mut state = self.lock();
                let fails = state.failures > 0;
                let next = Some(state.next).filter(|_| fails);
                let own = if state.ending { own.min(next.map(|next| next + BEHIND)) } else { own };
                let next = next.max(own);
                let is_free = !(fails && state.probing);
                if is_free && next.is_none_or(|next| next <= Instant::now()) {
                    state.probing |= fails;
                    return Turn { backoff: self, epoch: state.epoch, is_probe: fails };
                }
                next.filter(|_| is_free)
            };
            match next {
                // Both outcomes lead to a new look.
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }

    /// From now on waits are short, except those that the collector asked for.
    pub(super) fn end_soon(&self) {
        let mut state = self.lock();
        state.ending = true;
        if !state.asked {
            state.next = state.next.min(Instant::now() + LONGEST_AT_END);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Half of the wait is chance, so that many agents do not come at once.
    fn wait(&self, failures: u32) -> Duration {
        let doubled = self.config.initial_delay.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.config.max_delay).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

impl Turn<'_> {
    /// The collector answered, whatever it said of this request. Gives the
    /// number of failed attempts before.
    pub(super) fn answered(self) -> u32 {
        let mut state = self.backoff.lock();
        state.epoch += 1;
        state.asked = false;
        std::mem::take(&mut state.failures)
    }

    /// The collector could not take the request, for the `times`th time; it may have said how long to wait. Gives
    /// when it may be sent again: after the others, which may not share its fault.
    pub(super) fn failed(self, retry_after: Option<Duration>, times: u32) -> Instant {
        let config = &self.backoff.config;
        let now = Instant::now();
        let mut state = self.backoff.lock();
        if self.epoch == state.epoch {
            state.epoch += 1;
            state.failures = state.failures.saturating_add(1);
            let wait = self.backoff.wait(state.failures);
            state.next = now + if state.ending { wait.min(LONGEST_AT_END) } else { wait };
            state.asked = false;
        }
        if let Some(wait) = retry_after {
            // Even if it took another request meanwhile.
            state.failures = state.failures.max(1);
            let at = now + wait.min(config.max_retry_after);
            state.asked |= at > state.next;
            state.next = state.next.max(at);
        }
        let others = if state.failures > 0 { state.next } else { now };
        others.max(now + self.backoff.wait(times)) + BEHIND
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.backoff.lock().probing = false;
        }
        self.backoff.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn backoff() -> Backoff {
        Backoff::new(RetryConfig {
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(4),
            max_retry_after: Duration::from_secs(60),
        })
    }

    /// Seconds until the next turn.
    async fn waited(backoff: &Backoff) -> (f64, Turn<'_>) {
        let start = Instant::now();
        let turn = backoff.turn(None).await;
        (start.elapsed().as_secs_f64(), turn)
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_longest_and_end_with_a_success() {
        let backoff = backoff();
        backoff.turn(None).await.failed(None, 1);
        for longest in [1.0, 2.0, 4.0, 4.0] {
            let (wait, turn) = waited(&backoff).await;
            assert!((longest / 2.0 - 0.01..=longest + 0.01).contains(&wait), "{wait} of {longest}");
            turn.failed(None, 1);
        }
        let (_, turn) = waited(&backoff).await;
        assert_eq!(turn.answered(), 5);
        assert_eq!(waited(&backoff).await.0, 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_while_it_fails_and_a_success_lets_all_go() {
        let backoff = backoff();
        let (one, two) = (backoff.turn(None).await, backoff.turn(None).await);
        one.failed(None, 1);
        // It began before that: no second failure.
        two.failed(None, 1);
        let probe = backoff.turn(None).await;
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(backoff.turn(None).now_or_never().is_none(), "one at a time");
        assert_eq!(probe.answered(), 1);
        assert!(backoff.turn(None).now_or_never().is_some());
        // A probe that is given up makes way.
        backoff.turn(None).await.failed(None, 1);
        drop(backoff.turn(None).await);
        assert!(backoff.turn(None).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_collector_asks_for_counts_although_it_took_another_request() {
        let backoff = backoff();
        let (one, two) = (backoff.turn(None).await, backoff.turn(None).await);
        assert_eq!(one.answered(), 0);
        two.failed(Some(Duration::from_secs(30)), 1);
        let (wait, turn) = waited(&backoff).await;
        assert!((29.9..=30.1).contains(&wait), "{wait}");
        assert_eq!(turn.answered(), 1);
        // Without such a wish the one that was taken says more, whatever was to be waited for before.
        let [one, two, three] = [backoff.turn(None).await, backoff.turn(None).await, backoff.turn(None).await];
        one.failed(Some(Duration::from_secs(30)), 1);
        assert_eq!(two.answered(), 1);
        let own = three.failed(None, 1);
        assert!(backoff.turn(None).now_or_never().is_some());
        let start = Instant::now();
        backoff.turn(Some(own)).await.answered();
        assert!(start.elapsed() <= Duration::from_secs(1) + BEHIND, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_collector_asks_for_is_kept_within_the_bound_even_at_the_end() {
        let backoff = backoff();
        backoff.turn(None).await.failed(Some(Duration::from_secs(30)), 1);
        backoff.end_soon();
        let (wait, turn) = waited(&backoff).await;
        assert!((29.9..=30.1).contains(&wait), "{wait}");
        turn.failed(Some(Duration::from_secs(86_400)), 1);
        let (wait, turn) = waited(&backoff).await;
        assert!((59.9..=60.1).contains(&wait), "{wait}");
        turn.failed(None, 1);
        let (wait, _) = waited(&backoff).await;
        assert!(wait <= 0.51, "short at the end: {wait}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_always_fails_leaves_the_others_their_turns() {
        let (working, ending) = (backoff(), backoff());
        ending.end_soon();
        others_have_their_turns(&working).await;
        others_have_their_turns(&ending).await;
    }

    async fn others_have_their_turns(backoff: &Backoff) {
        let mut tried = 0;
        let unlucky = async {
            let mut own = None;
            loop {
                tried += 1;
                own = Some(backoff.turn(own).await.failed(None, tried));
            }
        };
        let others = async {
            for _ in 0..100 {
                backoff.turn(None).await.answered();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let patience = tokio::time::sleep(Duration::from_secs(120));
        let done = tokio::select! {
            biased;
            () = unlucky => false,
            () = patience => false,
            () = others => true,
        };
        assert!(done && tried > 3, "{tried}");
    }
}
