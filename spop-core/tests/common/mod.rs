//! Both sides of a connection in memory, and bytes as hex.

pub mod agent_side;
pub mod client_side;
pub mod laws;
pub mod owned;
pub mod pair;
pub mod walk;

pub use agent_side::{AgentLog, AgentSide};
pub use client_side::{ClientLog, ClientSide};
pub use pair::Pair;

use spop_core::{
    Capabilities, Flags, Frame, FrameEncoder, FrameId, FrameType, Header, HelloEncoder, PREFIX_LEN, StreamId, Version,
};

/// Stream-id and frame-id.
pub type Ids = (u64, u64);

pub fn plain(ids: (StreamId, FrameId)) -> Ids {
    (ids.0.0, ids.1.0)
}

/// What an error says is a line of a log, and its source says no more than it.
pub fn check_text(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
    if let Some(source) = error.source() {
        assert_eq!(source.to_string(), text);
    }
}

/// The frame in `bytes`, which hold exactly one, prefix included.
pub fn decode(bytes: &[u8]) -> Frame<'_> {
    let prefix = u32::from_be_bytes(bytes[..PREFIX_LEN].try_into().unwrap());
    assert_eq!(prefix as usize, bytes.len() - PREFIX_LEN, "length prefix");
    Frame::decode(&bytes[PREFIX_LEN..]).unwrap()
}

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len() % 2 == 0, "odd hex: {text}");
    let digit = |c: u8| char::from(c).to_digit(16).unwrap_or_else(|| panic!("not hex: {text}")) as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A frame of any kind with any payload.
pub fn raw_frame(frame_type: FrameType, flags: u32, ids: Ids, payload: &[u8]) -> Vec<u8> {
    let header = Header { frame_type, flags: Flags(flags), stream_id: StreamId(ids.0), frame_id: FrameId(ids.1) };
    let mut buf = vec![0; 4 + header.encoded_len() + payload.len()];
    let mut frame = FrameEncoder::new(&mut buf, u32::MAX, header).unwrap();
    frame.payload().bytes(payload).unwrap();
    assert_eq!(frame.finish(), buf.len());
    buf
}

/// A HELLO of the agent or of HAProxy.
pub fn hello(agent: bool, max_frame_size: u32, capabilities: Capabilities) -> Vec<u8> {
    let mut buf = vec![0; 256];
    let mut hello = if agent {
        let mut hello = HelloEncoder::agent(&mut buf, 16380).unwrap();
        hello.version(Version::V2_0).unwrap();
        hello
    } else {
        let mut hello = HelloEncoder::haproxy(&mut buf, 16380).unwrap();
        hello.supported_versions(Version::V2_0).unwrap();
        hello
    };
    hello.max_frame_size(max_frame_size).unwrap();
    hello.capabilities(capabilities).unwrap();
    let len = hello.finish();
    buf.truncate(len);
    buf
}
