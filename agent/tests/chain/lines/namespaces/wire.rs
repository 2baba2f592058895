//! A wire between two hosts that delays and loses frames, as netem does where the kernel has it.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::ioctl::{Setter, ioctl, opcode};

/// Frames on their way in one direction; what comes on top is lost. As netem has it.
const MOST: usize = 1000;
/// How soon it sees that it is over.
const IDLE: Duration = Duration::from_millis(100);

/// `struct ifreq` of linux/if.h, as TUNSETIFF wants it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// Makes a network interface whose cable is this file, in the namespace of the thread.
pub fn interface(name: &str) -> io::Result<File> {
    const IFF_TAP: i16 = 0x0002;
    const IFF_NO_PI: i16 = 0x1000;
    const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<c_int>(b'T', 202);
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: IFF_TAP | IFF_NO_PI, rest: [0; 22] };
    assert!(name.len() < request.name.len(), "{name} is too long for an interface");
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF reads a `struct ifreq`, and that is what it gets: not shorter than 40 bytes.
    unsafe { ioctl(&file, Setter::<TUNSETIFF, Request>::new(request))? };
    rustix::io::ioctl_fionbio(&file, true)?;
    Ok(file)
}

#[derive(Default)]
struct Terms {
    delay_us: AtomicU32,
    loss_per_mille: AtomicU32,
    over: AtomicBool,
}

/// Ends when it is dropped.
pub struct Wire {
    terms: Arc<Terms>,
    directions: Vec<JoinHandle<()>>,
}

impl Wire {
    pub fn between(ends: [File; 2], seed: u64) -> Self {
        let [one, other] = ends.map(Arc::new);
        let terms = Arc::<Terms>::default();
        let direction = |n, from: &Arc<File>, to: &Arc<File>| {
            let (from, to, terms) = (from.clone(), to.clone(), terms.clone());
            let mut dice = fastrand::Rng::with_seed(2 * seed + n);
            std::thread::spawn(move || carry(&from, &to, &terms, || dice.u32(..1000)))
        };
        let directions = vec![direction(0, &one, &other), direction(1, &other, &one)];
        Wire { terms, directions }
    }

    /// In each direction.
    pub fn set(&self, delay: Duration, loss_per_mille: u32) {
        self.terms.delay_us.store(u32::try_from(delay.as_micros()).unwrap(), Relaxed);
        self.terms.loss_per_mille.store(loss_per_mille, Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.terms.over.store(true, Relaxed);
        for direction in self.directions.drain(..) {
            let _ = direction.join();
        }
    }
}

fn carry(mut from: &File, mut to: &File, terms: &Terms, mut dice: impl FnMut() -> u32) {
    let mut under_way = VecDeque::<(Instant, Vec<u8>)>::new();
    let mut frame = [0; 2048]; // the MTU is 1500
    while !terms.over.load(Relaxed) {
        let next = under_way.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        let wait = next.unwrap_or(IDLE).min(IDLE).try_into().unwrap();
        poll(&mut [PollFd::new(&from, PollFlags::IN)], Some(&wait)).unwrap();
        while let Ok(length) = from.read(&mut frame) {
            if under_way.len() < MOST && dice() >= terms.loss_per_mille.load(Relaxed) {
                let delay = Duration::from_micros(terms.delay_us.load(Relaxed).into());
                under_way.push_back((Instant::now() + delay, frame[..length].to_vec()));
            }
        }
        while under_way.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            // An interface that is down takes nothing.
            let _ = to.write(&under_way.pop_front().unwrap().1);
        }
    }
}
