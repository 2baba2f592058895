//! Agents that `devenv/bench` compares others with: `agents bare|spop --listen ADDRESS`. Both answer as the example `ip_reputation`
//! does for 192.0.2.17.
//!
//! - `bare`: what the sockets alone cost. A thread for each connection reads, and answers the ids of a NOTIFY without looking at more.
//! - `spop`: the published crate `spop` on tokio, as its own example is written.

use std::net::SocketAddr;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (kind, address) = match words.as_slice() {
        [kind, "--listen", address] => (*kind, address.parse::<SocketAddr>()),
        _ => return usage(),
    };
    let ran = match (kind, address) {
        ("bare", Ok(address)) => bare::run(address).map_err(Into::into),
        ("spop", Ok(address)) => peer::run(address),
        _ => return usage(),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agents {kind}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: agents bare|spop --listen ADDRESS:PORT");
    ExitCode::from(2)
}

mod bare {
    use std::io::{self, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;

    use spop_core::{Agent, AgentConfig, MAX_TRANSMIT_LEN, PREFIX_LEN};

    const NOTIFY: u8 = 3;
    /// Type and flags: an ACK that is whole.
    const ACK: [u8; 5] = [103, 0, 0, 0, 1];
    /// Set-var with three arguments, of the session: `ip_score` is the 64-bit number 42.
    const SET_SCORE: &[u8] = b"\x01\x03\x01\x08ip_score\x04\x2a";

    pub(super) fn run(address: SocketAddr) -> io::Result<()> {
        for stream in TcpListener::bind(address)?.incoming() {
            let stream = stream?;
            stream.set_nodelay(true)?;
            thread::spawn(|| serve(stream));
        }
        Ok(())
    }

    fn serve(mut stream: TcpStream) -> Option<()> {
        // For what is no NOTIFY.
        let mut agent: Agent = Agent::new(AgentConfig::DEFAULT);
        let (mut input, mut filled, mut output) = (vec![0; 64 * 1024], 0, Vec::new());
        loop {
            let read = stream.read(input.get_mut(filled..)?).ok().filter(|read| *read > 0)?;
            filled += read;
            let mut at = 0;
            while let Some(frame) = frame(input.get(at..filled)?) {
                match frame.get(PREFIX_LEN..)? {
                    [NOTIFY, rest @ ..] => acknowledge(ids(rest)?, &mut output),
                    _ => {
                        agent.handle_input(frame, &mut []).ok()?;
                        let mut answer = [0; MAX_TRANSMIT_LEN];
                        let len = agent.poll_transmit(&mut answer).ok()?.unwrap_or(0);
                        output.extend_from_slice(answer.get(..len)?);
                    }
                }
                at += frame.len();
            }
            input.copy_within(at..filled, 0);
            filled -= at;
            stream.write_all(&output).ok()?;
            output.clear();
        }
    }

    /// The first frame, prefix included, if it is there.
    fn frame(input: &[u8]) -> Option<&[u8]> {
        let len = u32::from_be_bytes(*input.first_chunk()?) as usize;
        input.get(..PREFIX_LEN + len)
    }

    /// The bytes of stream and frame id behind the flags, both varints.
    fn ids(rest: &[u8]) -> Option<&[u8]> {
        let rest = rest.get(4..)?;
        let first = varint_len(rest)?;
        rest.get(..first + varint_len(rest.get(first..)?)?)
    }

    /// A first byte below 240 is all; else as many follow as have their highest bit, and one.
    fn varint_len(bytes: &[u8]) -> Option<usize> {
        match bytes.split_first()? {
            (..240, _) => Some(1),
            (_, more) => Some(2 + more.iter().position(|byte| *byte < 128)?),
        }
    }

    fn acknowledge(ids: &[u8], output: &mut Vec<u8>) {
        let len = (ACK.len() + ids.len() + SET_SCORE.len()) as u32;
        output.extend_from_slice(&len.to_be_bytes());
        output.extend_from_slice(&ACK);
        output.extend_from_slice(ids);
        output.extend_from_slice(SET_SCORE);
    }
}

mod peer {
    use std::error::Error;
    use std::net::SocketAddr;

    use futures_util::{SinkExt, StreamExt};
    use spop::actions::VarScope;
    use spop::frames::{Ack, AgentDisconnect, AgentHello, FrameCapabilities, HaproxyHello};
    use spop::{FramePayload, FrameType, MAX_FRAME_SIZE_LIMIT, SpopCodec, StatusCode};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::codec::Framed;

    type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

    #[tokio::main(flavor = "current_thread")] // as ours is
    pub(super) async fn run(address: SocketAddr) -> Result {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    }

    async fn serve(stream: TcpStream) -> Result {
        let mut socket = Framed::new(stream, SpopCodec::default());
        while let Some(frame) = socket.next().await {
            let frame = frame?;
            match frame.frame_type() {
                FrameType::HaproxyHello => {
                    let hello = HaproxyHello::try_from(frame.payload()).map_err(|error| format!("{error:?}"))?;
                    let version = hello.negotiate_version().ok_or("no version in common")?;
                    let size = hello.negotiate_max_frame_size(MAX_FRAME_SIZE_LIMIT);
                    let max_frame_size = size.map_err(|status| status.message())?;
                    socket.codec_mut().set_max_frame_size(max_frame_size);
                    let capabilities = vec![FrameCapabilities::Pipelining];
                    socket.send(Box::new(AgentHello { version, max_frame_size, capabilities })).await?;
                }
                FrameType::Notify => {
                    let mut ack = Ack::new(frame.metadata().stream_id, frame.metadata().frame_id);
                    if let FramePayload::ListOfMessages(messages) = frame.payload() {
                        if messages.iter().any(|message| message.get("ip").is_some()) {
                            ack = ack.set_var(VarScope::Session, "ip_score", 42_i64);
                        }
                    }
                    socket.send(Box::new(ack)).await?;
                }
                _ => {
                    let status = StatusCode::None;
                    let frame = AgentDisconnect { status_code: status.to_u32(), message: status.message().to_owned() };
                    return Ok(socket.send(Box::new(frame)).await?);
                }
            }
        }
        Ok(())
    }
}
