//! A good client among others that send the most expensive NOTIFYs there are: what the agent does before it has its answer
//! is no more than a bounded amount of ordinary work. Counted in the agent's own time of CPU, so that neither the machine's
//! speed, nor what else it does, nor an optimised build plays a part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use spop_core::{FrameId, NotifyEncoder, StreamId, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::agent::{LiveAgent, Program};
use crate::raw::{Raw, Reply};
use crate::wire::{hello_keys, hello_with, kv};

/// What HAProxy would take at most.
const LARGEST: u32 = 1 << 20;

/// What the agent takes unless it is told otherwise.
const SIZE: u32 = 64 << 10;

/// The most work for an answer: that for so many frames of the full size with ordinary messages. It is 3 here, 12 where the
/// build is optimised and the machine busy, and was 115 to 390 as long as frames had 1 MiB and work grew with the square
/// of what they held.
const FRAMES: u32 = 40;

/// What measures that work takes at least so long, many ticks of the system's clock.
const MEASURED: Duration = Duration::from_millis(500);

/// Connections besides the good one.
const OTHERS: usize = 4;

const ROUNDS: u32 = 40;

/// The ACK of a NOTIFY whose messages ask for nothing.
const ACK_LEN: u64 = 11;

fn full_of(size: u32, mut message: impl FnMut(&mut NotifyEncoder<'_>, u64) -> Option<()>) -> Vec<u8> {
    let mut frame = vec![0; size as usize + 4];
    let mut notify = NotifyEncoder::new(&mut frame, size, StreamId(1), FrameId(1)).unwrap();
    // What did not fit is not there.
    (0..).try_for_each(|n| message(&mut notify, n));
    let len = notify.finish();
    frame.truncate(len);
    frame
}

/// A message, with as many arguments as fit.
fn message(
    notify: &mut NotifyEncoder<'_>,
    id: &str,
    args: impl IntoIterator<Item = (&'static str, String)>,
) -> Option<()> {
    notify.message(b"otel:m").ok()?;
    notify.arg(b"id", Value::from(id)).ok()?;
    args.into_iter().try_for_each(|(key, value)| notify.arg(key.as_bytes(), Value::from(value.as_str()))).ok()
}

/// Ids, spans, attributes, baggage: very many of each, the same ones or others, in frames of this size.
fn attacks(size: u32) -> Vec<(&'static str, Vec<u8>)> {
    let name = |n: u64, i: u64| format!("{:04}", n * 254 + i);
    let tags = |n: u64, i: u64| [("tag", name(n, i)), ("", String::new())];
    vec![
        (
            "many ids",
            full_of(size, |notify, n| message(notify, &n.to_string(), [("span", "a".into()), ("finish", "*".into())])),
        ),
        ("many spans", full_of(size, |notify, n| message(notify, "1", (0..250).map(|i| ("span", name(n, i)))))),
        (
            "spans that end",
            full_of(size, |notify, n| {
                let spans = (0..120).flat_map(|i| [("span", name(n, i)), ("finish", name(n, i))]);
                message(notify, "2", spans)
            }),
        ),
        (
            "the same spans",
            full_of(size, |notify, _| {
                message(notify, "3", (0..125).flat_map(|i| [("span", name(0, i)), ("child-of", name(0, 0))]))
            }),
        ),
        (
            "unknown references",
            full_of(size, |notify, n| {
                message(notify, "4", (0..125).flat_map(|i| [("span", name(0, i)), ("child-of", name(n, 200))]))
            }),
        ),
        (
            "many attributes",
            full_of(size, |notify, n| {
                message(notify, "5", [("span", "a".into())].into_iter().chain((0..120).flat_map(|i| tags(n, i))))
            }),
        ),
        (
            "baggage",
            full_of(size, |notify, n| {
                let entries = (0..2000).map(|i| format!("{:05}=1", n * 2000 + i)).collect::<Vec<_>>().join(",");
                message(notify, "6", [("extract", String::new()), ("", String::new()), ("", entries)])
            }),
        ),
    ]
}

/// A connection, and the size of frames that the agent takes.
async fn running(addr: &str) -> (Raw, u32) {
    let [versions, _, capabilities] = hello_keys();
    let mut raw = Raw::connect(addr).await;
    raw.send(&hello_with(&[versions, kv("max-frame-size", Value::UInt32(LARGEST)), capabilities])).await;
    match raw.reply().await {
        Reply::Hello(size, _) => (raw, size),
        other => panic!("{other:?}"),
    }
}

/// A NOTIFY as HAProxy sends it for a request.
fn ordinary() -> Vec<u8> {
    let tags = ["http.method", "http.url", "client.address", "client.port", "host"]
        .into_iter()
        .flat_map(|key| [("tag", key.to_owned()), ("", "a value of some length".to_owned())]);
    let args = [("span", "HTTP request".to_owned())].into_iter().chain(tags).chain([("finish", "*".to_owned())]);
    let args: Vec<_> = args.collect();
    full_of(SIZE, |notify, n| {
        (n == 0).then_some(())?;
        message(notify, "0123456789abcdef", args.iter().cloned())
    })
}

/// Connections that send the same frame again and again.
struct Load {
    tasks: Vec<JoinHandle<()>>,
    answers: Arc<AtomicU64>,
}

impl Load {
    async fn start(addr: &str, frames: &[u8]) -> Self {
        let mut load = Load { tasks: Vec::new(), answers: Arc::default() };
        for _ in 0..OTHERS {
            let (raw, _) = running(addr).await;
            let (mut input, mut output) = raw.stream.into_split();
            let (frames, answers) = (frames.to_owned(), load.answers.clone());
            load.tasks.push(tokio::spawn(async move { while output.write_all(&frames).await.is_ok() {} }));
            load.tasks.push(tokio::spawn(async move {
                let mut acks = vec![0; 1 << 16];
                while let Ok(n @ 1..) = input.read(&mut acks).await {
                    answers.fetch_add(n as u64, Relaxed);
                }
            }));
        }
        load
    }

    /// The frames that were answered so far.
    fn answered(&self) -> u64 {
        self.answers.load(Relaxed) / ACK_LEN
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The time of CPU that it took so far.
fn cpu(agent: &LiveAgent) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.process.pid())).unwrap();
    // The name before may hold anything.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32
}

/// The agent's time of CPU for so many bytes of ordinary NOTIFYs as a frame of the full size has.
async fn time_of_a_frame(agent: &mut LiveAgent) -> Duration {
    let frame = ordinary();
    let load = Load::start(&agent.addr, &frame.repeat(100)).await;
    let before = cpu(agent);
    loop {
        agent.good_is_served("ordinary NOTIFYs").await;
        let took = cpu(agent) - before;
        if took >= MEASURED {
            let frames = load.answered() * frame.len() as u64 / u64::from(SIZE);
            return took / u32::try_from(frames).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_client_among_expensive_notifys() {
    let mut agent =
        LiveAgent::start(Program::SpoaOtel, &["--otlp", "http://127.0.0.1:1", "--queue-bytes", "8MiB"]).await;
    let (_, size) = running(&agent.addr).await;
    assert_eq!(size, SIZE);
    let most = time_of_a_frame(&mut agent).await * FRAMES;
    for (name, frame) in attacks(size) {
        assert!(frame.len() > size as usize * 9 / 10, "{name}: {}", frame.len());
        let load = Load::start(&agent.addr, &frame).await;
        let before = cpu(&agent);
        for answers in 1..=ROUNDS {
            agent.good_is_served(name).await;
            let took = cpu(&agent) - before;
            assert!(
                took <= most * ROUNDS,
                "{name}: {took:.1?} for {answers} answers, no more than {most:.1?} for each"
            );
        }
        assert!(load.answered() > 0, "{name}");
        println!("{name}: {:.1?} of {most:.1?}", (cpu(&agent) - before) / ROUNDS);
    }
    agent.serves("expensive NOTIFYs").await;
    agent.stop().await;
}
