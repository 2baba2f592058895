//! The barest agent: spop-core over blocking sockets, a thread for each connection, no runtime. It answers every NOTIFY
//! by `sess.<prefix>.ip_score = 42`, and shows what the protocol alone costs. SIGTERM, SIGINT and SIGUSR1 end it: it answers what came and sends DISCONNECT.
//!
//! ```text
//! cargo run --release -p spop-agent --example echo 127.0.0.1:12345
//! ```

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use spop_core::{Agent, AgentConfig, AgentEvent, Capabilities, MAX_TRANSMIT_LEN, Scope, Status, Value};

/// Enough for all ACKs of a read.
const OUTPUT: usize = 256 * 1024;
const READ: usize = 64 * 1024;
/// How long HAProxy may leave ACKs unread, and hold up the end.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

fn serve(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut agent: Agent = Agent::new(AgentConfig::DEFAULT.with_capabilities(Capabilities::PIPELINING));
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
                if let Ok(mut ack) = agent.ack(&mut out[filled..], notify.ticket) {
                    // An ACK that is full goes out with what is in it.
                    let _full = ack.set_var(Scope::Session, b"ip_score", Value::Int64(42));
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
            // HAProxy's end, which does not listen any more, or ours.
            0 => {
                agent.close(Status::NORMAL);
                let len = agent.poll_transmit(&mut out).ok().flatten().unwrap_or(0);
                return stream.write_all(&out[..len]);
            }
            n => end += n,
        }
    }
}

/// A connection, and the thread that serves it.
type Open = Arc<Mutex<Vec<(TcpStream, JoinHandle<()>)>>>;

fn main() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGHUP])?;
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:12345".to_owned());
    let listener = TcpListener::bind(&addr)?;
    eprintln!("listening on {}", listener.local_addr()?);
    let open = Open::default();
    let accepted = open.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(same) = stream.try_clone() else { continue };
            let thread = std::thread::spawn(move || {
                // HAProxy ends connections by a reset whenever it likes.
                let _ended = serve(&stream).and_then(|()| stream.shutdown(Shutdown::Both));
            });
            let mut open = accepted.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|(_, thread)| !thread.is_finished());
            open.push((same, thread));
        }
    });
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        eprintln!("SIGHUP is ignored");
    }
    let open = std::mem::take(&mut *open.lock().unwrap_or_else(PoisonError::into_inner));
    // Each thread reads to the end of what came, says goodbye and ends.
    for (stream, _) in &open {
        let _ended = stream.shutdown(Shutdown::Read);
    }
    for (_, thread) in open {
        let _ended = thread.join();
    }
    Ok(())
}
