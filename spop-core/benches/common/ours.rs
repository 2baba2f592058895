//! This crate.

use std::hint::black_box;

use spop_core::{
    AckEncoder, Agent, AgentConfig, AgentEvent, Client, ClientConfig, DecodeError, EncodeError, Frame, FrameId,
    MAX_TRANSMIT_LEN, Message, Messages, PREFIX_LEN, Reassembled, Reassembler, Scope, StreamId, Value, peek_len, valid,
};

use super::{SCORE, SCORE_NAME};

pub(crate) const MAX_FRAME_SIZE: u32 = 16380;
const STREAM: StreamId = StreamId(5);
const FRAME: FrameId = FrameId(7);

/// From the bytes of a NOTIFY to every name, key and value in it, with all checks.
pub(crate) fn decode_and_walk(bytes: &[u8]) -> Result<(), DecodeError> {
    walk(decode(bytes)?.messages())
}

/// The same by two nested `for` loops.
pub(crate) fn decode_and_walk_plainly(bytes: &[u8]) -> Result<(), DecodeError> {
    walk_plainly(decode(bytes)?.messages())
}

#[inline(always)]
fn decode(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let len = peek_len(bytes, MAX_FRAME_SIZE)?.unwrap_or_default();
    Frame::decode(bytes.get(PREFIX_LEN..len).unwrap_or_default())
}

/// Every name, key and value once, as [`theirs`](super::theirs) does it: lengths of what is a string, else the value.
#[inline(always)]
fn walk(mut messages: Messages<'_>) -> Result<(), DecodeError> {
    let mut sum = 0_u64;
    while let Some(message) = messages.next() {
        let Message { name, mut args, .. } = message?;
        sum = sum.wrapping_add(name.len() as u64);
        for kv in &mut args {
            let kv = kv?;
            sum = sum.wrapping_add(kv.key.len() as u64).wrapping_add(weigh(kv.value));
        }
        messages.resume(args);
    }
    black_box(sum);
    Ok(())
}

/// The same without [`Messages::resume`]: each message's arguments are passed over once more to find the next one.
#[inline(always)]
fn walk_plainly(messages: Messages<'_>) -> Result<(), DecodeError> {
    let mut sum = 0_u64;
    for message in messages {
        let message = message?;
        sum = sum.wrapping_add(message.name.len() as u64);
        for kv in message.args {
            let kv = kv?;
            sum = sum.wrapping_add(kv.key.len() as u64).wrapping_add(weigh(kv.value));
        }
    }
    black_box(sum);
    Ok(())
}

/// The same over messages that are known to be valid.
#[inline(always)]
fn walk_valid(messages: valid::Messages<'_>) {
    let mut sum = 0_u64;
    for message in messages {
        sum = sum.wrapping_add(message.name.len() as u64);
        for kv in message.args() {
            sum = sum.wrapping_add(kv.key.len() as u64).wrapping_add(weigh(kv.value));
        }
    }
    black_box(sum);
}

fn weigh(value: Value<'_>) -> u64 {
    match value {
        Value::Null => 0,
        Value::Bool(b) => b.into(),
        Value::Int32(n) => n as u64,
        Value::UInt32(n) => n.into(),
        Value::Int64(n) => n as u64,
        Value::UInt64(n) => n,
        Value::Ipv4(ip) => u32::from(ip).into(),
        Value::Ipv6(ip) => u128::from(ip) as u64,
        Value::String(bytes) | Value::Binary(bytes) => bytes.len() as u64,
    }
}

/// An ACK with one set-var.
pub(crate) fn encode_ack(out: &mut [u8]) -> Result<usize, EncodeError> {
    let mut ack = AckEncoder::new(out, MAX_FRAME_SIZE, STREAM, FRAME)?;
    ack.set_var(Scope::Session, SCORE_NAME.as_bytes(), Value::Int64(black_box(SCORE)))?;
    Ok(ack.finish())
}

/// An agent after the handshake, and its memory.
pub(crate) struct Connection {
    agent: Agent,
    reassembly: Vec<u8>,
    out: Vec<u8>,
}

impl Connection {
    pub(crate) fn open() -> Self {
        let mut agent: Agent = Agent::new(AgentConfig::DEFAULT);
        let mut out = vec![0; MAX_FRAME_SIZE as usize + PREFIX_LEN];
        let mut client: Client = Client::new(ClientConfig::DEFAULT);
        let len = client.poll_transmit(&mut out).expect("room").expect("HELLO");
        agent.handle_input(&out[..len], &mut []).expect("a valid HELLO");
        agent.poll_transmit(&mut out[..MAX_TRANSMIT_LEN]).expect("room").expect("AGENT-HELLO");
        Connection { agent, reassembly: vec![0; 64 * 1024], out }
    }

    /// From the bytes of a NOTIFY to those of its ACK, as a driver and its handler do it: the agent checks the payload to its
    /// end, the handler looks at all arguments, one variable is set.
    pub(crate) fn notify_to_ack(&mut self, notify: &[u8]) -> Option<usize> {
        let (_, event) = self.agent.handle_input(notify, &mut self.reassembly).ok()?;
        let Some(AgentEvent::Notify(notify)) = event else { return None };
        walk_valid(notify.messages());
        let mut ack = self.agent.ack(&mut self.out, notify.ticket).ok()?;
        ack.set_var(Scope::Session, SCORE_NAME.as_bytes(), Value::Int64(black_box(SCORE))).ok()?;
        Some(ack.finish())
    }

    /// The same for a NOTIFY in fragments.
    pub(crate) fn fragments_to_ack(&mut self, fragments: &[Vec<u8>; 3]) -> Option<usize> {
        let [first, second, last] = fragments;
        for fragment in [first, second] {
            self.agent.handle_input(fragment, &mut self.reassembly).ok()?;
        }
        self.notify_to_ack(last)
    }

    pub(crate) fn written(&self, len: usize) -> &[u8] {
        &self.out[..len]
    }
}

/// The payloads of the fragments put together, without the rest of an agent.
pub(crate) fn reassemble(fragments: &[Vec<u8>; 3], memory: &mut [u8]) -> Option<usize> {
    let mut reassembler = Reassembler::new(16);
    for (at, fragment) in fragments.iter().enumerate() {
        let payload = fragment.get(HEADER_LEN..)?;
        match at {
            0 => reassembler.start((STREAM, FRAME), payload, memory),
            _ => reassembler.push(payload, memory),
        }
    }
    match reassembler.finish() {
        Reassembled::Whole(len) => Some(len),
        Reassembled::TooBig => None,
    }
}

/// Prefix, type, flags and two ids of one byte.
const HEADER_LEN: usize = PREFIX_LEN + 7;

/// A NOTIFY cut into three frames.
pub(crate) fn fragments(notify: &[u8]) -> [Vec<u8>; 3] {
    let mut client: Client = Client::new(ClientConfig::DEFAULT);
    let mut out = [0; 512];
    let mut agent: Agent = Agent::new(AgentConfig::DEFAULT);
    let len = client.poll_transmit(&mut out).expect("room").expect("HELLO");
    agent.handle_input(&out[..len], &mut []).expect("a valid HELLO");
    let len = agent.poll_transmit(&mut out).expect("room").expect("AGENT-HELLO");
    client.handle_input(&out[..len]).expect("a valid AGENT-HELLO");
    client.start_fragmented(STREAM, FRAME).expect("the agent takes fragments");
    [(); 3].map(|()| {
        let fragment = client.notify_fragment(&mut out, &notify[HEADER_LEN..], 256).expect("room");
        out[..fragment.expect("three fragments of 256 bytes hold the payload")].to_vec()
    })
}
