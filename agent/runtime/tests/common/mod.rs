//! HAProxy's part of a connection, for tests.

#![allow(dead_code)] // Each test file uses a part of it.

use std::time::Duration;

use spop_agent::{Server, ServerConfig, ServerStats, StatsSnapshot};
use spop_core::{
    Action, Client, ClientConfig, ClientEvent, FrameId, MAX_TRANSMIT_LEN, NotifyEncoder, Scope, Status, StreamId, Value,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No step of a test takes so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn patiently<T>(what: &str, work: impl std::future::Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}

/// A server in the test's own process.
pub struct Running {
    pub addr: String,
    pub stats: std::sync::Arc<ServerStats>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn start(server: Server) -> Self {
        Self::start_at(server, "127.0.0.1:0").await
    }

    pub async fn start_at(server: Server, addr: &str) -> Self {
        let server = server.bind(addr).await.unwrap();
        let addr = server.addrs().next().unwrap().to_string();
        let stats = server.stats();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Running { addr, stats, stop, task }
    }

    /// Tells the server to stop, without waiting.
    pub fn stop(self) -> JoinHandle<()> {
        let _ = self.stop.send(());
        self.task
    }

    /// Waits until the counters are as wanted.
    pub async fn wait_for(&self, what: &str, wanted: impl Fn(&StatsSnapshot) -> bool) {
        let poll = async {
            while !wanted(&self.stats.snapshot()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, poll).await.is_err() {
            panic!("{what}: {:?}", self.stats.snapshot());
        }
    }
}

/// What came from the agent, owned.
#[derive(Debug, PartialEq)]
pub enum Event {
    Hello,
    Ack { stream_id: u64, frame_id: u64, vars: Vec<(Scope, String, String)> },
    Disconnect(Status),
    Eof,
}

pub struct Peer<S = TcpStream> {
    pub stream: S,
    pub client: Client,
    pub input: Vec<u8>,
}

impl Peer {
    /// Connects without a word.
    pub async fn connect(addr: &str, config: ClientConfig) -> Self {
        let stream = patiently("connect", TcpStream::connect(addr)).await.unwrap();
        Peer::over(stream, config)
    }

    /// Connects and waits for the agent's HELLO.
    pub async fn hello(addr: &str, config: ClientConfig) -> Self {
        let mut peer = Self::connect(addr, config).await;
        peer.send_own().await;
        assert_eq!(peer.event().await, Event::Hello);
        peer
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Over a connection of another kind.
    pub fn over(stream: S, config: ClientConfig) -> Self {
        Peer { stream, client: Client::new(config), input: Vec::new() }
    }

    /// Sends what the client's state machine has to send.
    pub async fn send_own(&mut self) {
        let mut out = [0; MAX_TRANSMIT_LEN];
        while let Some(len) = self.client.poll_transmit(&mut out).unwrap() {
            self.stream.write_all(&out[..len]).await.unwrap();
        }
        self.stream.flush().await.unwrap();
    }

    pub fn encode_notify(
        &mut self,
        stream_id: u64,
        frame_id: u64,
        fill: impl FnOnce(&mut NotifyEncoder<'_>),
    ) -> Vec<u8> {
        let mut out = vec![0; 16384];
        let mut notify = self.client.notify(&mut out, StreamId(stream_id), FrameId(frame_id)).unwrap();
        fill(&mut notify);
        let len = notify.finish();
        out.truncate(len);
        out
    }

    /// Sends a NOTIFY with one message `name`, which has one argument `n`.
    pub async fn notify(&mut self, stream_id: u64, name: &str, n: i64) {
        let frame = self.encode_notify(stream_id, 1, |notify| {
            notify.message(name.as_bytes()).unwrap();
            notify.arg(b"n", Value::Int64(n)).unwrap();
        });
        self.stream.write_all(&frame).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next event.
    pub async fn event(&mut self) -> Event {
        patiently("an event", async {
            loop {
                let (used, event) = self.client.handle_input(&self.input).unwrap();
                let event = event.map(owned);
                self.input.drain(..used);
                if let Some(event) = event {
                    return event;
                }
                if used > 0 {
                    continue;
                }
                let mut chunk = [0; 16384];
                match self.stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => return Event::Eof,
                    Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                }
            }
        })
        .await
    }

    /// The next event, which has to be an ACK.
    pub async fn ack(&mut self) -> (u64, Vec<(Scope, String, String)>) {
        match self.event().await {
            Event::Ack { stream_id, vars, .. } => (stream_id, vars),
            other => panic!("an ACK expected, got {other:?}"),
        }
    }
}

/// The defaults but for what `change` sets.
pub fn config(change: impl FnOnce(&mut ServerConfig)) -> ServerConfig {
    let mut config = ServerConfig::default();
    change(&mut config);
    config
}

fn owned(event: ClientEvent<'_>) -> Event {
    match event {
        ClientEvent::Hello(_) => Event::Hello,
        ClientEvent::Ack { stream_id, frame_id, actions, .. } => Event::Ack {
            stream_id: stream_id.0,
            frame_id: frame_id.0,
            vars: actions
                .map(|action| match action.unwrap() {
                    Action::SetVar { scope, name, value } => {
                        (scope, String::from_utf8(name.to_vec()).unwrap(), format!("{value:?}"))
                    }
                    Action::UnsetVar { scope, name } => {
                        (scope, String::from_utf8(name.to_vec()).unwrap(), "unset".to_owned())
                    }
                })
                .collect(),
        },
        ClientEvent::Disconnect(disconnect) => Event::Disconnect(disconnect.status.unwrap()),
        other => panic!("an event that this test does not know: {other:?}"),
    }
}
