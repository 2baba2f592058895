//! The timeouts of the agent's side. Time comes in from outside, as ticks.

use super::{Agent, State};
use crate::conn::error::{ProtocolError, Timer};

impl<const OPEN: usize> Agent<OPEN> {
    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the latest, in ticks; `None`: no timeout runs.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.deadline().map(|(at, _)| at)
    }

    /// Tells the time, in ticks since the connection began. Call it before input that came later than the last call
    /// (the clock of the timeouts is what was told last), and at [`poll_timeout`](Self::poll_timeout).
    ///
    /// # Errors
    /// A timeout ran out: as in [`handle_input`](Self::handle_input), with status 2.
    pub fn handle_timeout(&mut self, now: u64) -> Result<(), ProtocolError> {
        self.now = self.now.max(now);
        match self.deadline() {
            Some((at, timer)) if at <= self.now => Err(self.fail(ProtocolError::TimedOut(timer))),
            _ => Ok(()),
        }
    }

    fn deadline(&self) -> Option<(u64, Timer)> {
        if self.is_paused() {
            return None;
        }
        let half = match (self.half_since, self.config.half_frame_timeout) {
            (Some(since), Some(timeout)) => Some((since.saturating_add(timeout), Timer::HalfFrame)),
            (None, Some(timeout)) if self.reassembler.in_progress() => {
                Some((self.fragment_at.saturating_add(timeout), Timer::HalfFrame))
            }
            _ => None,
        };
        let other = match self.state {
            State::AwaitHello => self.config.hello_timeout.map(|timeout| (timeout, Timer::Hello)),
            State::Running if self.open.len() == 0 && half.is_none() => {
                self.config.idle_timeout.map(|timeout| (self.active_at.saturating_add(timeout), Timer::Idle))
            }
            State::Running => None,
            State::Draining | State::Closing | State::Closed => return None,
        };
        match (half, other) {
            (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}
