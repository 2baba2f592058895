//! One connection of HAProxy, and the one to the agent that belongs to it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use spop_agent::addr::Addr;
use spop_core::{FrameType, Header};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep_until, timeout};

use super::faults::{Fate, Faults};
use super::frames::{Frames, Piece};
use super::shared::Shared;
use super::waiting::{Ids, Waiting};
use crate::net::connect_abstract;
use crate::say::say;
use crate::tap::{Connection, From, Passing};

/// One read.
const CHUNK: usize = 64 << 10;
/// NOTIFYs whose ACK is awaited; beyond it the latency of the oldest is not known.
const WAITING: usize = 4096;
/// ACKs that are delayed or held; nothing is read meanwhile.
const QUEUED: usize = 4096;
/// ACKs that are to be reordered wait so long for others.
const HOLD: Duration = Duration::from_millis(100);

type Reader = ReadHalf<Box<dyn Connection>>;
type Writer = WriteHalf<Box<dyn Connection>>;

/// What both directions know.
struct Link {
    shared: Arc<Shared>,
    passing: Mutex<Passing>,
    waiting: Mutex<Waiting>,
    /// A health check is shown only if all is.
    health_check: AtomicBool,
}

/// Passes on what comes, until both sides are done or one is lost.
pub(super) async fn relay(haproxy: Box<dyn Connection>, peer: String, number: u64, shared: Arc<Shared>) {
    let agent = match timeout(shared.timeout, connect(&shared.agent)).await {
        Ok(Ok(agent)) => agent,
        failed => {
            let reason = failed.map_or_else(
                |_| "no answer in time".to_owned(),
                |failed| failed.err().map_or_else(String::new, |error| error.to_string()),
            );
            // Once, not for each health check.
            if shared.counts.unconnected.fetch_add(1, Relaxed) == 0 {
                say(format_args!("cannot connect to {}: {reason}", shared.agent));
            }
            return;
        }
    };
    let passing = Passing::new(shared.tap.clone(), &peer, &shared.agent.to_string());
    let faults = [shared.faults.of(2 * number), shared.faults.of(2 * number + 1)];
    let waiting = Mutex::new(Waiting::new(WAITING));
    let link = Link { shared, passing: Mutex::new(passing), waiting, health_check: AtomicBool::new(false) };
    let ((from_haproxy, to_haproxy), (from_agent, to_agent)) = (split(haproxy), split(agent));
    let [of_notifys, of_acks] = faults;
    // The end of one direction is passed on; a failure ends both.
    let _ended =
        tokio::try_join!(link.there(from_haproxy, to_agent, of_notifys), link.back(from_agent, to_haproxy, of_acks));
}

async fn connect(agent: &Addr) -> io::Result<Box<dyn Connection>> {
    match agent {
        Addr::Tcp(host) => {
            let stream = TcpStream::connect(host).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Addr::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Addr::Abstract(name) => {
            // Here nothing may block: all connections have one thread.
            Ok(Box::new(UnixStream::from_std(connect_abstract(&name.bytes())?)?))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl Link {
    /// From HAProxy to the agent.
    async fn there(&self, mut from: Reader, mut to: Writer, mut faults: Faults) -> io::Result<()> {
        let (mut chunk, mut frames) = (vec![0; CHUNK], Frames::default());
        let chooses = faults.chooses_notifies();
        let mut dropping = None;
        loop {
            let bytes = self.read(From::Haproxy, &mut from, &mut chunk).await?;
            if bytes.is_empty() {
                return self.end(From::Haproxy, &frames, &mut to, chooses).await;
            }
            if !chooses {
                to.write_all(bytes).await?;
            }
            frames.extend(bytes);
            let mut chosen = Vec::new();
            while let Some(piece) = frames.next() {
                match piece {
                    Piece::Frame(frame) => {
                        if self.sent_by_haproxy(frame, &mut faults, &mut dropping) {
                            chosen.extend_from_slice(frame);
                        }
                    }
                    Piece::Rest(rest, error) => {
                        self.no_frames(From::Haproxy, rest, error);
                        chosen.extend_from_slice(rest);
                    }
                }
            }
            if chooses {
                to.write_all(&chosen).await?;
            }
        }
    }

    /// From the agent to HAProxy.
    async fn back(&self, mut from: Reader, to: Writer, mut faults: Faults) -> io::Result<()> {
        let (mut chunk, mut frames) = (vec![0; CHUNK], Frames::default());
        let chooses = faults.chooses_acks();
        let mut queue = Queue { to, delayed: Vec::new(), held: Vec::new(), reorders: self.shared.faults.reorders() };
        loop {
            let due = queue.due();
            let bytes = tokio::select! {
                bytes = self.read(From::Agent, &mut from, &mut chunk), if queue.len() < QUEUED => bytes?,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    queue.send_what_is_due(&self.shared).await?;
                    continue;
                }
            };
            if bytes.is_empty() {
                queue.send_all(&self.shared).await?;
                return self.end(From::Agent, &frames, &mut queue.to, chooses).await;
            }
            if !chooses {
                queue.to.write_all(bytes).await?;
            }
            frames.extend(bytes);
            while let Some(piece) = frames.next() {
                let (bytes, fate) = match piece {
                    Piece::Frame(frame) => (frame, self.sent_by_agent(frame, &mut faults)),
                    Piece::Rest(rest, error) => {
                        self.no_frames(From::Agent, rest, error);
                        (rest, None)
                    }
                };
                if chooses {
                    queue.pass(bytes, fate, &self.shared).await?;
                }
            }
        }
    }

    /// What there is; nothing at the end.
    async fn read<'b>(&self, from: From, reader: &mut Reader, chunk: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let n = reader.read(chunk).await?;
        let bytes = chunk.get(..n).unwrap_or_default();
        if !bytes.is_empty() {
            self.passing().bytes(from, bytes);
        }
        Ok(bytes)
    }

    /// Passes the end on, and what was no whole frame before it.
    async fn end(&self, from: From, frames: &Frames, to: &mut Writer, chooses: bool) -> io::Result<()> {
        let rest = frames.rest();
        if !rest.is_empty() {
            self.passing().no_frame(from, rest.len(), format!("{} bytes of a frame, then the end", rest.len()), None);
            if chooses {
                to.write_all(rest).await?;
            }
        }
        to.shutdown().await
    }

    /// False if the agent is not to get it. A NOTIFY in fragments is dropped as a whole: HAProxy sends one at a time, and until its
    /// end `dropping` has its ids.
    fn sent_by_haproxy(&self, frame: &[u8], faults: &mut Faults, dropping: &mut Option<Ids>) -> bool {
        let Some(header) = Header::peek(frame) else {
            self.passing().frame(From::Haproxy, frame, true, None);
            return true;
        };
        let (ids, ends) = ((header.stream_id.0, header.frame_id.0), header.flags.fin());
        let is_notify = header.frame_type == FrameType::NOTIFY;
        let mut drops = false;
        if is_notify {
            let counts = &self.shared.counts;
            counts.notifies.fetch_add(1, Relaxed);
            drops = faults.notify() == Fate::Drop;
            counts.dropped_notifies.fetch_add(drops.into(), Relaxed);
            *dropping = (drops && !ends).then_some(ids);
            if !drops && !lock(&self.waiting).enter(ids, Instant::now()) {
                counts.forgotten.fetch_add(1, Relaxed);
            }
        } else if header.frame_type == FrameType::UNSET {
            drops = *dropping == Some(ids);
            if drops && ends {
                *dropping = None;
            }
            if header.flags.abort() {
                // It is given up: no ACK comes.
                lock(&self.waiting).take(ids);
            }
        }
        if header.frame_type == FrameType::HAPROXY_HELLO && frame.windows(11).any(|word| word == b"healthcheck") {
            self.health_check.store(true, Relaxed);
        }
        let fault = drops.then_some(Fate::Drop).and_then(Fate::fault);
        self.passing().faulty(From::Haproxy, frame, is_notify || self.shared.all, None, fault);
        !drops
    }

    /// What is to become of it, if it is an ACK.
    fn sent_by_agent(&self, frame: &[u8], faults: &mut Faults) -> Option<Fate> {
        let Some(header) = Header::peek(frame) else {
            self.passing().frame(From::Agent, frame, true, None);
            return None;
        };
        let is_ack = header.frame_type == FrameType::ACK;
        let ids = (header.stream_id.0, header.frame_id.0);
        let asked = if is_ack { lock(&self.waiting).take(ids) } else { None };
        let took = asked.map(|asked| asked.elapsed());
        self.shared.counts.acks.fetch_add(is_ack.into(), Relaxed);
        if let Some(took) = took {
            self.shared.latency(took);
        }
        // A DISCONNECT that nobody asked for is worth a line.
        let ends = header.frame_type == FrameType::AGENT_DISCONNECT && !self.health_check.load(Relaxed);
        let fate = is_ack.then(|| faults.ack());
        let fault = fate.and_then(Fate::fault);
        self.passing().faulty(From::Agent, frame, is_ack || ends || self.shared.all, took, fault);
        fate
    }

    fn no_frames(&self, from: From, rest: &[u8], error: Option<spop_core::DecodeError>) {
        let mut passing = self.passing();
        match error {
            Some(error) => {
                self.shared.counts.no_frames.fetch_add(1, Relaxed);
                let reason = format!("{error}: no SPOP from here on, passed on as it comes");
                passing.no_frame(from, rest.len(), reason, Some(error.status().0));
            }
            // That was told.
            None => passing.skip(from, rest.len()),
        }
    }

    fn passing(&self) -> MutexGuard<'_, Passing> {
        lock(&self.passing)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// ACKs that HAProxy does not have yet.
struct Queue {
    to: Writer,
    delayed: Vec<(Instant, Vec<u8>)>,
    /// Until there are enough to be reordered; with the time of the first.
    held: Vec<(Instant, Vec<u8>)>,
    reorders: Option<usize>,
}

impl Queue {
    fn len(&self) -> usize {
        self.delayed.len() + self.held.len()
    }

    /// When the next one is to be sent.
    fn due(&self) -> Option<Instant> {
        let held = self.held.first().map(|(since, _)| *since + HOLD);
        self.delayed.iter().map(|(due, _)| *due).chain(held).min()
    }

    /// A frame, or bytes that are none; of an ACK it is known what is to become of it.
    async fn pass(&mut self, bytes: &[u8], fate: Option<Fate>, shared: &Shared) -> io::Result<()> {
        let counts = &shared.counts;
        match (fate, self.reorders) {
            // What is no ACK, such as a DISCONNECT, overtakes none.
            (None, _) => {
                self.send_all(shared).await?;
                self.to.write_all(bytes).await
            }
            (Some(Fate::Drop), _) => {
                counts.dropped_acks.fetch_add(1, Relaxed);
                Ok(())
            }
            (Some(Fate::Cut), _) => {
                counts.cut.fetch_add(1, Relaxed);
                self.to.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default()).await?;
                self.to.flush().await?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            (Some(Fate::Delay(time)), _) => {
                counts.delayed.fetch_add(1, Relaxed);
                self.delayed.push((Instant::now() + time, bytes.to_vec()));
                Ok(())
            }
            (Some(Fate::Pass), None) => self.to.write_all(bytes).await,
            (Some(Fate::Pass), Some(enough)) => {
                self.held.push((Instant::now(), bytes.to_vec()));
                if self.held.len() >= enough { self.send_held(shared).await } else { Ok(()) }
            }
        }
    }

    async fn send_what_is_due(&mut self, shared: &Shared) -> io::Result<()> {
        let now = Instant::now();
        let (mut due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.delayed).into_iter().partition(|(at, _)| *at <= now);
        self.delayed = later;
        due.sort_by_key(|(at, _)| *at);
        for (_, bytes) in due {
            self.to.write_all(&bytes).await?;
        }
        if self.held.first().is_some_and(|(since, _)| *since + HOLD <= now) {
            self.send_held(shared).await?;
        }
        Ok(())
    }

    /// In reverse.
    async fn send_held(&mut self, shared: &Shared) -> io::Result<()> {
        if self.held.len() > 1 {
            shared.counts.reordered.fetch_add(self.held.len() as u64, Relaxed);
        }
        for (_, bytes) in std::mem::take(&mut self.held).into_iter().rev() {
            self.to.write_all(&bytes).await?;
        }
        Ok(())
    }

    /// At the end, without more delay.
    async fn send_all(&mut self, shared: &Shared) -> io::Result<()> {
        self.send_held(shared).await?;
        let mut delayed = std::mem::take(&mut self.delayed);
        delayed.sort_by_key(|(at, _)| *at);
        for (_, bytes) in delayed {
            self.to.write_all(&bytes).await?;
        }
        Ok(())
    }
}
