//! Processes for the tests of `spop`.

#![allow(dead_code, unreachable_pub)] // Each test file uses a part of it.

#[path = "../../../runtime/tests/common/golden.rs"]
mod golden;
#[path = "../../../runtime/tests/common/programs.rs"]
mod programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use spop_core::{Flags, FrameEncoder, FrameId, FrameType, Header, MAX_HEADER_LEN, StreamId};

pub use golden::{unhex, vectors};
pub use programs::{Process, example, program, say, skipped, until, wait};

/// What a run of `spop` gave.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The lines of standard output as JSON.
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Standard output, if the run did well.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    pub fn failed(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(says), "{says:?} is not in {self:?}");
        self
    }
}

/// Runs `spop` without input.
pub fn spop(args: &[&str]) -> Output {
    spop_with(args, b"")
}

/// Runs `spop` with this input.
pub fn spop_with(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_spop"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = std::thread::spawn(move || {
        // It may end before it has read all.
        let _unread = stdin.write_all(&input);
    });
    let (out, err) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
    let status = wait(&mut child, &format!("spop {args:?}"));
    feed.join().unwrap();
    Output { code: status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        from.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    })
}

/// The example agent `ip_reputation`, listening.
pub struct RealAgent {
    pub addr: String,
    pub process: Process,
}

impl RealAgent {
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0")
    }

    pub fn start_on(listen: &str) -> Self {
        Self::start_program(&example("ip_reputation"), &["--listen", listen])
    }

    /// The tracing agent; its trees go nowhere.
    pub fn start_spoa_otel() -> Self {
        let args = ["--listen", "127.0.0.1:0", "--admin", "none"];
        Self::start_program(&program("spoa-otel"), &args)
    }

    /// The tracing agent with TLS.
    pub fn start_with_tls(args: &[&str]) -> Self {
        let listen = ["--listen", "127.0.0.1:0,tls", "--admin", "none"];
        Self::start_program(&program("spoa-otel"), &[&listen, args].concat())
    }

    /// The tracing agent, with the address of its pages.
    pub fn start_pages() -> Self {
        // The line about them comes first.
        Self::start_program(&program("spoa-otel"), &["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
    }

    pub fn start_program(program: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let process = Process(child);
        let mut line = String::new();
        while log.read_line(&mut line).unwrap() > 0 {
            if let Some((_, addr)) = line.split_once("addr=") {
                let addr = addr.split_whitespace().next().unwrap().to_owned();
                // What follows is read, so that the agent never waits for us.
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                return RealAgent { addr, process };
            }
        }
        panic!("{program:?} does not listen: {line}");
    }

    pub fn pid(&self) -> String {
        self.process.0.id().to_string()
    }
}

/// An agent that does what the test says with each connection. The bytes that its script returns are kept.
pub struct Scripted {
    pub addr: String,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Scripted {
    /// Takes `connections` connections, one after the other.
    pub fn start(connections: usize, script: impl Fn(TcpStream) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let serve = move || (0..connections).map(|_| script(listener.accept().unwrap().0)).collect();
        Scripted { addr, thread: std::thread::spawn(serve) }
    }

    /// What the scripts returned.
    pub fn end(self) -> Vec<Vec<u8>> {
        self.thread.join().unwrap()
    }
}

/// Reads one frame, prefix included; empty at the end of the stream.
pub fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; 4];
    if stream.read_exact(&mut frame).is_err() {
        return Vec::new();
    }
    let len = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    frame.resize(4 + len, 0);
    stream.read_exact(&mut frame[4..]).unwrap();
    frame
}

/// An AGENT-HELLO with these capabilities.
pub fn agent_hello(capabilities: &str) -> Vec<u8> {
    let mut body =
        b"\x65\0\0\0\x01\0\0\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06\x0ccapabilities\x08".to_vec();
    body.push(capabilities.len() as u8);
    body.extend_from_slice(capabilities.as_bytes());
    framed(&body)
}

/// A body with its prefix.
pub fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

/// A frame of the stream with this id, prefix included.
pub fn frame_of(frame_type: FrameType, flags: Flags, stream_id: u64, payload: &[u8]) -> Vec<u8> {
    let header = Header { frame_type, flags, stream_id: StreamId(stream_id), frame_id: FrameId(1) };
    let mut bytes = vec![0; MAX_HEADER_LEN + payload.len()];
    let mut encoder = FrameEncoder::new(&mut bytes, u32::MAX, header).unwrap();
    encoder.payload().bytes(payload).unwrap();
    let len = encoder.finish();
    bytes.truncate(len);
    bytes
}

/// A whole NOTIFY of one message without arguments.
pub fn notify_frame(stream_id: u64, message: &str) -> Vec<u8> {
    let payload = [&[message.len() as u8], message.as_bytes(), &[0]].concat();
    frame_of(FrameType::NOTIFY, Flags::FIN, stream_id, &payload)
}

/// The type and the stream-id of a frame, prefix included.
pub fn ids_of(frame: &[u8]) -> (FrameType, u64) {
    let header = Header::peek(frame).unwrap_or_else(|| panic!("no frame: {frame:?}"));
    (header.frame_type, header.stream_id.0)
}

/// A HAPROXY-HELLO with pipelining.
pub fn haproxy_hello() -> Vec<u8> {
    let hello = vectors("frames_valid.json").into_iter().find(|vector| vector["id"] == "haproxy-hello-2.6").unwrap();
    unhex(hello["hex"].as_str().unwrap())
}

/// A connection after HAProxy's HELLO and the agent's. Reads end in time.
pub fn shaken(addr: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&haproxy_hello()).unwrap();
    assert_eq!(ids_of(&read_frame(&mut stream)).0, FrameType::AGENT_HELLO);
    stream
}

/// The top folder of the sources.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}
