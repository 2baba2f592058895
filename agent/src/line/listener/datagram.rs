//! Log lines in datagrams, UDP or of a unix socket: a thread for each socket, which reads many at once.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBuf, RxqOvfl};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrLike, SockaddrStorage, getsockopt, recvmmsg, setsockopt,
};
use spop_agent::addr::Access;
use spop_agent::size;
use spop_agent::socket_file::SocketFile;

use super::intake::Intake;
use super::thread::GATHER;
use crate::line::Sender;

/// As many datagrams are read at once.
const BATCH: usize = 64;

/// The longest datagram of UDP. Of the buffers, [`BATCH`] times so much, only what datagrams have filled once is resident.
const LONGEST: usize = 64 << 10;

/// How soon a reader that waits notices the stop.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// Pause after an error, which as a rule is a lack of memory.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Unix datagrams that wait for their reader, by the system's setting, below which HAProxy loses lines in every burst.
const LOW_QUEUE: u32 = 256;

/// A socket that nobody reads yet.
pub(super) enum DatagramSocket {
    Udp {
        socket: UdpSocket,
        /// Others read it before, and counted what it dropped.
        is_passed: bool,
    },
    Unix {
        socket: UnixDatagram,
        /// Enough can wait at it for lines to gather.
        gathers: bool,
        /// Removed at the end, if it is ours.
        _file: Option<SocketFile>,
    },
}

impl DatagramSocket {
    /// A UDP socket with so much memory, or as much as the system gives.
    pub(super) fn udp(addrs: &[SocketAddr], recv_buffer: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind(addrs)?;
        // The system's type is a C int, of which it doubles the value.
        let recv_buffer = recv_buffer.min(1 << 30);
        setsockopt(&socket, RcvBuf, &recv_buffer)?;
        // The system doubles what it is told, for what it needs itself.
        let given = getsockopt(&socket, RcvBuf)? / 2;
        if given < recv_buffer {
            tracing::warn!(
                "the receive buffer for log lines has {} instead of {} (--log-recv-buffer): bursts may be lost. Allow it: \
                 sysctl -w net.core.rmem_max={recv_buffer}",
                size::text(given),
                size::text(recv_buffer)
            );
        }
        Self::of_udp(socket, false)
    }

    /// A UDP socket that was passed. Its memory is that of the socket unit, which may be more than this process can ask for.
    pub(super) fn passed_udp(socket: UdpSocket, recv_buffer: usize) -> io::Result<Self> {
        let given = getsockopt(&socket, RcvBuf)? / 2;
        if given < recv_buffer {
            tracing::warn!(
                "the receive buffer of a passed socket for log lines has {} instead of {} (--log-recv-buffer): bursts may be \
                 lost. Write ReceiveBuffer={recv_buffer} into the socket unit",
                size::text(given),
                size::text(recv_buffer)
            );
        }
        Self::of_udp(socket, true)
    }

    fn of_udp(socket: UdpSocket, is_passed: bool) -> io::Result<Self> {
        setsockopt(&socket, RxqOvfl, &1)?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(STOP_CHECK))?;
        Ok(Self::Udp { socket, is_passed })
    }

    /// A unix socket that those may send to who have access.
    pub(super) fn unix(path: &Path, access: &Access) -> io::Result<Self> {
        let (socket, file) = SocketFile::datagrams(path, access)?;
        Self::of_unix(socket, Some(file))
    }

    /// A unix socket that was passed, with a file of others.
    pub(super) fn passed_unix(socket: UnixDatagram) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        Self::of_unix(socket, None)
    }

    fn of_unix(socket: UnixDatagram, file: Option<SocketFile>) -> io::Result<Self> {
        let queue = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen");
        let queue = queue.ok().and_then(|text| text.trim().parse::<u32>().ok());
        let low = queue.filter(|&queue| queue < LOW_QUEUE);
        if let Some(queue) = low {
            tracing::warn!(
                "only {queue} log lines can wait at a unix socket: HAProxy drops those of a burst (DroppedLogs of show \
                 info). Allow more, before the start: sysctl -w net.unix.max_dgram_qlen={LOW_QUEUE}"
            );
        }
        // Of a socket that was passed nobody knows what the setting was when it was made.
        let gathers = file.is_some() && queue.is_some() && low.is_none();
        socket.set_read_timeout(Some(STOP_CHECK))?;
        Ok(Self::Unix { socket, gathers, _file: file })
    }

    /// The address of a UDP socket, with the port that the system chose for port 0.
    pub(super) fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Udp { socket, .. } => socket.local_addr().map(Some),
            Self::Unix { .. } => Ok(None),
        }
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp { socket, .. } => socket.as_fd(),
            Self::Unix { socket, .. } => socket.as_fd(),
        }
    }
}

/// A thread that reads a socket. It ends with this at the latest.
pub(super) struct Reader {
    thread: JoinHandle<()>,
    stop: Stop,
}

/// Once it is set, a reader ends when nothing is left to read, and at this instant at the latest.
type Stop = Arc<OnceLock<Instant>>;

impl Reader {
    pub(super) fn start(socket: DatagramSocket, intake: Arc<Intake>) -> io::Result<Self> {
        let stop = Stop::default();
        let lost = if matches!(socket, DatagramSocket::Udp { is_passed: true, .. }) { None } else { Some(0) };
        let reading = Reading { socket, intake, stop: stop.clone(), lost };
        let thread = thread::Builder::new().name("log-lines".to_owned()).spawn(|| reading.run())?;
        Ok(Self { thread, stop })
    }

    /// Tells it to read what is there and to end, at this instant at the latest. Only the first call counts.
    pub(super) fn stop(&self, deadline: Instant) {
        let _ = self.stop.set(deadline);
    }

    /// Has it ended?
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop(Instant::now());
    }
}

/// What the thread has.
struct Reading {
    socket: DatagramSocket,
    intake: Arc<Intake>,
    stop: Stop,
    /// As many were dropped by the system when it was asked last. Each datagram tells how many were before it, so that the
    /// first one of a passed socket tells those that are not ours to count.
    lost: Option<u32>,
}

/// The address of a datagram's sender, as the system writes it.
trait Source: SockaddrLike + Copy {
    fn sender(&self) -> Option<Sender>;
}

/// Of unix sockets nobody asks for it.
impl Source for () {
    fn sender(&self) -> Option<Sender> {
        Some(Sender::Local)
    }
}

impl Source for SockaddrStorage {
    fn sender(&self) -> Option<Sender> {
        let v4 = self.as_sockaddr_in().map(|addr| IpAddr::V4(addr.ip()));
        let addr = v4.or_else(|| self.as_sockaddr_in6().map(|addr| IpAddr::V6(addr.ip())))?;
        Some(Sender::Ip(addr.to_canonical()))
    }
}

impl Reading {
    fn run(mut self) {
        let mut buffers = vec![0; BATCH * LONGEST];
        loop {
            // Asked before reading: what is there at the stop is read.
            let deadline = self.stop.get().copied();
            let flags = if deadline.is_some() { MsgFlags::MSG_DONTWAIT } else { MsgFlags::MSG_WAITFORONE };
            let (read, gathers) = match self.socket {
                DatagramSocket::Udp { .. } => (self.read::<SockaddrStorage>(&mut buffers, flags), true),
                DatagramSocket::Unix { gathers, .. } => (self.read::<()>(&mut buffers, flags), gathers),
            };
            match read {
                Ok(BATCH) | Err(Errno::EINTR) => {}
                Ok(_) if gathers && deadline.is_none() => thread::sleep(GATHER),
                Ok(_) => {}
                Err(Errno::EAGAIN) if deadline.is_some() => return,
                Err(Errno::EAGAIN) => {}
                Err(error) => {
                    if let Some(left_out) = self.intake.logs.read.pass() {
                        tracing::warn!(%error, left_out, "cannot read log lines");
                    }
                    thread::sleep(ERROR_PAUSE);
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return self.intake.out_of_time();
            }
        }
    }

    /// Reads a batch; as many as there were.
    fn read<S: Source>(&mut self, buffers: &mut [u8], flags: MsgFlags) -> nix::Result<usize> {
        // The system writes into the headers how much of them it used, and nix does not undo that: they serve once.
        let mut headers = MultiHeaders::<S>::preallocate(BATCH, Some(nix::cmsg_space!(u32)));
        let mut slices: Vec<_> = buffers.chunks_exact_mut(LONGEST).map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let mut read = 0;
        for message in recvmmsg(self.socket.as_fd().as_raw_fd(), &mut headers, slices.iter_mut(), flags, None)? {
            read += 1;
            let dropped = message.cmsgs().into_iter().flatten().find_map(|part| match part {
                ControlMessageOwned::RxqOvfl(dropped) => Some(dropped),
                _ => None,
            });
            // It is left out while nothing was dropped.
            let before = self.lost.unwrap_or(dropped.unwrap_or(0));
            self.lost = Some(dropped.map_or(before, |now| count_lost(&self.intake, before, now)));
            let line = message.iovs().next().unwrap_or_default();
            let is_cut = message.flags.contains(MsgFlags::MSG_TRUNC);
            if let Some(sender) = message.address.and_then(|addr| addr.sender()) {
                take(&self.intake, sender, line, is_cut);
            }
        }
        Ok(read)
    }
}

fn take(intake: &Intake, sender: Sender, line: &[u8], is_cut: bool) {
    let counters = &intake.stats.counters;
    let (lines, bytes) = match sender {
        Sender::Ip(addr) if !intake.admits(addr, &counters.refused) => return,
        Sender::Ip(_) => (&counters.udp_lines, &counters.udp_bytes),
        Sender::Local => (&counters.unix_lines, &counters.unix_bytes),
    };
    if is_cut {
        counters.cut.one();
        if let Some(left_out) = intake.logs.cut.pass() {
            tracing::warn!(left_out, "a datagram with a log line has more than 64 KiB: left out");
        }
        return;
    }
    intake.take(sender, line, lines, bytes);
}

/// Counts what was lost between two figures of the system; gives the new one.
fn count_lost(intake: &Intake, before: u32, now: u32) -> u32 {
    // Datagrams queued by several processors may tell it out of order.
    let lost = now.wrapping_sub(before);
    if lost == 0 || lost > u32::MAX / 2 {
        return before;
    }
    intake.stats.counters.lost.add(lost as usize);
    if let Some(lines) = intake.logs.lost.occurred(lost.into()) {
        tracing::warn!(
            lines,
            "log lines lost: the receive buffer was full (--log-recv-buffer, sysctl net.core.rmem_max)"
        );
    }
    now
}
