//! The barest agent: spop-core over blocking sockets, a thread for each connection, no runtime. It answers every NOTIFY
//! by `sess.<prefix>.ip_score = 42`, and shows what the protocol alone costs.
//!
//! ```text
//! cargo run --release -p spop-agent --example echo 127.0.0.1:12345
//! ```

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use spop_core::{Agent, AgentConfig, AgentEvent, Capabilities, Scope, Value, MAX_TRANSMIT_LEN};

/// Enough for all ACKs of a read.
const OUTPUT: usize = 256 * 1024;
const READ: usize = 64 * 1024;

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut agent: Agent = Agent::new(AgentConfig { capabilities: Capabilities::PIPELINING, ..AgentConfig::DEFAULT });
    let mut out = vec![0; OUTPUT];
    let mut input = vec![0; READ];
    let (mut start, mut end) = (0, 0);
    loop {
        let mut filled = 0;
        loop {
            // A protocol error queues the DISCONNECT that tells HAProxy.
            let (used, event) = agent.handle_input(&input[start..end], &mut []).unwrap_or((0, None));
            start += used;
            let before = filled;
            if let Some(AgentEvent::Notify(notify)) = event {
                if let Err(broken) = notify.messages().validate() {
                    agent.close(broken.status());
                } else if let Ok(mut ack) = agent.ack(&mut out[filled..], notify.ticket) {
                    // An ACK that is full goes out with what is in it.
                    let _full = ack.set_var(Scope::Session, b"ip_score", &Value::Int64(42));
                    filled += ack.finish();
                }
            }
            while let Ok(Some(len)) = agent.poll_transmit(&mut out[filled..]) {
                filled += len;
            }
            if filled + MAX_TRANSMIT_LEN > OUTPUT {
                stream.write_all(&out[..filled])?;
                filled = 0;
            }
            if used == 0 && filled == before {
                break;
            }
        }
        stream.write_all(&out[..filled])?;
        input.copy_within(start..end, 0);
        (start, end) = (0, end - start);
        match agent.want(&input[..end]).bytes() {
            0 => return Ok(()),
            want if input.len() < end + want => input.resize(end + want, 0),
            _ => {}
        }
        match stream.read(&mut input[end..])? {
            0 => return Ok(()),
            n => end += n,
        }
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:12345".to_owned());
    let listener = TcpListener::bind(&addr)?;
    eprintln!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            // HAProxy ends connections by a reset whenever it likes.
            let _ended = serve(stream);
        });
    }
    Ok(())
}
