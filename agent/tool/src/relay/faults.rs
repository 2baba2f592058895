//! What goes wrong on purpose: how often, and what.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;

/// How many of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Share {
    /// Each n-th.
    Every(u64),
    /// Of a million, by chance.
    Chance(u32),
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no share: 1/N (each N-th) or P% (by chance)");
        if let Some(every) = text.strip_prefix("1/") {
            return every.parse().ok().filter(|every| *every > 0).map(Share::Every).ok_or_else(wrong);
        }
        let percent: f64 = text.strip_suffix('%').and_then(|percent| percent.parse().ok()).ok_or_else(wrong)?;
        if (0.0..=100.0).contains(&percent) { Ok(Share::Chance((percent * 10_000.0) as u32)) } else { Err(wrong()) }
    }
}

/// `TIME` or `TIME@SHARE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Delay {
    time: Duration,
    share: Share,
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (time, share) = text.split_once('@').unwrap_or((text, "1/1"));
        Ok(Delay { time: crate::net::time(time)?, share: share.parse()? })
    }
}

/// The faults of a relay.
#[derive(Args, Clone, Debug)]
pub(super) struct FaultOptions {
    /// ACKs come so much later: TIME, or TIME@SHARE for a part of them, such as 200ms@10% or 1s@1/100
    #[arg(long, value_name = "TIME[@SHARE]", help_heading = "Faults")]
    delay: Option<Delay>,
    /// ACKs that HAProxy does not get
    #[arg(long, value_name = "SHARE", help_heading = "Faults")]
    drop_ack: Option<Share>,
    /// NOTIFYs that the agent does not get
    #[arg(long, value_name = "SHARE", help_heading = "Faults")]
    drop_notify: Option<Share>,
    /// ACKs in the middle of which the connection is cut
    #[arg(long, value_name = "SHARE", help_heading = "Faults")]
    cut: Option<Share>,
    /// Hold ACKs until there are so many on a connection, then pass them on in reverse; after 100 ms those that are there
    #[arg(long, value_name = "N", help_heading = "Faults", value_parser = clap::value_parser!(u16).range(2..=1000))]
    reorder: Option<u16>,
    /// Another course of chance; the same one is the same course again
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Faults")]
    seed: u64,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    Delay(Duration),
    Drop,
    Cut,
}

impl Fate {
    /// What its line says of it.
    pub(super) fn fault(self) -> Option<&'static str> {
        match self {
            Fate::Pass => None,
            Fate::Delay(_) => Some("delayed"),
            Fate::Drop => Some("dropped"),
            Fate::Cut => Some("cut"),
        }
    }
}

/// The faults of one connection: the course is its own.
pub(super) struct Faults {
    options: FaultOptions,
    state: u64,
    notifies: u64,
    acks: u64,
}

impl FaultOptions {
    /// Of the connection with this number.
    pub(super) fn of(&self, connection: u64) -> Faults {
        // Mixed: else the course of the next seed would be this one from its second draw on.
        let state = mix(self.seed).wrapping_add(connection);
        Faults { options: self.clone(), state, notifies: 0, acks: 0 }
    }

    pub(super) fn reorders(&self) -> Option<usize> {
        self.reorder.map(usize::from)
    }
}

impl Faults {
    /// May a NOTIFY be kept from the agent? Else bytes pass as they come.
    pub(super) fn chooses_notifies(&self) -> bool {
        self.options.drop_notify.is_some()
    }

    /// May something become of an ACK?
    pub(super) fn chooses_acks(&self) -> bool {
        let FaultOptions { delay, drop_ack, cut, reorder, .. } = &self.options;
        delay.is_some() || drop_ack.is_some() || cut.is_some() || reorder.is_some()
    }

    pub(super) fn notify(&mut self) -> Fate {
        self.notifies += 1;
        if self.hits(self.options.drop_notify, self.notifies) { Fate::Drop } else { Fate::Pass }
    }

    pub(super) fn ack(&mut self) -> Fate {
        self.acks += 1;
        let (n, options) = (self.acks, self.options.clone());
        if self.hits(options.cut, n) {
            Fate::Cut
        } else if self.hits(options.drop_ack, n) {
            Fate::Drop
        } else {
            match options.delay {
                Some(delay) if self.hits(Some(delay.share), n) => Fate::Delay(delay.time),
                _ => Fate::Pass,
            }
        }
    }

    fn hits(&mut self, share: Option<Share>, n: u64) -> bool {
        match share {
            None => false,
            Some(Share::Every(every)) => n % every == 0,
            Some(Share::Chance(of_a_million)) => self.random() % 1_000_000 < of_a_million.into(),
        }
    }

    /// SplitMix64: chance that can be had again.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }
}

fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn shares_and_delays() {
        assert_eq!("1/3".parse(), Ok(Share::Every(3)));
        assert_eq!("0.5%".parse(), Ok(Share::Chance(5_000)));
        assert_eq!("200ms@1/2".parse(), Ok(Delay { time: Duration::from_millis(200), share: Share::Every(2) }));
        for wrong in ["", "3", "1/0", "1/x", "101%", "-1%", "x%"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_course_is_that_of_the_seed() {
        let options = |seed| FaultOptions {
            delay: Some("1s@1/2".parse().unwrap()),
            drop_ack: Some("25%".parse().unwrap()),
            drop_notify: Some("1/10".parse().unwrap()),
            cut: None,
            reorder: None,
            seed,
        };
        let course = |seed, connection| {
            let mut faults = options(seed).of(connection);
            (0..4000).map(|_| faults.ack()).collect::<Vec<_>>()
        };
        assert_eq!(course(1, 0), course(1, 0));
        assert!(course(1, 0) != course(2, 0) && course(1, 0) != course(1, 1));
        let drops = course(1, 0).iter().filter(|fate| **fate == Fate::Drop).count();
        assert!((900..1100).contains(&drops), "{drops}");
        assert!(course(1, 0).iter().step_by(2).all(|fate| !matches!(fate, Fate::Delay(_))));
        // Nor is one course another one that begins later.
        let draws = |seed, connection| {
            let mut faults = options(seed).of(connection);
            (0..100).map(|_| faults.random()).collect::<HashSet<_>>()
        };
        for (seed, connection) in [(0, 0), (2, 0), (3, 0), (1, 1), (2, 1)] {
            assert!(draws(1, 0).is_disjoint(&draws(seed, connection)), "{seed} {connection}");
        }
        let mut faults = options(1).of(0);
        let dropped: Vec<_> = (1..=20).filter(|_| faults.notify() == Fate::Drop).collect();
        assert_eq!(dropped, [10, 20]);
    }
}
