//! What a collector answers: whether it took the spans or metrics, or why not.
//!
//! The answers of all signals are the same on the wire; here they are those of traces.

use super::failure::{Failure, FailureKind, media_type};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::Value as Json;

/// Largest answer that is read.
pub(super) const MAX_ANSWER: usize = 64 << 10;

/// Of an HTTP answer with a status of success, of this content type. What is no answer of OTLP's is a failure; of one
/// that cannot be read it is only known that the spans were taken.
pub(super) fn of_http(content_type: Option<&str>, body: &[u8]) -> Result<ExportTracePartialSuccess, Failure> {
    match media_type(content_type).as_str() {
        "" | "application/x-protobuf" | "application/protobuf" | "application/octet-stream" => Ok(of_protobuf(body)),
        "application/json" => Ok(of_json(body)),
        page @ ("text/html" | "application/xhtml+xml") => {
            let text = format!("the answer is a web page ({page}), not OTLP's");
            Err(Failure::new(FailureKind::NotOtlp, text))
        }
        other => Ok(ExportTracePartialSuccess {
            error_message: format!("an answer of the type {other:?}, which is not one of OTLP's: is the URL right?"),
            ..Default::default()
        }),
    }
}

/// Of a protobuf message.
pub(super) fn of_protobuf(body: &[u8]) -> ExportTracePartialSuccess {
    ExportTraceServiceResponse::decode(body).unwrap_or_default().partial_success.unwrap_or_default()
}

fn of_json(body: &[u8]) -> ExportTracePartialSuccess {
    let answer: Json = serde_json::from_slice(body).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let rejected =
        [&partial["rejectedSpans"], &partial["rejectedDataPoints"]].into_iter().find(|count| !count.is_null());
    ExportTracePartialSuccess {
        // Protobuf's JSON has such a number as a text.
        rejected_spans: rejected.and_then(|count| count.as_i64().or_else(|| count.as_str()?.parse().ok())).unwrap_or(0),
        error_message: partial["errorMessage"].as_str().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(rejected_spans: i64, error_message: &str) -> ExportTracePartialSuccess {
        ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() }
    }

    #[test]
    fn an_answer_is_read_as_its_type_says() {
        let response = ExportTraceServiceResponse { partial_success: Some(partial(3, "old")) }.encode_to_vec();
        for content_type in [None, Some("application/x-protobuf"), Some("Application/X-Protobuf; charset=x")] {
            assert_eq!(of_http(content_type, &response).unwrap(), partial(3, "old"));
        }
        // Real collectors send an empty message when they took everything.
        assert_eq!(of_http(None, b"\x0a\x00").unwrap(), partial(0, ""));
        let json = Some("application/json; charset=utf-8");
        for (text, expected) in [
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"old"}}"#, partial(3, "old")),
            (r#"{"partialSuccess":{"rejectedSpans":3}}"#, partial(3, "")),
            (r#"{"partialSuccess":{"rejectedDataPoints":"4"}}"#, partial(4, "")),
            (r#"{"partialSuccess":{}}"#, partial(0, "")),
            ("{}", partial(0, "")),
            ("", partial(0, "")),
            ("[1", partial(0, "")),
        ] {
            assert_eq!(of_http(json, text.as_bytes()).unwrap(), expected, "{text}");
        }
        let failure = of_http(Some("text/html; charset=utf-8"), b"<html>").unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotOtlp);
        let odd = of_http(Some("text/plain"), b"ok").unwrap();
        assert!(odd.rejected_spans == 0 && odd.error_message.contains("\"text/plain\""), "{odd:?}");
    }
}
