//! Clients that do what well-behaved ones do not.

use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::PATIENCE;

/// What a client saw of a request.
#[derive(Debug)]
pub struct Seen {
    /// Its own port.
    pub port: u16,
    /// Before the request was sent, and after the last byte came or it went away.
    pub sent: SystemTime,
    pub done: SystemTime,
    /// `None` if there was no answer.
    pub status: Option<u16>,
    /// What HAProxy says that its trace is.
    pub trace_id: Option<String>,
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    sent: SystemTime,
    got: Vec<u8>,
}

impl Client {
    pub async fn connect(addr: &str) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, sent: SystemTime::now(), got: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.sent = SystemTime::now();
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads until this came. False if the connection ended, or `patience`, before.
    pub async fn until(&mut self, text: &[u8], patience: Duration) -> bool {
        let read = async {
            while !self.got.windows(text.len()).any(|part| part == text) {
                let mut buf = [0; 16384];
                match self.stream.read(&mut buf).await {
                    Ok(0) | Err(_) => return false,
                    Ok(n) => self.got.extend_from_slice(&buf[..n]),
                }
            }
            true
        };
        tokio::time::timeout(patience, read).await.unwrap_or(false)
    }

    /// HTTP/2: reads until so many streams have ended.
    pub async fn until_streams_end(&mut self, streams: usize, patience: Duration) -> bool {
        let read = async {
            while ended_streams(&self.got) < streams {
                let mut buf = [0; 16384];
                match self.stream.read(&mut buf).await {
                    Ok(0) | Err(_) => return false,
                    Ok(n) => self.got.extend_from_slice(&buf[..n]),
                }
            }
            true
        };
        tokio::time::timeout(patience, read).await.unwrap_or(false)
    }

    /// Reads to the end of the connection.
    pub async fn read_all(mut self) -> Seen {
        let mut rest = Vec::new();
        // A reset is an end.
        let _ = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("the connection ends");
        self.got.extend_from_slice(&rest);
        self.seen()
    }

    /// Goes away at once: with a reset if something of the answer was not read.
    pub fn go(self) -> Seen {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
        self.seen()
    }

    /// Goes away as browsers do.
    pub fn close(self) -> Seen {
        self.seen()
    }

    /// What there is so far.
    pub fn seen(&self) -> Seen {
        let text = String::from_utf8_lossy(&self.got);
        let status =
            text.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let trace_id = text.split("x-trace-id: ").nth(1).and_then(|rest| rest.lines().next()).map(str::to_owned);
        let port = self.stream.local_addr().unwrap().port();
        Seen { port, sent: self.sent, done: SystemTime::now(), status, trace_id }
    }

    /// For the next answer.
    pub fn forget(&mut self) {
        self.got.clear();
    }
}

/// A request, as bytes.
pub fn request(method: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: cases.test\r\nuser-agent: case\r\n{headers}\r\n").into_bytes()
}

/// GET on a connection of its own.
pub async fn get(addr: &str, path: &str) -> Seen {
    get_with(addr, path, "").await
}

/// The same with more headers, each with its end of line.
pub async fn get_with(addr: &str, path: &str, headers: &str) -> Seen {
    let mut client = Client::connect(addr).await;
    client.send(&request("GET", path, &format!("connection: close\r\n{headers}"))).await;
    client.read_all().await
}

/// HEADERS and DATA with END_STREAM.
fn ended_streams(mut frames: &[u8]) -> usize {
    let mut ended = 0;
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(after) = rest.get(length..) else { break };
        ended += usize::from(matches!(kind, 0 | 1) && flags & 1 == 1);
        frames = after;
    }
    ended
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An HTTP/2 frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What an HTTP/2 client says first.
pub fn hello() -> Vec<u8> {
    [PREFACE, &frame(4, 0, 0, &[])].concat()
}

/// HEADERS of a whole request without a body; each name and value as a literal without Huffman.
pub fn headers(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    begun(0x5, stream, fields)
}

/// The same of a POST whose body comes: 100 bytes.
pub fn h2_post(stream: u32, path: &str) -> Vec<u8> {
    let request = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "cases.test")];
    begun(0x4, stream, &[&request[..], &[("content-length", "100")]].concat())
}

fn begun(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    frame(1, flags, stream, &block)
}

/// A GET over HTTP/2.
pub fn h2_get(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, &[(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "cases.test")])
}
