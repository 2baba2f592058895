//! How OTLP travels.

use std::fmt;
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

impl Protocol {
    /// As OpenTelemetry's variables name it.
    fn name(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
            Self::Grpc => "grpc",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = [Self::HttpProtobuf, Self::HttpJson, Self::Grpc].into_iter();
        let unknown = || format!("unknown OTLP protocol {text:?}: expected http/protobuf, http/json or grpc");
        all.find(|protocol| protocol.name().eq_ignore_ascii_case(text)).ok_or_else(unknown)
    }
}
