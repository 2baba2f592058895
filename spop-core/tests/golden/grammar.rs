//! The texts inside HELLO: versions and capabilities.

use serde::Deserialize;
use spop_core::{AgentConfig, Capabilities, ClientConfig, HelloEncoder, ProtocolError, Value, Version, supports_2_0};

use super::{MAX_FRAME_SIZE, load};
use crate::common::{AgentLog, AgentSide, ClientLog, ClientSide};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    supported_versions: Vec<SupportedVersions>,
    agent_version: Vec<AgentVersion>,
    capabilities: Vec<CapabilityList>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SupportedVersions {
    text: String,
    agent_replies: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentVersion {
    text: String,
    #[serde(rename = "haproxy_2.6")]
    haproxy_2_6: String,
    #[serde(rename = "haproxy_3.1+")]
    haproxy_3_1: String,
    measured: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapabilityList {
    text: String,
    set: Vec<String>,
}

/// A HELLO with any texts.
fn hello(agent: bool, version: &str, capabilities: &str) -> Vec<u8> {
    let mut buf = vec![0; 512];
    let (mut hello, key) = if agent {
        (HelloEncoder::agent(&mut buf, MAX_FRAME_SIZE).unwrap(), "version")
    } else {
        (HelloEncoder::haproxy(&mut buf, MAX_FRAME_SIZE).unwrap(), "supported-versions")
    };
    hello.kv(key.as_bytes(), Value::from(version)).unwrap();
    hello.max_frame_size(MAX_FRAME_SIZE).unwrap();
    hello.kv(b"capabilities", Value::from(capabilities)).unwrap();
    let len = hello.finish();
    buf.truncate(len);
    buf
}

#[test]
fn versions_and_capabilities() {
    let file: File = load("grammar.json");
    for v in &file.supported_versions {
        assert_eq!(supports_2_0(v.text.as_bytes()), v.agent_replies.is_some(), "{:?}", v.text);
        let mut side: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
        side.feed(&hello(false, &v.text, ""));
        match v.agent_replies.as_deref() {
            Some("2.0") => assert!(matches!(side.log[..], [AgentLog::Hello { .. }]), "{:?}", v.text),
            None => assert_eq!(side.log, [AgentLog::Error(ProtocolError::UnsupportedVersion)], "{:?}", v.text),
            other => panic!("{:?}: {other:?}", v.text),
        }
    }
    for v in &file.agent_version {
        assert!(v.measured, "{:?}", v.text);
        let accepted = v.haproxy_2_6 == "ok";
        assert_eq!(accepted, v.haproxy_3_1 == "ok", "{:?}", v.text);
        assert_eq!(Version::parse(v.text.as_bytes()) == Some(Version::V2_0), accepted, "{:?}", v.text);
        let mut side: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
        side.feed(&hello(true, &v.text, ""));
        match &side.log[..] {
            [ClientLog::Hello(_)] => assert!(accepted, "{:?}", v.text),
            // The client reports as HAProxy 2.6; 3.1 has another code for what it cannot parse.
            [ClientLog::Error(error)] => assert_eq!(error.status().0.to_string(), v.haproxy_2_6, "{:?}", v.text),
            other => panic!("{:?}: {other:?}", v.text),
        }
    }
    for v in &file.capabilities {
        let set = Capabilities::parse(v.text.as_bytes());
        let mut names: Vec<&str> = set.names().collect();
        names.sort_unstable();
        assert_eq!(names, v.set, "{:?}", v.text);
        let mut side: AgentSide =
            AgentSide::new(AgentConfig::DEFAULT.with_capabilities(Capabilities::PIPELINING | Capabilities::ASYNC));
        side.feed(&hello(false, "2.0", &v.text));
        let Some(AgentLog::Hello { negotiated, .. }) = side.log.first() else { panic!("{:?}", side.log) };
        assert_eq!(negotiated.capabilities, set.without(Capabilities::FRAGMENTATION), "{:?}", v.text);
    }
    let counts = [file.supported_versions.len(), file.agent_version.len(), file.capabilities.len()];
    assert_eq!(counts, [19, 5, 11], "the number of vectors");
    println!("vectors: grammar {} version lists, {} versions, {} capability lists", counts[0], counts[1], counts[2]);
}
