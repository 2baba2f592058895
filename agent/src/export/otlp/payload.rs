//! A request as it goes over the wire, and its halves if it is too large.

use super::config::{Compression, OtlpConfig};
use super::protocol::Protocol;
use bytes::{BufMut, Bytes, BytesMut};
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use std::io::{self, Write};
use std::sync::Arc;

/// gRPC's prefix of a message: whether it is compressed, and its length.
pub(super) const GRPC_PREFIX: usize = 5;

/// From so many bytes on a request is packed, or taken apart, beside the threads that serve HAProxy.
const LARGE: usize = 64 * 1024;

/// A request, prepared once for all attempts.
#[derive(Debug)]
pub(super) struct Payload {
    /// The message in protobuf: what the halves are made of.
    message: Bytes,
    /// What is sent.
    pub(super) body: Bytes,
    /// Name of the compression of the body.
    pub(super) encoding: Option<&'static str>,
    pub(super) spans: usize,
}

impl Payload {
    /// Of a request in protobuf with so many spans.
    pub(super) async fn prepare(message: Bytes, spans: usize, config: &Arc<OtlpConfig>) -> io::Result<Self> {
        let as_it_is = config.compression.is_none() && config.protocol != Protocol::HttpJson;
        if as_it_is || message.len() < LARGE {
            return Self::new(message, spans, config);
        }
        let config = config.clone();
        beside(move || Self::new(message, spans, &config)).await
    }

    fn new(message: Bytes, spans: usize, config: &OtlpConfig) -> io::Result<Self> {
        let plain = match config.protocol {
            Protocol::HttpProtobuf | Protocol::Grpc => message.clone(),
            Protocol::HttpJson => serde_json::to_vec(&ExportTraceServiceRequest::decode(message.clone())?)?.into(),
        };
        let (encoding, mut body) = match config.compression {
            None => (None, plain),
            Some(Compression::Gzip) => (Some("gzip"), gzip(&plain)?),
            Some(Compression::Zstd) => {
                (Some("zstd"), zstd::encode_all(&plain[..], zstd::DEFAULT_COMPRESSION_LEVEL)?.into())
            }
        };
        if config.protocol == Protocol::Grpc {
            body = grpc_frame(&body, encoding.is_some())?;
        }
        Ok(Self { message, body, encoding, spans })
    }

    /// Two requests with half of the spans each.
    pub(super) async fn halve(&self, config: &Arc<OtlpConfig>) -> io::Result<[Self; 2]> {
        let (message, spans, config) = (self.message.clone(), self.spans, config.clone());
        let halve = move || {
            let half = spans / 2;
            let (first, second) = split(ExportTraceServiceRequest::decode(message)?, half);
            Ok([
                Self::new(first.encode_to_vec().into(), half, &config)?,
                Self::new(second.encode_to_vec().into(), spans - half, &config)?,
            ])
        };
        if self.message.len() < LARGE {
            return halve();
        }
        beside(halve).await
    }
}

/// Works on a thread that serves nobody. How much there is at once is bounded by the requests under way.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn gzip(plain: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}

fn grpc_frame(message: &[u8], compressed: bool) -> io::Result<Bytes> {
    let length = u32::try_from(message.len()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut frame = BytesMut::with_capacity(GRPC_PREFIX + message.len());
    frame.put_u8(compressed.into());
    frame.put_u32(length);
    frame.put_slice(message);
    Ok(frame.freeze())
}

/// The first so many spans, and the rest, each with its resource and scope.
fn split(
    request: ExportTraceServiceRequest,
    mut first: usize,
) -> (ExportTraceServiceRequest, ExportTraceServiceRequest) {
    let (mut head, mut tail) = (ExportTraceServiceRequest::default(), ExportTraceServiceRequest::default());
    for mut resource in request.resource_spans {
        let scopes = std::mem::take(&mut resource.scope_spans);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for mut scope in scopes {
            let rest = scope.spans.split_off(first.min(scope.spans.len()));
            first -= scope.spans.len();
            if !rest.is_empty() {
                after.push(ScopeSpans { spans: rest, ..scope_frame(&scope) });
            }
            if !scope.spans.is_empty() {
                before.push(scope);
            }
        }
        if !after.is_empty() {
            tail.resource_spans.push(ResourceSpans { scope_spans: after, ..resource.clone() });
        }
        if !before.is_empty() {
            head.resource_spans.push(ResourceSpans { scope_spans: before, ..resource });
        }
    }
    (head, tail)
}

fn scope_frame(scope: &ScopeSpans) -> ScopeSpans {
    ScopeSpans { scope: scope.scope.clone(), spans: Vec::new(), schema_url: scope.schema_url.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    use opentelemetry_proto::tonic::trace::v1::Span;

    fn scope(name: &str, spans: std::ops::Range<u8>) -> ScopeSpans {
        let scope = InstrumentationScope { name: name.to_owned(), ..Default::default() };
        let span = |id| Span { span_id: vec![id], ..Default::default() };
        ScopeSpans { scope: Some(scope), spans: spans.map(span).collect(), schema_url: name.to_owned() }
    }

    fn resource(url: &str, scope_spans: Vec<ScopeSpans>) -> ResourceSpans {
        ResourceSpans { schema_url: url.to_owned(), scope_spans, ..Default::default() }
    }

    /// Work that is done on the spot is done at the first poll.
    #[tokio::test]
    async fn large_requests_are_packed_beside_those_who_serve() {
        for (protocol, compression, len, beside) in [
            (Protocol::HttpProtobuf, Some(Compression::Gzip), 8 << 20, true),
            (Protocol::Grpc, Some(Compression::Zstd), 64 << 20, true),
            (Protocol::HttpProtobuf, Some(Compression::Gzip), 1 << 10, false),
            (Protocol::Grpc, None, 8 << 20, false),
        ] {
            let mut config = OtlpConfig::new("http://c:1", protocol).unwrap();
            config.compression = compression;
            let config = Arc::new(config);
            let message = Bytes::from(vec![7; len]);
            let mut prepare = std::pin::pin!(Payload::prepare(message, 1, &config));
            let at_once = prepare.as_mut().now_or_never();
            assert_eq!(at_once.is_none(), beside, "{protocol:?} {compression:?} {len}");
            let payload = match at_once {
                Some(payload) => payload,
                None => prepare.await,
            };
            assert_eq!(payload.unwrap().encoding.is_some(), compression.is_some());
        }
    }

    #[tokio::test]
    async fn halves_keep_the_resource_and_scope_of_each_span() {
        let request = |resource_spans| ExportTraceServiceRequest { resource_spans };
        let whole = request(vec![
            resource("r", vec![scope("a", 0..2), scope("b", 2..5)]),
            resource("s", vec![scope("c", 5..6)]),
        ]);
        let expected = [
            request(vec![resource("r", vec![scope("a", 0..2), scope("b", 2..3)])]),
            request(vec![resource("r", vec![scope("b", 3..5)]), resource("s", vec![scope("c", 5..6)])]),
        ];
        for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
            let config = Arc::new(OtlpConfig::new("http://c:1", protocol).unwrap());
            let payload = Payload::prepare(whole.encode_to_vec().into(), 6, &config).await.unwrap();
            let halves = payload.halve(&config).await.unwrap();
            for (half, expected) in halves.iter().zip(&expected) {
                assert_eq!(half.spans, 3);
                let prefix = if protocol == Protocol::Grpc { GRPC_PREFIX } else { 0 };
                assert_eq!(&ExportTraceServiceRequest::decode(&half.body[prefix..]).unwrap(), expected);
            }
        }
        let (first, rest) = split(whole.clone(), 1);
        assert_eq!(first, request(vec![resource("r", vec![scope("a", 0..1)])]));
        assert_eq!(rest.resource_spans.len(), 2);
    }
}
