//! A request as it goes over the wire, and its halves if it is too large.

use super::config::{Compression, OtlpConfig};
use super::protocol::Protocol;
use crate::export::request;
use crate::span::FinishedSpan;
use bytes::{BufMut, Bytes, BytesMut};
use flate2::write::GzEncoder;
use std::io::{self, Write};
use std::sync::Arc;

/// gRPC's prefix of a message: whether it is compressed, and its length.
pub(super) const GRPC_PREFIX: usize = 5;

/// From so many bytes on a request is packed, or taken apart, beside the threads that serve HAProxy.
const LARGE: usize = 64 * 1024;

/// A request, prepared once for all attempts.
#[derive(Debug)]
pub(super) struct Payload {
    /// The message in protobuf: what the halves are made of, and requests to other collectors.
    message: Bytes,
    /// What it is made for.
    config: Arc<OtlpConfig>,
    /// What is sent.
    pub(super) body: Bytes,
    /// Name of the compression of the body.
    pub(super) encoding: Option<&'static str>,
    pub(super) spans: usize,
}

/// A request in protobuf.
#[derive(Debug, Clone)]
struct Message {
    bytes: Bytes,
    /// The same as a frame of gRPC, if it was made with room for that.
    frame: Option<Bytes>,
    spans: usize,
}

impl Message {
    fn of_spans(spans: &[FinishedSpan]) -> io::Result<Self> {
        let mut frame = request::encode(spans, GRPC_PREFIX);
        let len = frame_len(frame.len() - GRPC_PREFIX)?;
        if let Some(mut prefix) = frame.get_mut(..GRPC_PREFIX) {
            prefix.put_u8(0);
            prefix.put_u32(len);
        }
        let frame = Bytes::from(frame);
        Ok(Self { bytes: frame.slice(GRPC_PREFIX..), frame: Some(frame), spans: spans.len() })
    }
}

impl Payload {
    /// Of these spans.
    pub(super) async fn of_spans(spans: &[FinishedSpan], config: &Arc<OtlpConfig>) -> io::Result<Self> {
        Self::of_message(Message::of_spans(spans)?, config).await
    }

    /// Of a request in protobuf with so many spans.
    pub(super) async fn prepare(bytes: Bytes, spans: usize, config: &Arc<OtlpConfig>) -> io::Result<Self> {
        Self::of_message(Message { bytes, frame: None, spans }, config).await
    }

    async fn of_message(message: Message, config: &Arc<OtlpConfig>) -> io::Result<Self> {
        let as_it_is = config.compression.is_none() && config.protocol != Protocol::HttpJson;
        let config = config.clone();
        if as_it_is || message.bytes.len() < LARGE {
            return Self::new(message, config);
        }
        beside(move || Self::new(message, config)).await
    }

    /// The same request for this collector, if it is made for another one.
    pub(super) async fn made_for(self, config: &Arc<OtlpConfig>) -> io::Result<Self> {
        if Arc::ptr_eq(&self.config, config) {
            return Ok(self);
        }
        Self::prepare(self.message, self.spans, config).await
    }

    fn new(message: Message, config: Arc<OtlpConfig>) -> io::Result<Self> {
        let Message { bytes, frame, spans } = message;
        let plain = match config.protocol {
            Protocol::HttpProtobuf | Protocol::Grpc => bytes.clone(),
            Protocol::HttpJson => config.signal.to_json(&bytes)?.into(),
        };
        let (encoding, mut body) = match config.compression {
            None => (None, plain),
            Some(Compression::Gzip) => (Some("gzip"), gzip(&plain)?),
            #[cfg(feature = "zstd")]
            Some(Compression::Zstd) => {
                (Some("zstd"), zstd::encode_all(&plain[..], zstd::DEFAULT_COMPRESSION_LEVEL)?.into())
            }
        };
        if config.protocol == Protocol::Grpc {
            body = match frame {
                Some(frame) if encoding.is_none() => frame,
                _ => grpc_frame(&body, encoding.is_some())?,
            };
        }
        Ok(Self { message: bytes, config, body, encoding, spans })
    }

    /// Two requests with half of the spans each.
    pub(super) async fn halve(self) -> io::Result<[Self; 2]> {
        let Self { message, config, .. } = self;
        let is_large = message.len() >= LARGE;
        let halve = move || {
            let spans = request::decode(&message)?;
            let (first, second) = spans.split_at(spans.len() / 2);
            let half = |spans: &[FinishedSpan]| Self::new(Message::of_spans(spans)?, config.clone());
            Ok([half(first)?, half(second)?])
        };
        if is_large { beside(halve).await } else { halve() }
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
    let length = frame_len(message.len())?;
    let mut frame = BytesMut::with_capacity(GRPC_PREFIX + message.len());
    frame.put_u8(compressed.into());
    frame.put_u32(length);
    frame.put_slice(message);
    Ok(frame.freeze())
}

fn frame_len(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message as _;

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
            #[cfg(feature = "zstd")]
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
            let halves = payload.halve().await.unwrap();
            for (half, expected) in halves.iter().zip(&expected) {
                assert_eq!(half.spans, 3);
                let prefix = if protocol == Protocol::Grpc { GRPC_PREFIX } else { 0 };
                assert_eq!(&ExportTraceServiceRequest::decode(&half.body[prefix..]).unwrap(), expected);
            }
        }
    }
}
