//! What is sent, and what an ACK to it has to say.

use clap::ValueEnum;
use spop_core::{Scope, Value};

use crate::expect::Expected;
use crate::message::{OwnedMessage, OwnedValue};

/// A message that measurements agree on.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(super) enum Preset {
    /// One message with an IPv4 address, 36 bytes; expects sess.ip_score=int64
    Ip,
    /// A request as a tracing agent gets it, 14 arguments, 663 bytes; expects sess.ip_score=int64
    Trace,
}

impl Preset {
    pub(super) fn message(self) -> Result<OwnedMessage, String> {
        match self {
            Preset::Ip => Ok(OwnedMessage::new("check-client-ip", vec![("ip", plain(Value::from(CLIENT)))])),
            Preset::Trace => trace(),
        }
    }

    /// The answer of a reputation agent.
    pub(super) fn expected() -> Expected {
        Expected::of_type(Scope::Session, "ip_score", "int64")
    }
}

const CLIENT: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 0, 2, 17);

fn plain(value: Value<'static>) -> OwnedValue {
    OwnedValue::Plain(value)
}

fn text(value: &str) -> OwnedValue {
    OwnedValue::String(value.as_bytes().to_vec())
}

/// The headers of the request as `req.hdrs` gives them.
const HEADERS: &str = "host: shop.example.org\r\n\
    user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    accept: application/json, text/plain, */*\r\n\
    accept-language: fr,en;q=0.7\r\n\
    accept-encoding: gzip, deflate, br\r\n\
    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
    cookie: sid=8f14e45fceea167a5a36dedd4bea2543\r\n\r\n";

fn trace() -> Result<OwnedMessage, String> {
    let args = vec![
        ("ip", plain(Value::from(CLIENT))),
        ("id", text("7F000001:C5A2_7F000001:1B59_67401CF2_0001:1D4C")),
        ("method", text("GET")),
        ("path", text("/api/v2/catalogue/items/4711/reviews")),
        ("query", text("page=3&per_page=50&sort=-created_at&lang=fr")),
        ("version", text("1.1")),
        ("hdrs", OwnedValue::Binary(HEADERS.as_bytes().to_vec())),
        ("src_port", plain(Value::Int32(50594))),
        ("bytes_in", plain(Value::UInt64(734_003))),
        ("start_us", plain(Value::Int64(1_732_000_000_123_456))),
        ("ssl", plain(Value::Bool(true))),
        ("dst", OwnedValue::parse(b"ipv6:2001:db8::42")?),
        ("referer", plain(Value::Null)),
        ("fe_name", text("fe_public_https")),
    ];
    Ok(OwnedMessage::new("on-frontend-http-request", args))
}
