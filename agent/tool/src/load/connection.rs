//! One connection under load.

use std::io::{self, Write};
use std::time::Duration;

use spop_core::{
    Capabilities, ClientEvent, FrameId, Header, MAX_HEADER_LEN, MAX_TRANSMIT_LEN, NotifyError, PREFIX_LEN, StreamId,
};

use super::plan::Plan;
use super::tally::{Kind, Tally};
use crate::expect::{Mismatch, check};
use crate::link::{Link, describe};

/// How long to wait before a lost connection is made again.
const RETRY: u64 = 100_000_000;
/// How long that may take; the other connections of the thread wait meanwhile.
const RECONNECT: Duration = Duration::from_secs(1);
/// HAProxy 3.1 and later number frames so.
const FRAME_ID: FrameId = FrameId(1);
/// Stream-ids stay below, as HAProxy's do.
const MAX_STREAM_ID: u64 = 1 << 31;

/// A place in flight.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// When the NOTIFY was to be sent, and when it was.
    due: u64,
    sent: u64,
    busy: bool,
    /// How often the place was used.
    round: u64,
}

/// The times of an open loop.
pub(super) struct Pace {
    /// When the first NOTIFY of this connection is due, in nanoseconds.
    pub(super) offset: f64,
    /// Nanoseconds from one to the next.
    pub(super) interval: f64,
    pub(super) count: u64,
}

impl Pace {
    fn next(&self) -> u64 {
        (self.offset + self.interval * self.count as f64) as u64
    }

    /// The NOTIFYs due before `end` that are not sent.
    fn behind(&self, end: u64) -> u64 {
        let due = ((end as f64 - self.offset) / self.interval).ceil().max(0.0) as u64;
        due.saturating_sub(self.count)
    }
}

/// One connection, with its places in flight. All times are nanoseconds from the start of the run.
pub(super) struct Connection<'p> {
    plan: &'p Plan,
    pub(super) link: Option<Link>,
    /// When to connect again, or until when the HELLO has to be there.
    deadline: u64,
    /// When the last connection was lost that was of use.
    lost_at: u64,
    /// This one was of use: a NOTIFY was sent, or it lasted for a while. One that ends with its HELLO is as good as none.
    of_use: bool,
    slots: Vec<Slot>,
    free: Vec<usize>,
    out: Vec<u8>,
    written: usize,
    filled: usize,
    pace: Option<Pace>,
    /// NOTIFYs still to be sent, if that is bounded.
    quota: Option<u64>,
    /// The number for the next NOTIFY, and the step to the one after it.
    number: u64,
    stride: u64,
    /// The last payload that was as expected: the same bytes need no second look.
    good: Vec<u8>,
    ignored: u64,
}

impl<'p> Connection<'p> {
    /// Takes over a connection that is shaken hands on.
    pub(super) fn new(plan: &'p Plan, link: Link, pace: Option<Pace>, quota: Option<u64>, number: (u64, u64)) -> Self {
        let frame = MAX_HEADER_LEN + plan.payload.bytes.len();
        Connection {
            plan,
            link: Some(link),
            deadline: u64::MAX,
            lost_at: 0,
            of_use: true,
            slots: vec![Slot::default(); plan.in_flight],
            free: (0..plan.in_flight).rev().collect(),
            out: vec![0; (frame * plan.in_flight).max(MAX_TRANSMIT_LEN)],
            written: 0,
            filled: 0,
            pace,
            quota,
            number: number.0,
            stride: number.1,
            good: Vec::new(),
            ignored: 0,
        }
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Nothing is in flight, and nothing more is to be sent.
    pub(super) fn is_done(&self, stopping: bool) -> bool {
        (stopping || self.quota == Some(0)) && self.in_flight() == 0
    }

    pub(super) fn wants_write(&self) -> bool {
        self.written < self.filled || self.link.as_ref().is_some_and(|link| link.stream.wants_write())
    }

    /// Whether there is something to read that the system does not know of.
    pub(super) fn is_readable(&mut self) -> bool {
        self.link.as_mut().is_some_and(|link| link.stream.is_readable())
    }

    /// When the next NOTIFY is due, if it can be sent then. Else something has to come or to go first.
    pub(super) fn next_due(&self) -> Option<u64> {
        let place = !self.free.is_empty() && self.quota != Some(0) && !self.wants_write();
        self.pace.as_ref().filter(|_| place && self.takes_another()).map(Pace::next)
    }

    /// Without pipelining one NOTIFY at a time; none before the HELLO.
    fn takes_another(&self) -> bool {
        self.link.as_ref().is_some_and(|Link { client, .. }| {
            let agreed = client.negotiated().map(|agreed| agreed.capabilities);
            agreed.is_some_and(|agreed| client.in_flight() == 0 || agreed.contains(Capabilities::PIPELINING))
        })
    }

    /// What an open loop could not send by the end.
    pub(super) fn count_unsent(&self, tally: &mut Tally) {
        if let (Some(pace), Some(end)) = (&self.pace, self.plan.end) {
            let example = || "all places in flight were taken: the agent is slower than --rate".to_owned();
            tally.error(Kind::Unsent, pace.behind(end), example);
        }
    }

    /// What time brings: answers that do not come, connections to be made again.
    pub(super) fn tick(&mut self, now: u64, stopping: bool, tally: &mut Tally) {
        match &mut self.link {
            None if self.quota.is_some() && now.saturating_sub(self.lost_at) > self.plan.timeout => {
                let rest = self.quota.replace(0).unwrap_or(0);
                tally.error(Kind::Unsent, rest, || "the connection cannot be made again".to_owned());
            }
            None if now >= self.deadline && !stopping => self.reconnect(now, tally),
            None => {}
            Some(link) if link.client.negotiated().is_none() && now >= self.deadline => {
                self.lose(now, Kind::Timeout, "no AGENT-HELLO in time", tally);
            }
            Some(link) => {
                self.of_use |= link.client.negotiated().is_some();
                let late = |slot: &Slot| slot.busy && now.saturating_sub(slot.sent) > self.plan.timeout;
                for (index, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| late(slot)) {
                    slot.busy = false;
                    self.free.push(index);
                    let id = stream_id(index, slot.round, self.plan.in_flight);
                    link.client.forget(id, FRAME_ID);
                    let waited = Duration::from_nanos(now.saturating_sub(slot.sent));
                    tally.error(Kind::Timeout, 1, || format!("stream {}: no ACK after {waited:?}", id.0));
                }
            }
        }
    }

    fn reconnect(&mut self, now: u64, tally: &mut Tally) {
        match Link::connect(&self.plan.addr, self.plan.tls.as_ref(), self.plan.config, RECONNECT) {
            Ok(mut link) => {
                tally.reconnects += 1;
                self.of_use = false;
                self.ignored = 0;
                self.written = 0;
                // The buffer has room for the HELLO.
                self.filled = link.client.poll_transmit(&mut self.out).ok().flatten().unwrap_or(0);
                self.deadline = now.saturating_add(self.plan.timeout);
                self.link = Some(link);
                self.flush(now, tally);
            }
            Err(error) => {
                self.deadline = now.saturating_add(RETRY);
                tally.error(Kind::Connect, 1, || error.to_string());
            }
        }
    }

    /// The connection is over.
    #[cold]
    fn lose(&mut self, now: u64, kind: Kind, why: &str, tally: &mut Tally) {
        if let Some(mut link) = self.link.take() {
            // The DISCONNECT that a broken protocol asks for, if it still gets through.
            let _unsent = link.send_own();
        }
        tally.error(kind, 1, || why.to_owned());
        tally.error(Kind::Lost, self.in_flight() as u64, || format!("in flight when the connection ended: {why}"));
        for slot in &mut self.slots {
            slot.busy = false;
        }
        self.free = (0..self.slots.len()).rev().collect();
        (self.written, self.filled) = (0, 0);
        self.deadline = now.saturating_add(RETRY);
        // Else an agent that accepts and closes would keep the run going for good.
        if self.of_use {
            self.lost_at = now;
        }
    }

    /// Writes the NOTIFYs that are due by `until` and for which there is a place.
    pub(super) fn send(&mut self, now: u64, until: u64, tally: &mut Tally) {
        if self.wants_write() {
            return;
        }
        (self.written, self.filled) = (0, 0);
        let Some(link) = &mut self.link else { return };
        while self.quota != Some(0) {
            let due = self.pace.as_ref().map_or(now, Pace::next);
            if due > until {
                break;
            }
            let Some(&index) = self.free.last() else { break };
            let Some(slot) = self.slots.get_mut(index) else { break };
            slot.round = (slot.round + 1) % (MAX_STREAM_ID / self.plan.in_flight as u64);
            let id = stream_id(index, slot.round, self.plan.in_flight);
            let room = self.out.get_mut(self.filled..).unwrap_or_default();
            let mut notify = match link.client.notify(room, id, FRAME_ID) {
                Ok(notify) => notify,
                // One at a time, if the agent does no pipelining; none before its HELLO.
                Err(NotifyError::TooManyInFlight | NotifyError::NotRunning) => break,
                Err(error) => return self.lose(now, Kind::Protocol, &error.to_string(), tally),
            };
            let payload = &self.plan.payload;
            if let Err(error) = notify.encoded(&payload.bytes) {
                return self.lose(now, Kind::Protocol, &format!("the NOTIFY does not fit any more: {error}"), tally);
            }
            let len = notify.finish();
            if let Some(copy) = room.get_mut(len - payload.bytes.len()..len) {
                payload.number(copy, self.number);
            }
            self.filled += len;
            self.free.pop();
            *slot = Slot { due, sent: now, busy: true, ..*slot };
            self.number = self.number.wrapping_add(self.stride);
            self.quota = self.quota.map(|quota| quota - 1);
            if let Some(pace) = &mut self.pace {
                pace.count += 1;
            }
            tally.sent += 1;
            self.of_use = true;
        }
        self.flush(now, tally);
    }

    /// Writes what waits, as far as it goes.
    pub(super) fn flush(&mut self, now: u64, tally: &mut Tally) {
        while let (true, Some(link)) = (self.wants_write(), &mut self.link) {
            let bytes = self.out.get(self.written..self.filled).unwrap_or_default();
            let written = if bytes.is_empty() { link.stream.flush().map(|()| 0) } else { link.stream.write(bytes) };
            match written {
                Ok(n) => {
                    self.written += n;
                    tally.bytes_out += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.lose(now, Kind::Closed, &format!("writing failed: {error}"), tally),
            }
        }
    }

    /// Reads once and takes the ACKs that are whole.
    pub(super) fn receive(&mut self, clock: impl FnOnce() -> u64, tally: &mut Tally) {
        let Some(link) = &mut self.link else { return };
        let want = link.client.want(link.input.unread()).bytes();
        let read = link.input.read(&mut link.stream, want);
        let now = clock();
        match read {
            Ok(0) => return self.lose(now, Kind::Closed, "the agent closed the connection", tally),
            Ok(n) => tally.bytes_in += n as u64,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Err(error) => return self.lose(now, Kind::Closed, &format!("reading failed: {error}"), tally),
        }
        let ended = loop {
            let unread = link.input.unread();
            let (used, event) = match link.client.handle_input(unread) {
                Ok((0, _)) => break None,
                Ok(step) => step,
                Err(error) => break Some((Kind::Protocol, error.to_string())),
            };
            match event {
                Some(ClientEvent::Ack { stream_id, aborted, actions, .. }) => {
                    let index = slot_index(stream_id, self.plan.in_flight);
                    if let Some(slot) = self.slots.get_mut(index) {
                        slot.busy = false;
                        self.free.push(index);
                        tally.acks += 1;
                        tally.latency.saturating_record(now.saturating_sub(slot.due));
                    }
                    if aborted {
                        tally.error(Kind::Aborted, 1, || format!("stream {}: ABORT", stream_id.0));
                    }
                    let header = Header::new(spop_core::FrameType::ACK, stream_id, FRAME_ID).encoded_len();
                    let payload = unread.get(PREFIX_LEN + header..used).unwrap_or_default();
                    if payload != self.good || payload.is_empty() {
                        match check(&self.plan.expected, actions) {
                            Ok(()) => self.good = payload.to_vec(),
                            Err(mismatch) => count_mismatch(stream_id, &mismatch, tally),
                        }
                    }
                }
                Some(ClientEvent::Disconnect(disconnect)) => break Some((Kind::Disconnected, describe(&disconnect))),
                _ => {}
            }
            link.input.consume(used);
        };
        tally.last_ack = Duration::from_nanos(now);
        let ignored = link.client.stats().ignored;
        let example = || "a frame that answers no NOTIFY in flight: wrong ids, or too late".to_owned();
        tally.error(Kind::UnknownAck, ignored - std::mem::replace(&mut self.ignored, ignored), example);
        if let Some((kind, why)) = ended {
            self.lose(now, kind, &why, tally);
        }
    }
}

#[cold]
fn count_mismatch(stream_id: StreamId, mismatch: &Mismatch, tally: &mut Tally) {
    let kind = match mismatch {
        Mismatch::Malformed(_) => Kind::Malformed,
        Mismatch::Missing(_) => Kind::Missing,
        Mismatch::WrongType(_) => Kind::WrongType,
        Mismatch::WrongValue(_) => Kind::WrongValue,
    };
    tally.error(kind, 1, || format!("stream {}: {mismatch}", stream_id.0));
}

/// The ids of different places, and of different rounds of a place, differ.
fn stream_id(index: usize, round: u64, places: usize) -> StreamId {
    StreamId(round * places as u64 + index as u64)
}

fn slot_index(id: StreamId, places: usize) -> usize {
    (id.0 % places.max(1) as u64) as usize
}
