//! Log lines over TCP, as a `ring` of HAProxy sends them: a task for each connection.

use std::io::{self, Read};
use std::net::{self, IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::KeepAlive;
use spop_agent::descriptors;
use spop_agent::foreign::Foreign;
use spop_agent::tls::{Handshake, TlsAcceptor, TlsResult};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::config::ListenerConfig;
use super::connection::Lines;
use super::framing::{BadFraming, Framing, Piece};
use super::intake::Intake;
use super::peers::{Peers, Place};
use super::stats::ListenerStats;
use super::thread::LineThread;
use crate::line::Sender;
use crate::worker::Worker;

/// The buffer of a connection, unless a line needs more.
const BUFFER: usize = 16 << 10;

/// Room for more bytes beside the longest line.
const ROOM: usize = 4 << 10;

/// Pause after a failed accept, which is as a rule a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a reader may do at its deadline: it looks at the clock between two reads.
pub(super) const LAST_STEP: Duration = Duration::from_millis(50);

/// Bounds of the connections.
#[derive(Clone)]
pub(super) struct Limits {
    pub(super) max_line: usize,
    pub(super) max_connections: usize,
    pub(super) max_per_peer: usize,
    pub(super) peers: Peers,
    /// One for each connection that may be open.
    pub(super) permits: Arc<Semaphore>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) reserved_files: u64,
}

impl Limits {
    pub(super) fn new(config: &ListenerConfig) -> Self {
        let permits = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        Self::of(config, permits, Peers::default())
    }

    fn of(config: &ListenerConfig, permits: Arc<Semaphore>, peers: Peers) -> Self {
        let ListenerConfig { max_line, max_connections, max_per_peer, idle_timeout, reserved_files, .. } = *config;
        Self { max_line, max_connections, max_per_peer, peers, permits, idle_timeout, reserved_files }
    }

    /// The same for connections that begin from now on. Those that are open count towards the most that may be.
    pub(super) fn with(&self, config: &ListenerConfig) -> Self {
        let [before, after] =
            [self.max_connections, config.max_connections].map(|most| most.min(Semaphore::MAX_PERMITS));
        if let Some(more) = after.checked_sub(before) {
            self.permits.add_permits(more);
        } else {
            let held = before - after - self.permits.forget_permits(before - after);
            let permits = self.permits.clone();
            // Those that come back first are not given out again.
            tokio::spawn(async move {
                let held = u32::try_from(held).unwrap_or(u32::MAX);
                permits.acquire_many_owned(held).await.map(OwnedSemaphorePermit::forget)
            });
        }
        Self::of(config, self.permits.clone(), self.peers.clone())
    }
}

/// Once there is a deadline, connections end when nothing is left to read, and then at the latest.
type Stop = watch::Receiver<Option<Instant>>;

/// A socket that nobody accepts from yet.
pub(super) struct TcpSocket {
    pub(super) listener: net::TcpListener,
    /// At the end it is left to others, with those who wait to be accepted.
    pub(super) is_passed: bool,
}

/// A listener at work.
pub(super) struct TcpLines(Worker);

impl TcpLines {
    /// Accepts and reads in this thread.
    pub(super) fn start(
        socket: TcpSocket,
        thread: &LineThread,
        acceptor: Option<Arc<TlsAcceptor>>,
        limits: watch::Receiver<Limits>,
        intake: Arc<Intake>,
        stop: Stop,
    ) -> io::Result<Self> {
        let _entered = thread.enter();
        let listener = TcpListener::from_std(socket.listener)?;
        Ok(Self(Worker::spawn(accept((listener, socket.is_passed), acceptor, limits, intake, stop))))
    }

    /// Waits for the end, which the stop has begun and which comes by its deadline.
    pub(super) async fn ended(&self, deadline: Instant) {
        self.0.join(deadline + LAST_STEP).await;
    }
}

async fn accept(
    (listener, is_passed): (TcpListener, bool),
    acceptor: Option<Arc<TlsAcceptor>>,
    limits: watch::Receiver<Limits>,
    intake: Arc<Intake>,
    mut stop: Stop,
) {
    let mut connections = JoinSet::new();
    let deadline = loop {
        let accepted = tokio::select! {
            biased;
            deadline = stopped(&mut stop) => break deadline,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let limits = limits.borrow().clone();
                if let Some(open) = admit(&stream, peer, &limits, &intake) {
                    let (intake, stop) = (intake.clone(), stop.clone());
                    match &acceptor {
                        None => connections.spawn(serve(stream, open, limits, intake, stop)),
                        Some(acceptor) => {
                            let handshake = acceptor.begin().await;
                            connections.spawn(serve_tls(handshake, stream, open, limits, intake, stop))
                        }
                    };
                }
            }
            Err(error) => {
                if let Some(left_out) = intake.logs.accept.pass() {
                    tracing::warn!(%error, left_out, "cannot accept a connection for log lines");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    };
    let limits = limits.borrow().clone();
    // Who has connected may have sent lines already, but not over TLS, which needs our answer first. Of a passed socket the
    // next one takes them.
    if let (None, false, Ok(listener)) = (acceptor, is_passed, listener.into_std()) {
        while Instant::now() < deadline
            && let Ok((stream, peer)) = listener.accept()
        {
            // Those that were accepted before are read meanwhile, however many come.
            yield_now().await;
            let Some(open) = admit(&stream, peer, &limits, &intake) else { continue };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let buffer = Unread::new(limits.max_line);
            connections.spawn(drain(stream, buffer, open, intake.clone(), deadline));
        }
    }
    // Each ends by the deadline.
    while connections.join_next().await.is_some() {}
}

/// Waits for the stop, and gives its deadline.
async fn stopped(stop: &mut Stop) -> Instant {
    stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline).unwrap_or_else(Instant::now)
}

/// A connection that may be open.
struct Open {
    peer: IpAddr,
    stats: Arc<ListenerStats>,
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stats.counters.open.fall();
    }
}

fn admit(stream: &impl AsFd, peer: SocketAddr, limits: &Limits, intake: &Intake) -> Option<Open> {
    let (counters, logs) = (&intake.stats.counters, &intake.logs);
    let peer = peer.ip().to_canonical();
    if !intake.admits(peer, &counters.refused_sender) {
        return None;
    }
    if !descriptors::leaves(stream, limits.reserved_files) {
        counters.refused_files.one();
        if let Some(left_out) = logs.files.pass() {
            let reserved = limits.reserved_files;
            tracing::warn!(
                reserved,
                left_out,
                "connection for log lines refused: the file descriptors left are reserved"
            );
        }
        return None;
    }
    let Some(place) = limits.peers.enter(peer, limits.max_per_peer) else {
        counters.refused_peer.one();
        if let Some(left_out) = logs.limit.pass() {
            let limit = limits.max_per_peer;
            tracing::warn!(
                %peer,
                limit,
                left_out,
                "connection for log lines refused: its sender has too many open (--log-max-per-peer)"
            );
        }
        return None;
    };
    let Ok(permit) = limits.permits.clone().try_acquire_owned() else {
        counters.refused_limit.one();
        if let Some(left_out) = logs.limit.pass() {
            let limit = limits.max_connections;
            tracing::warn!(
                limit,
                left_out,
                "connection for log lines refused: too many are open (--log-max-connections)"
            );
        }
        return None;
    };
    // A host that is gone without a word holds no place for ever.
    let _ = setsockopt(stream, KeepAlive, &true);
    counters.connections.one();
    counters.open.rise();
    Some(Open { peer, stats: intake.stats.clone(), _place: place, _permit: permit })
}

/// The bytes of a connection that are not taken yet.
struct Unread {
    buffer: Vec<u8>,
    filled: usize,
    longest: usize,
    framing: Framing,
}

impl Unread {
    fn new(max_line: usize) -> Self {
        let longest = Framing::longest_rest(max_line).saturating_add(ROOM);
        Self { buffer: vec![0; BUFFER.min(longest)], filled: 0, longest, framing: Framing::new(max_line) }
    }

    /// Where to read more bytes into; it is never empty.
    fn room(&mut self) -> &mut [u8] {
        if self.filled == self.buffer.len() {
            self.buffer.resize((2 * self.filled).min(self.longest), 0);
        }
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// So many bytes were read: takes the lines that are complete.
    fn read(&mut self, bytes: usize, peer: IpAddr, intake: &Intake) -> Result<(), BadFraming> {
        self.filled += bytes;
        let counters = &intake.stats.counters;
        let mut rest = self.buffer.get(..self.filled).unwrap_or_default();
        while let Some(piece) = self.framing.next(&mut rest)? {
            match piece {
                Piece::Line(line) => {
                    intake.take(Sender::Ip(peer), line, &counters.tcp_lines, &counters.tcp_bytes);
                }
                Piece::TooLong => {
                    counters.too_long.one();
                    if let Some(left_out) = intake.logs.too_long.pass() {
                        tracing::warn!(%peer, left_out, "a log line is too long (--log-max-line): left out");
                    }
                }
            }
        }
        let left = rest.len();
        // A long line that comes byte by byte is not moved for each of them.
        if left < self.filled {
            self.buffer.copy_within(self.filled - left..self.filled, 0);
            self.filled = left;
        }
        Ok(())
    }

    /// Does what was not taken begin as TLS does?
    fn begins_with_tls(&self) -> bool {
        Foreign::detect(self.buffer.get(..self.filled).unwrap_or_default()) == Some(Foreign::Tls)
    }

    /// The connection is at its end.
    fn ended(&self, intake: &Intake) {
        if self.framing.is_within_a_line(self.buffer.get(..self.filled).unwrap_or_default()) {
            intake.stats.counters.incomplete.one();
        }
    }
}

/// Why a connection is closed.
enum End {
    /// By the sender.
    Closed,
    Idle,
    Failed(io::Error),
    BadFraming,
}

impl From<BadFraming> for End {
    fn from(_: BadFraming) -> Self {
        Self::BadFraming
    }
}

async fn serve_tls(
    handshake: Handshake,
    stream: TcpStream,
    open: Open,
    limits: Limits,
    intake: Arc<Intake>,
    mut stop: Stop,
) {
    let stream = tokio::select! {
        stream = handshake.accept(stream) => stream,
        _ = stopped(&mut stop) => None,
    };
    if let Some(stream) = stream {
        serve(stream, open, limits, intake, stop).await;
    }
}

async fn serve(mut stream: impl Lines, open: Open, limits: Limits, intake: Arc<Intake>, mut stop: Stop) {
    let mut unread = Unread::new(limits.max_line);
    let end = loop {
        let read = tokio::select! {
            biased;
            deadline = stopped(&mut stop) => {
                if let Some(stream) = stream.what_is_there() {
                    drain(stream, unread, open, intake, deadline).await;
                }
                return;
            }
            read = within(limits.idle_timeout, stream.read(unread.room())) => read,
        };
        let step = match read {
            None => Err(End::Idle),
            Some(Ok(0)) => Err(End::Closed),
            Some(Ok(bytes)) => unread.read(bytes, open.peer, &intake).map_err(End::from),
            Some(Err(error)) => Err(End::Failed(error)),
        };
        if let Err(end) = step {
            break end;
        }
        // A flood of lines leaves room for others.
        yield_now().await;
    };
    close(end, &unread, &open, &intake);
}

/// Reads what has arrived, after the stop.
async fn drain(mut stream: impl Read, mut unread: Unread, open: Open, intake: Arc<Intake>, deadline: Instant) {
    while Instant::now() < deadline {
        let step = match stream.read(unread.room()) {
            Ok(0) => Err(End::Closed),
            Ok(bytes) => unread.read(bytes, open.peer, &intake).map_err(End::from),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(End::Closed),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(End::Failed(error)),
        };
        if let Err(end) = step {
            return close(end, &unread, &open, &intake);
        }
        yield_now().await;
    }
    unread.ended(&intake);
    intake.out_of_time();
}

async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

fn close(end: End, unread: &Unread, open: &Open, intake: &Intake) {
    let (counters, peer) = (&intake.stats.counters, open.peer);
    match end {
        End::Closed => {}
        End::Idle => {
            counters.timeouts.one();
            if let Some(left_out) = intake.logs.idle.pass() {
                tracing::info!(%peer, left_out, "connection for log lines closed: it was idle (--log-idle-timeout)");
            }
        }
        End::Failed(error) => {
            counters.io_errors.one();
            tracing::debug!(%peer, %error, "connection for log lines ended with an error");
        }
        End::BadFraming if unread.begins_with_tls() => {
            counters.bad_framing.one();
            intake.stats.tls().count(TlsResult::Unexpected);
            if let Some(left_out) = intake.logs.tls.pass() {
                tracing::warn!(
                    %peer,
                    left_out,
                    "connection for log lines closed: this is TLS; HAProxy's server line must not have ssl, or the address \
                     needs ,tls (--log-listen)"
                );
            }
            return;
        }
        End::BadFraming => {
            counters.bad_framing.one();
            if let Some(left_out) = intake.logs.framing.pass() {
                tracing::warn!(
                    %peer,
                    left_out,
                    "connection for log lines closed: neither octet-counted nor lines of syslog (RFC 6587)"
                );
            }
            return;
        }
    }
    unread.ended(intake);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::allow::AllowList;
    use super::super::intake::Logs;
    use super::*;
    use crate::line::LineSink;

    struct Nowhere;

    impl LineSink for Nowhere {
        fn take(&self, _: Sender, _: &[u8]) {}
    }

    /// Who connected before the stop: lines taken from them, and connections left in the socket.
    async fn at_the_stop(is_passed: bool) -> (u64, usize) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let others = listener.try_clone().unwrap();
        let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.write_all(b"<134>a line\n").unwrap();
        let stats = Arc::<ListenerStats>::default();
        let (sink, allowed, logs) = (Arc::new(Nowhere), AllowList::new(vec![]), Logs::default());
        let intake = Arc::new(Intake { sink, allowed, stats: stats.clone(), logs });
        let deadline = Instant::now() + Duration::from_secs(60);
        let (_limits, limits) = watch::channel(Limits::new(&ListenerConfig::default()));
        let (_stop, stop) = watch::channel(Some(deadline));
        let thread = LineThread::start().unwrap();
        let socket = TcpSocket { listener, is_passed };
        let lines = TcpLines::start(socket, &thread, None, limits, intake, stop).unwrap();
        lines.ended(deadline).await;
        (stats.snapshot().tcp_lines, std::iter::from_fn(|| others.accept().ok()).count())
    }

    #[tokio::test]
    async fn who_waits_at_a_passed_socket_is_left_to_the_next_one() {
        assert_eq!(at_the_stop(false).await, (1, 0));
        assert_eq!(at_the_stop(true).await, (0, 1));
    }
}
