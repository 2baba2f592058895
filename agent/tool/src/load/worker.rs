//! One thread with its connections.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use spop_core::Status;

use super::connection::Connection;
use super::plan::Plan;
use super::tally::{Progress, Tally};
use crate::failure::Failure;
use crate::net::wait_for_any;

/// How often to look for answers that do not come.
const TICK: u64 = 50_000_000;
/// How long agents may take for their DISCONNECTs at the end, all together.
const GOODBYE: Duration = Duration::from_secs(1);

/// Nanoseconds from the start of the run, the same for all threads.
#[derive(Clone, Copy)]
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Runs the connections until the plan ends and the last ACK is there or overdue.
pub(super) fn run(
    plan: &Plan,
    mut connections: Vec<Connection<'_>>,
    clock: Clock,
    progress: &Progress,
    mut tally: Tally,
) -> Result<Tally, Failure> {
    let mut next_tick = TICK;
    let mut ready = Vec::new();
    let mut counted = false;
    loop {
        let now = clock.now();
        let stopping = plan.end.is_some_and(|end| now >= end);
        if let (Some(end), false) = (plan.end.filter(|_| stopping), counted) {
            counted = true;
            for connection in &mut connections {
                connection.send(now, end.saturating_sub(1), &mut tally);
                connection.count_unsent(&mut tally);
            }
        }
        if now >= next_tick {
            next_tick = now + TICK;
            for connection in &mut connections {
                connection.tick(now, stopping, &mut tally);
            }
            progress.show(&tally);
        }
        let mut wake = if stopping { next_tick } else { next_tick.min(plan.end.unwrap_or(u64::MAX)) };
        let mut done = true;
        for connection in &mut connections {
            if !stopping {
                connection.send(now, now, &mut tally);
            }
            wake = wake.min(connection.next_due().filter(|_| !stopping).unwrap_or(u64::MAX));
            done &= connection.is_done(stopping);
        }
        if done {
            break;
        }
        wait(&mut connections, Duration::from_nanos(wake.saturating_sub(clock.now())), &mut ready)?;
        for &(index, readable, writable) in &ready {
            let Some(connection) = connections.get_mut(index) else { continue };
            if writable {
                connection.flush(clock.now(), &mut tally);
            }
            if readable {
                connection.receive(|| clock.now(), &mut tally);
            }
        }
    }
    progress.show(&tally);
    part(connections);
    Ok(tally)
}

/// Waits until a connection can go on: which, and whether it can be read and written.
fn wait(
    connections: &mut [Connection<'_>],
    limit: Duration,
    ready: &mut Vec<(usize, bool, bool)>,
) -> Result<(), Failure> {
    ready.clear();
    let held =
        connections.iter_mut().enumerate().filter_map(|(index, connection)| connection.is_readable().then_some(index));
    ready.extend(held.map(|index| (index, true, false)));
    if !ready.is_empty() {
        return Ok(());
    }
    let connections = &*connections;
    let open = connections
        .iter()
        .enumerate()
        .filter_map(|(index, connection)| Some((index, connection, connection.link.as_ref()?)));
    let (indexes, mut fds): (Vec<usize>, Vec<PollFd<'_>>) = open
        .map(|(index, connection, link)| {
            let write = if connection.wants_write() { PollFlags::OUT } else { PollFlags::empty() };
            (index, PollFd::new(&link.stream, PollFlags::IN | write))
        })
        .unzip();
    match wait_for_any(&mut fds, limit) {
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
        other => other?,
    };
    for (index, fd) in indexes.into_iter().zip(&fds) {
        let events = fd.revents();
        if !events.is_empty() {
            // An error or a hang-up shows at the next read.
            ready.push((index, events != PollFlags::OUT, events.contains(PollFlags::OUT)));
        }
    }
    Ok(())
}

/// Ends the connections in good order. Whatever happens here is no part of the run.
fn part(connections: Vec<Connection<'_>>) {
    let mut links: Vec<_> = connections.into_iter().filter_map(|connection| connection.link).collect();
    let until = Instant::now() + GOODBYE;
    for link in &mut links {
        link.timeout = until.saturating_duration_since(Instant::now());
        link.client.close(Status::NORMAL);
        let _unsent = link.send_own();
    }
    for mut link in links {
        link.timeout = until.saturating_duration_since(Instant::now());
        let _answer = link.goodbye();
    }
}
