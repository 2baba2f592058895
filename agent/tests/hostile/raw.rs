//! A peer that sends any bytes and tells what came back.

use std::time::Duration;

use spop_core::{AgentHello, Disconnect, Frame, FrameType, PREFIX_LEN, peek_len};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::common::patiently;
use crate::wire;

/// What an agent did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// AGENT-HELLO: the agreed size, and the capabilities.
    Hello(u32, String),
    /// ACK: stream-id and frame-id.
    Ack(u64, u64),
    /// AGENT-DISCONNECT.
    Disconnect(u32),
    /// It closed the connection.
    End,
}

pub struct Raw {
    pub stream: TcpStream,
    input: Vec<u8>,
}

impl Raw {
    pub async fn connect(addr: &str) -> Self {
        let stream = patiently("connect", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw { stream, input: Vec::new() }
    }

    /// A connection that takes in little before it is read.
    pub async fn connect_narrow(addr: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = patiently("connect", socket.connect(addr.parse().unwrap())).await.unwrap();
        Raw { stream, input: Vec::new() }
    }

    /// A connection after the HELLOs.
    pub async fn running(addr: &str) -> Self {
        let mut raw = Self::connect(addr).await;
        raw.send(&wire::hello()).await;
        let reply = raw.reply().await;
        assert!(matches!(reply, Reply::Hello(wire::MAX_FRAME_SIZE, _)), "{reply:?}");
        raw
    }

    /// Sends; false if the agent has closed already, which is for the replies to judge.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        patiently("send", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Ends its own direction.
    pub async fn finish(&mut self) {
        let _closed_already = self.stream.shutdown().await;
    }

    /// Ends with a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    pub async fn reply(&mut self) -> Reply {
        patiently("a reply", self.next()).await
    }

    /// The next reply; `None` if there is none for so long.
    pub async fn reply_within(&mut self, time: Duration) -> Option<Reply> {
        tokio::time::timeout(time, self.next()).await.ok()
    }

    /// All that comes until the end.
    pub async fn replies(&mut self) -> Vec<Reply> {
        let mut all = Vec::new();
        while all.last() != Some(&Reply::End) {
            all.push(self.reply().await);
        }
        all
    }

    async fn next(&mut self) -> Reply {
        loop {
            if let Some(total) = peek_len(&self.input, u32::MAX).unwrap().filter(|&total| self.input.len() >= total) {
                let reply = read(&self.input[PREFIX_LEN..total]);
                self.input.drain(..total);
                return reply;
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => {
                    assert!(self.input.is_empty(), "the agent ended inside of a frame: {:?}", self.input);
                    return Reply::End;
                }
                Ok(_) => {}
            }
        }
    }
}

fn read(body: &[u8]) -> Reply {
    let frame = Frame::decode(body).unwrap();
    match frame.header.frame_type {
        FrameType::AGENT_HELLO => {
            let hello = AgentHello::parse(&frame).unwrap();
            assert_eq!(hello.version, b"2.0");
            Reply::Hello(hello.max_frame_size, hello.capabilities.names().collect::<Vec<_>>().join(","))
        }
        FrameType::ACK => {
            assert!(frame.actions().all(|action| action.is_ok()));
            Reply::Ack(frame.header.stream_id.0, frame.header.frame_id.0)
        }
        FrameType::AGENT_DISCONNECT => Reply::Disconnect(Disconnect::parse(&frame).unwrap().status.unwrap().0),
        other => panic!("an agent does not send {other:?}"),
    }
}
