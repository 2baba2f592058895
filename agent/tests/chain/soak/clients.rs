//! Clients at a fixed rate, for as long as wanted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::lines::client::request;
use crate::process::PATIENCE;

/// At most, at once.
const AT_ONCE: usize = 64;

/// A request that waits in the backlog of an HAProxy that ends is reset by the kernel: it is sent again, as browsers do.
const TRIES: u32 = 5;

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub took: Duration,
    pub status: u16,
    /// Whether it says what its trace is.
    pub traced: bool,
    /// Connections that ended without an answer before.
    pub resets: u32,
}

/// Requests on connections of their own, at a fixed rate, until they are stopped.
pub struct Clients {
    stop: watch::Sender<bool>,
    all: JoinHandle<Vec<Answer>>,
}

impl Clients {
    pub fn start(addr: &str, rate: u32) -> Self {
        let (stop, over) = watch::channel(false);
        Clients { stop, all: tokio::spawn(ask_until(over, addr.to_owned(), rate)) }
    }

    pub async fn stop(self) -> Vec<Answer> {
        self.stop.send(true).unwrap();
        self.all.await.unwrap()
    }
}

async fn ask_until(over: watch::Receiver<bool>, addr: String, rate: u32) -> Vec<Answer> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    // A machine that is too slow for the rate makes no crowd of them.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let (mut under_way, mut answers) = (VecDeque::<JoinHandle<Answer>>::new(), Vec::new());
    for n in 0.. {
        ticks.tick().await;
        if *over.borrow() {
            break;
        }
        let place = places.clone().acquire_owned().await.unwrap();
        let addr = addr.clone();
        under_way.push_back(tokio::spawn(async move {
            let _place = place;
            ask(&addr, &format!("/soak/{}", n % 100)).await
        }));
        while under_way.front().is_some_and(JoinHandle::is_finished) {
            answers.push(under_way.pop_front().unwrap().await.unwrap());
        }
    }
    for answer in under_way {
        answers.push(answer.await.unwrap());
    }
    answers
}

/// One request, until it is answered.
pub async fn ask(addr: &str, path: &str) -> Answer {
    let sent = Instant::now();
    for resets in 0..TRIES {
        let answer = tokio::time::timeout(PATIENCE, exchange(addr, path)).await.expect("a request hangs");
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        if let Some(status) = status {
            let traced = answer.contains("x-trace-id: ");
            return Answer { took: sent.elapsed(), status, traced, resets };
        }
    }
    panic!("a request was reset {TRIES} times");
}

/// All that came.
async fn exchange(addr: &str, path: &str) -> String {
    let mut answer = Vec::new();
    let all = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(&request("GET", path, "connection: close\r\n")).await?;
        stream.read_to_end(&mut answer).await
    };
    // A reset is an end.
    let _ = all.await;
    String::from_utf8_lossy(&answer).into_owned()
}
