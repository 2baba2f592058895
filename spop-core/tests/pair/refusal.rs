//! Handshakes that fail, from both sides, with the status that tells why.

use spop_core::{
    AgentConfig, Capabilities, ClientConfig, DecodeReason, Disconnect, FrameType, HelloEncoder, ProtocolError, Status,
    Value, Want,
};

use crate::common::{AgentLog, AgentSide, ClientLog, ClientSide, decode, hello, raw_frame};

/// The keys of a HELLO in `agent`'s or HAProxy's spelling; `None` leaves one out.
fn hello_of(agent: bool, version: Option<&str>, size: Option<Value<'_>>, capabilities: Option<&str>) -> Vec<u8> {
    let mut buf = vec![0; 512];
    let mut hello =
        if agent { HelloEncoder::agent(&mut buf, 500) } else { HelloEncoder::haproxy(&mut buf, 500) }.unwrap();
    if let Some(version) = version {
        let key: &[u8] = if agent { b"version" } else { b"supported-versions" };
        hello.kv(key, version).unwrap();
    }
    if let Some(size) = size {
        hello.kv(b"max-frame-size", size).unwrap();
    }
    if let Some(capabilities) = capabilities {
        hello.kv(b"capabilities", capabilities).unwrap();
    }
    let len = hello.finish();
    buf.truncate(len);
    buf
}

/// Each refused HELLO of the given side, and the status of the refusal.
fn refused(agent: bool) -> Vec<(Vec<u8>, u32)> {
    let size = Some(Value::UInt32(16380));
    let own_type = if agent { FrameType::AGENT_HELLO } else { FrameType::HAPROXY_HELLO };
    let cut = raw_frame(own_type, 1, (0, 0), b"\x05versi");
    vec![
        (hello_of(agent, None, size, Some("")), 5),
        (hello_of(agent, Some("2.0"), None, Some("")), 6),
        (hello_of(agent, Some("2.0"), size, None), 7),
        (hello_of(agent, None, None, None), 5),
        (hello_of(agent, Some("1.0"), size, Some("")), 8),
        (hello_of(agent, Some(""), size, Some("")), 8),
        (hello_of(agent, Some("2.1000"), size, Some("")), 8),
        (hello_of(agent, Some("0.2"), size, Some("")), 8),
        (hello_of(agent, Some("4294967298.0"), size, Some("")), 8),
        (hello_of(agent, Some("2.0"), Some(Value::UInt32(255)), Some("")), 9),
        (hello_of(agent, Some("2.0"), Some(Value::Int64(-1)), Some("")), 9),
        (hello_of(agent, Some("2.0"), Some(Value::Int32(i32::MIN)), Some("")), 9),
        (hello_of(agent, Some("2.0"), Some("16380".into()), Some("")), 4),
        (cut, 4),
        (raw_frame(own_type, 0, (0, 0), b""), 10),
        (raw_frame(own_type, 1, (1, 0), b""), 4),
        (raw_frame(own_type, 1, (0, 1), b""), 4),
        (raw_frame(FrameType(77), 1, (0, 0), b""), 4),
        (raw_frame(FrameType::UNSET, 1, (1, 1), b""), 4),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 3),
        (vec![0, 0, 0, 6], 4),
    ]
}

#[test]
fn an_agent_refuses() {
    for (bytes, status) in refused(false) {
        let mut side: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
        side.feed(&bytes);
        let [AgentLog::Error(error)] = side.log[..] else { panic!("{bytes:02x?}: {:?}", side.log) };
        assert_eq!(error.status(), Status(status), "{bytes:02x?}: {error}");
        assert_eq!(side.sent.len(), 1);
        assert_eq!(Disconnect::parse(&decode(&side.sent[0])).unwrap().status, Some(Status(status)));
        assert!(side.agent.is_closed() && side.want() == Want::Close);
        assert_eq!(side.agent.negotiated(), None, "{bytes:02x?}: nothing was agreed on");

        // HAProxy's side hears it.
        let mut client: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
        client.feed(&side.sent.concat());
        let message = Status(status).reason().into();
        assert_eq!(client.log, [ClientLog::Disconnect { status: Some(Status(status)), message }]);
        assert!(client.client.is_closed());
        assert_eq!(client.client.negotiated(), None);
    }
}

#[test]
fn a_client_refuses() {
    let size = Some(Value::UInt32(16381));
    let above = [
        (hello_of(true, Some("2.0"), size, Some("")), 9),
        (hello_of(true, Some("2.0"), Some(Value::UInt64(u64::MAX)), Some("")), 9),
        (hello_of(true, Some("2.1"), Some(Value::UInt32(16380)), Some("")), 8),
    ];
    for (bytes, status) in refused(true).into_iter().chain(above) {
        let mut side: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
        side.flush();
        side.sent.clear();
        side.feed(&bytes);
        let [ClientLog::Error(error)] = side.log[..] else { panic!("{bytes:02x?}: {:?}", side.log) };
        assert_eq!(error.status(), Status(status), "{bytes:02x?}: {error}");
        assert_eq!(side.sent.len(), 1);
        assert_eq!(Disconnect::parse(&decode(&side.sent[0])).unwrap().status, Some(Status(status)));
        assert!(side.client.is_closed() && side.want() == Want::Close);
        assert_eq!(side.client.negotiated(), None, "{bytes:02x?}: nothing was agreed on");

        let mut agent: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
        agent.feed(&hello(false, 16380, Capabilities::NONE));
        agent.take_log();
        agent.feed(&side.sent.concat());
        assert!(matches!(agent.log[..], [AgentLog::Disconnect { status: Some(s), .. }] if s == Status(status)));
        assert!(agent.agent.is_closed());
    }
}

/// Before HELLO the agent takes only as much as its own setting allows, whatever it would negotiate.
#[test]
fn the_first_frame_has_its_own_limit() {
    for (limit, ok) in [(4096, true), (79, true), (75, true), (74, false)] {
        let config = AgentConfig::DEFAULT.with_hello_max_frame_size(limit);
        let mut side: AgentSide = AgentSide::new(config);
        let bytes = hello(false, 16380, Capabilities::PIPELINING);
        assert_eq!(bytes.len(), 4 + 75);
        side.feed(&bytes);
        match &side.log[..] {
            [AgentLog::Hello { .. }] => assert!(ok, "{limit}"),
            [AgentLog::Error(ProtocolError::Malformed(e))] => assert!(!ok && e.reason == DecodeReason::FrameTooBig),
            other => panic!("{limit}: {other:?}"),
        }
    }
}

/// The length alone is enough to refuse a frame: nothing is buffered for it.
#[test]
fn a_length_is_judged_before_its_frame_is_there() {
    let mut agent: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
    agent.feed(&[0xFF; 3]);
    assert!(agent.log.is_empty());
    agent.feed(&[0xFF]);
    assert!(matches!(agent.log[..], [AgentLog::Error(e)] if e.status() == Status::FRAME_TOO_BIG));
    let mut client: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
    client.feed(&16381_u32.to_be_bytes());
    assert!(matches!(client.log[..], [ClientLog::Error(e)] if e.status() == Status::FRAME_TOO_BIG));
}
