//! One connection to an agent, with waits that end.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use spop_agent::addr::Addr;
use spop_agent::foreign::Foreign;
use spop_core::{Client, ClientConfig, ClientEvent, MAX_TRANSMIT_LEN, Negotiated, Status};

use crate::failure::Failure;
use crate::input::Input;
use crate::net::Stream;
use crate::tls::Tls;

/// HAProxy's side of a connection.
pub(crate) struct Link {
    pub(crate) stream: Stream,
    pub(crate) client: Client,
    pub(crate) input: Input,
    pub(crate) timeout: Duration,
}

/// How an agent answered our DISCONNECT.
pub(crate) enum Goodbye {
    Disconnect(Option<Status>, String),
    Closed,
    Silence,
}

impl Link {
    /// Connects; nothing is sent yet.
    pub(crate) fn connect(
        addr: &Addr,
        tls: Option<&Tls>,
        config: ClientConfig,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let stream = Stream::connect(addr, tls, timeout)?;
        Ok(Link { stream, client: Client::new(config), input: Input::new(), timeout })
    }

    /// Sends our HELLO and waits for the agent's, which `see` gets as it came, prefix included.
    pub(crate) fn handshake(&mut self, mut see: impl FnMut(&[u8])) -> Result<Negotiated, Failure> {
        self.send_own()?;
        self.event("AGENT-HELLO", |event, frame| match event {
            ClientEvent::Hello(negotiated) => {
                see(frame);
                Ok(Some(negotiated))
            }
            _ => Ok(None),
        })
    }

    /// Sends the frames of the state machine itself.
    pub(crate) fn send_own(&mut self) -> Result<(), Failure> {
        let mut out = [0; MAX_TRANSMIT_LEN];
        while let Ok(Some(len)) = self.client.poll_transmit(&mut out) {
            self.write(out.get(..len).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Writes all of it.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        let until = Instant::now() + self.timeout;
        while !bytes.is_empty() || self.stream.wants_write() {
            let written = if bytes.is_empty() { self.stream.flush().map(|()| 0) } else { self.stream.write(bytes) };
            match written {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.stream.wait(true, until).map_err(lost)? {
                        let hint = ": the agent does not read".to_owned();
                        return Err(Failure::Timeout { awaited: "progress", limit: self.timeout, hint });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(error)),
            }
        }
        Ok(())
    }

    /// Waits for the event of which `pick` makes something. A DISCONNECT that it leaves alone is a failure.
    pub(crate) fn event<T>(
        &mut self,
        awaited: &'static str,
        mut pick: impl FnMut(ClientEvent<'_>, &[u8]) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let until = Instant::now() + self.timeout;
        loop {
            // An agent that never pauses is no answer. What was read in time still counts.
            let late = Instant::now() >= until;
            let unread = self.input.unread();
            if let (None, Some(foreign)) = (self.client.negotiated(), Foreign::detect(unread)) {
                return Err(Failure::Agent(met(foreign)));
            }
            let (used, event) = match self.client.handle_input(unread) {
                Ok(step) => step,
                Err(error) => {
                    // The agent is told why, if it still listens; what counts is the error.
                    let _unsent = self.send_own();
                    return Err(error.into());
                }
            };
            if let Some(event) = event {
                let frame = unread.get(..used).unwrap_or_default();
                let disconnect = match &event {
                    ClientEvent::Disconnect(disconnect) => Some(describe(disconnect)),
                    _ => None,
                };
                if let Some(picked) = pick(event, frame)? {
                    self.input.consume(used);
                    return Ok(picked);
                }
                if let Some(reason) = disconnect {
                    return Err(Failure::Agent(format!("the agent disconnected: {reason}")));
                }
            }
            self.input.consume(used);
            if late || used == 0 && !self.read(until)? {
                let ignored = self.client.stats().ignored;
                let hint = match ignored {
                    0 if self.client.negotiated().is_none() => format!(": {NO_HELLO}"),
                    0 => String::new(),
                    n => format!(" ({n} frames that answer nothing were ignored)"),
                };
                return Err(Failure::Timeout { awaited, limit: self.timeout, hint });
            }
        }
    }

    /// Reads what is there, once something is; false if the time comes first.
    fn read(&mut self, until: Instant) -> Result<bool, Failure> {
        loop {
            let want = self.client.want(self.input.unread()).bytes();
            match self.input.read(&mut self.stream, want) {
                Ok(0) if self.client.negotiated().is_none() => {
                    return Err(Failure::Agent(format!(
                        "the peer closed the connection without an AGENT-HELLO: {NO_HELLO}"
                    )));
                }
                Ok(0) => return Err(Failure::Agent("the agent closed the connection".to_owned())),
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.stream.wait(false, until).map_err(lost)? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.client.negotiated().is_none() => {
                    return Err(Failure::Agent(format!("the connection broke: {error}: {NO_HELLO}")));
                }
                Err(error) => return Err(lost(error)),
            }
        }
    }

    /// Ends the connection in good order.
    pub(crate) fn goodbye(mut self) -> Result<Goodbye, Failure> {
        self.client.close(Status::NORMAL);
        self.send_own()?;
        let answer = self.event("AGENT-DISCONNECT", |event, _| match event {
            ClientEvent::Disconnect(disconnect) => {
                let message = String::from_utf8_lossy(disconnect.message).into_owned();
                Ok(Some(Goodbye::Disconnect(disconnect.status, message)))
            }
            _ => Ok(None),
        });
        match answer {
            Ok(goodbye) => Ok(goodbye),
            Err(Failure::Timeout { .. }) => Ok(Goodbye::Silence),
            Err(Failure::Agent(_)) => Ok(Goodbye::Closed),
            Err(failure) => Err(failure),
        }
    }
}

impl std::fmt::Display for Goodbye {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Goodbye::Disconnect(Some(status), message) => write!(f, "status {status}, message {message:?}"),
            Goodbye::Disconnect(None, message) => write!(f, "no status, message {message:?}"),
            Goodbye::Closed => f.write_str("none: the agent closed the connection without a DISCONNECT"),
            Goodbye::Silence => f.write_str("none in time"),
        }
    }
}

/// The status and message of a DISCONNECT, for people.
pub(crate) fn describe(disconnect: &spop_core::Disconnect<'_>) -> String {
    let status = disconnect.status.map_or_else(|| "no status".to_owned(), |status| format!("status {status}"));
    format!("{status}, message {:?}", String::from_utf8_lossy(disconnect.message))
}

/// Servers of TLS and of HTTP that do not understand a HELLO often say nothing.
const NO_HELLO: &str = "is this the port of an agent, without TLS (else --tls) and without the PROXY protocol?";

/// What answered instead of an agent.
fn met(foreign: Foreign) -> String {
    let hint = match foreign {
        Foreign::Tls => ": ask with --tls",
        Foreign::Http1 => ": is it the port of the agent's pages (--admin), or of another server?",
        Foreign::Http2 => ": is it a port for gRPC, such as that of OTLP?",
        _ => "",
    };
    format!("{foreign} answers at this address, not SPOP{hint}")
}

fn lost(error: io::Error) -> Failure {
    Failure::Agent(format!("the connection broke: {error}"))
}
