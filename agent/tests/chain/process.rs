//! Child processes of a test: their output is kept, and they end with the test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No step of a test takes so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Tries again and again until `poll` gives something.
pub async fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(Instant::now() < end, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A process that is killed when it is dropped.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
    /// They end with its output.
    readers: [JoinHandle<()>; 2],
}

impl Process {
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
        let output = Arc::new(Mutex::new(Vec::new()));
        let readers = [keep(child.stdout.take(), &output), keep(child.stderr.take(), &output)];
        Process { name: name.to_owned(), child, output, readers }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in bytes, without the pages of the program itself: they come as it gets to them.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The lines written so far.
    pub fn output(&self) -> Vec<String> {
        self.output.lock().unwrap().clone()
    }

    /// Waits for a line for which `find` gives something.
    pub async fn line<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let name = self.name.clone();
        eventually(&format!("{name}: {what}"), || {
            // Asked before the output: the last lines of a process may be read after its end.
            let complete = self.readers.iter().all(JoinHandle::is_finished);
            // Not under the lock: `find` may fail, and the output is to be shown then.
            let found = self.output().iter().find_map(|line| find(line));
            if found.is_none() && complete {
                self.assert_alive();
            }
            found
        })
        .await
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    pub fn assert_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "{} ended ({ended:?}):\n{}", self.name, self.output().join("\n"));
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success(), "kill {signal} {}", self.name);
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        eventually(&format!("{name} ends"), || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let output = self.output();
            let tail = &output[output.len().saturating_sub(40)..];
            eprintln!("---- {} ----\n{}", self.name, tail.join("\n"));
        }
    }
}

fn keep(stream: Option<impl Read + Send + 'static>, output: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let (stream, output) = (stream.unwrap(), output.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            output.lock().unwrap().push(line);
        }
    })
}

/// A port that was free a moment ago, below those that the kernel gives to others.
pub fn free_port() -> u16 {
    const RANGE: std::ops::Range<u32> = 20_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Each test process has a place of its own to begin.
        let offset = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Relaxed));
        let port = (RANGE.start + offset % (RANGE.end - RANGE.start)) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
