//! Programs of the workspace, as tests run them.

#![allow(dead_code, unreachable_pub)] // Each test file uses a part of it.

use std::io::Write;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

/// No step of a test takes so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code of a process that ends in time.
pub fn wait(child: &mut Child, what: &str) -> i32 {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("{what} does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says something past the test runner's capture, which only takes what the print macros write.
pub fn say(text: &str) {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{text}").unwrap();
}

/// Says that a test did not run here.
pub fn skipped(why: &str) {
    say(&format!("SKIPPED: {why}"));
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A program of another package, built beside this test.
pub fn program(name: &str) -> PathBuf {
    built(name, &format!("cargo build -p {name}"))
}

/// An example of the runtime, which `cargo test` builds unless it is told to build one test alone.
pub fn example(name: &str) -> PathBuf {
    built(&format!("examples/{name}"), "cargo build -p spop-agent --examples --features clap")
}

fn built(path: &str, by: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // A test is in target/debug/deps.
    let path = test.ancestors().nth(2).unwrap().join(path);
    assert!(path.exists(), "{} is not there: run {by}", path.display());
    path
}
