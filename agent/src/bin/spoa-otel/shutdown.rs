//! The time of the end: each part has a share that the parts before it cannot use up.

use std::time::Duration;

use tokio::time::Instant;

/// The parts of the end, in their order. What one leaves, the later ones may use.
#[derive(Clone, Copy)]
pub enum Part {
    /// HAProxy's connections, open NOTIFYs among them.
    Connections,
    /// Log lines of HAProxy's that have arrived.
    LogLines,
    /// Requests to the OTLP receiver.
    Receiver,
    /// What waits for the collector and the console.
    Exporters,
    /// Requests to the admin endpoints.
    Admin,
    /// The last lines of the log.
    Log,
}

impl Part {
    /// When it must be over, in sixteenths of the grace time.
    fn end(self) -> u32 {
        match self {
            Part::Connections => 5,
            Part::LogLines => 6,
            Part::Receiver => 8,
            Part::Exporters => 14,
            Part::Admin => 15,
            Part::Log => 16,
        }
    }

    /// How much of a grace time it may take if it begins with it.
    pub fn of(self, grace: Duration) -> Duration {
        grace / 16 * self.end()
    }
}

/// The grace time, once it has begun.
#[derive(Clone, Copy)]
pub struct Grace {
    since: Instant,
    time: Duration,
}

impl Grace {
    /// It begins now.
    pub fn begin(time: Duration) -> Self {
        Grace { since: Instant::now(), time }
    }

    /// What is left for a part.
    pub fn left(&self, part: Part) -> Duration {
        part.of(self.time).saturating_sub(self.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_part_has_a_share_of_its_own() {
        let grace = Grace::begin(Duration::from_secs(16));
        let mut over = Duration::ZERO;
        for (part, own) in [
            (Part::Connections, 5),
            (Part::LogLines, 1),
            (Part::Receiver, 2),
            (Part::Exporters, 6),
            (Part::Admin, 1),
            (Part::Log, 1),
        ] {
            assert_eq!(grace.left(part), Duration::from_secs(own), "all before it took their time");
            tokio::time::advance(Duration::from_secs(own)).await;
            over += Duration::from_secs(own);
            assert_eq!(grace.left(part), Duration::ZERO);
        }
        assert_eq!(over, Duration::from_secs(16));
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_leaves_the_next_may_use() {
        let grace = Grace::begin(Duration::from_secs(16));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(grace.left(Part::Exporters), Duration::from_secs(13));
    }
}
