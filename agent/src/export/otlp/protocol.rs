//! How OTLP travels.

use std::str::FromStr;

/// OTLP's transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Protobuf over HTTP POST.
    #[default]
    HttpProtobuf,
    /// JSON over HTTP POST.
    HttpJson,
    /// gRPC.
    Grpc,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "http/protobuf" => Ok(Self::HttpProtobuf),
            "http/json" => Ok(Self::HttpJson),
            "grpc" => Ok(Self::Grpc),
            _ => Err(format!("unknown OTLP protocol {text:?}: expected http/protobuf, http/json or grpc")),
        }
    }
}
