//! A [`Client`] with its buffers: HAProxy's part.

use spop_core::{
    Client, ClientConfig, ClientEvent, DecodeError, FrameId, Header, MAX_TRANSMIT_LEN, Negotiated, NotifyEncoder,
    NotifyError, ProtocolError, Status, StreamId, Want,
};

use super::{Ids, check_text, plain, walk};

/// What the client reported, owned.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientLog {
    Hello(Negotiated),
    Ack {
        ids: Ids,
        aborted: bool,
        /// The actions before the first error, written again.
        actions: Vec<u8>,
        error: Option<DecodeError>,
    },
    Disconnect {
        status: Option<Status>,
        message: Vec<u8>,
    },
    Error(ProtocolError),
}

pub struct ClientSide<const OPEN: usize = 128> {
    pub client: Client<OPEN>,
    /// Received and not yet used.
    pub input: Vec<u8>,
    /// Frames on their way to the agent.
    pub sent: Vec<Vec<u8>>,
    pub log: Vec<ClientLog>,
}

impl<const OPEN: usize> ClientSide<OPEN> {
    pub fn new(config: ClientConfig) -> Self {
        ClientSide { client: Client::new(config), input: Vec::new(), sent: Vec::new(), log: Vec::new() }
    }

    /// Takes bytes as they came and goes on until nothing moves.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.run();
    }

    pub fn run(&mut self) {
        let bound = 2 * self.input.len() + 4;
        for _ in 0..=bound {
            let used = self.step();
            if !self.flush() && used == 0 {
                return;
            }
        }
        panic!("no end after {bound} steps");
    }

    fn step(&mut self) -> usize {
        let (used, event) = match self.client.handle_input(&self.input) {
            Ok(done) => done,
            Err(error) => {
                check_text(&error);
                self.log.push(ClientLog::Error(error));
                return 0;
            }
        };
        assert!(used <= self.input.len());
        if let Some(event) = &event {
            let header = Header::peek(&self.input).expect("a whole frame");
            assert_eq!(event.frame_type(), header.frame_type);
        }
        if let Some(event) = event.filter(|event| !matches!(event, ClientEvent::Ignored(_))) {
            let entry = match event {
                ClientEvent::Hello(negotiated) => {
                    assert_eq!(self.client.negotiated(), Some(negotiated));
                    ClientLog::Hello(negotiated)
                }
                ClientEvent::Ack { stream_id, frame_id, aborted, actions } => {
                    let (actions, error) = match walk::actions(actions) {
                        Ok(all) => (all, None),
                        Err((before, error)) => (before, Some(error)),
                    };
                    ClientLog::Ack { ids: plain((stream_id, frame_id)), aborted, actions, error }
                }
                ClientEvent::Disconnect(d) => ClientLog::Disconnect { status: d.status, message: d.message.to_vec() },
                other => panic!("an event that the tests do not know: {other:?}"),
            };
            self.log.push(entry);
        }
        self.input.drain(..used);
        used
    }

    /// Sends the client's own frames; were there any?
    pub fn flush(&mut self) -> bool {
        let mut out = [0; MAX_TRANSMIT_LEN];
        let mut any = false;
        while let Some(len) = self.client.poll_transmit(&mut out).unwrap() {
            self.sent.push(out[..len].to_vec());
            any = true;
        }
        any
    }

    /// Sends a NOTIFY with one message `m` without arguments.
    pub fn notify(&mut self, ids: Ids) -> Result<(), NotifyError> {
        self.notify_with(ids, |notify| notify.message(b"m").unwrap())
    }

    pub fn notify_with(&mut self, ids: Ids, fill: impl FnOnce(&mut NotifyEncoder<'_>)) -> Result<(), NotifyError> {
        let mut out = vec![0; 64 * 1024];
        let begun = self.client.notify(&mut out, StreamId(ids.0), FrameId(ids.1));
        let mut notify = begun.inspect_err(|error| check_text(error))?;
        fill(&mut notify);
        let len = notify.finish();
        self.sent.push(out[..len].to_vec());
        Ok(())
    }

    pub fn close(&mut self, status: Status) {
        self.client.close(status);
        self.run();
    }

    pub fn want(&self) -> Want {
        self.client.want(&self.input)
    }

    pub fn take_log(&mut self) -> Vec<ClientLog> {
        std::mem::take(&mut self.log)
    }
}
