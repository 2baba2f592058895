//! The spans of a request, written from its line.

use opentelemetry::{SpanId, TraceFlags};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

use super::ended::Ended;
use super::outcome::Outcome;
use super::request::method_name;
use super::times::{Part, Times};
use crate::lossy::lossy;
use crate::request_context::{RANDOM, RequestContext};
use crate::semconv::{
    CLIENT_ADDRESS, CLIENT_PORT, ERROR_TYPE, HAPROXY_BACKEND, HAPROXY_CONNECT_MS, HAPROXY_FRONTEND, HAPROXY_HEADERS_MS,
    HAPROXY_QUEUE_MS, HAPROXY_SERVER, HAPROXY_SPAN_KEPT, HAPROXY_TERMINATION_STATE, HAPROXY_UNIQUE_ID,
    HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, HTTP_REQUEST_RESEND_COUNT, HTTP_REQUEST_SIZE,
    HTTP_RESPONSE_SIZE, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT,
    NETWORK_PROTOCOL_VERSION, NETWORK_TRANSPORT, SERVER_ADDRESS, SERVER_PORT, URL_FULL, URL_PATH, URL_QUERY,
    URL_SCHEME, USER_AGENT_ORIGINAL,
};
use crate::span::write::{AttributeWriter, Head, put_end};
use crate::span::{FinishedSpan, Origin};
use crate::tracer::SpanLimits;

/// Those of a request: SERVER, then CLIENT, then parts.
pub(super) type Spans = SmallVec<[FinishedSpan; 2]>;

/// What a request's spans are made of.
pub(super) struct Source<'a> {
    pub(super) ended: &'a Ended<'a>,
    pub(super) context: RequestContext,
    /// As the next ones got it.
    pub(super) tracestate: &'a str,
    pub(super) origin: &'a Arc<Origin>,
    pub(super) limits: &'a SpanLimits,
    /// Why it is kept although it is not sampled.
    pub(super) kept: Option<&'static str>,
}

/// What went beyond the limits.
#[derive(Debug, Default)]
pub(super) struct Beyond {
    pub(super) attributes_dropped: usize,
    pub(super) values_cut: usize,
}

/// A span that is being written.
struct Draft<'a> {
    span_id: SpanId,
    parent: Option<SpanId>,
    name: &'a str,
    kind: SpanKind,
    part: Part,
    error: Option<&'a str>,
}

impl Source<'_> {
    /// The spans. `parts`: makes the ids of those for queue, connect and the wait for headers, if they are asked for.
    pub(super) fn spans(&self, parts: Option<&dyn Fn() -> SpanId>, beyond: &mut Beyond) -> Spans {
        let mut out = Vec::with_capacity(1024);
        let mut spans = Spans::new();
        let Times { start, end, client, .. } = self.ended.times;
        let server = Draft {
            span_id: self.context.server,
            parent: self.context.parent,
            name: self.ended.request.name(),
            kind: SpanKind::Server,
            part: (start, end),
            error: self.ended.server.error.as_deref(),
        };
        spans.push(self.write(&mut out, &server, beyond, |attributes| self.server_attributes(attributes)));
        if let Some(outcome) = &self.ended.client {
            let client = Draft {
                span_id: self.context.client,
                parent: Some(self.context.server),
                name: method_name(self.ended.record.tcp, self.ended.request.method()),
                kind: SpanKind::Client,
                part: (client, end),
                error: outcome.error.as_deref(),
            };
            let attributes = |attributes: &mut AttributeWriter<'_>| self.client_attributes(outcome, attributes);
            spans.push(self.write(&mut out, &client, beyond, attributes));
        }
        if let Some(new_id) = parts {
            let Times { queue, connect, headers, .. } = &self.ended.times;
            let (server, client) = (self.context.server, self.context.client);
            let of_client = |part: Option<Part>| part.filter(|_| self.ended.client.is_some());
            for (name, parent, part) in [
                ("queue", server, *queue),
                ("connect", client, of_client(*connect)),
                ("wait for headers", client, of_client(*headers)),
            ] {
                let Some(part) = part else { continue };
                let kind = SpanKind::Internal;
                let draft = Draft { span_id: new_id(), parent: Some(parent), name, kind, part, error: None };
                spans.push(self.write(&mut out, &draft, beyond, |_| ()));
            }
        }
        spans
    }

    fn write(
        &self,
        out: &mut Vec<u8>,
        draft: &Draft<'_>,
        beyond: &mut Beyond,
        attributes: impl FnOnce(&mut AttributeWriter<'_>),
    ) -> FinishedSpan {
        out.clear();
        let (start, end) = draft.part;
        let head = Head {
            trace_id: self.context.trace_id,
            span_id: draft.span_id,
            tracestate: self.tracestate,
            parent: draft.parent,
            name: draft.name,
            kind: draft.kind,
            start,
            end,
        };
        head.write(out);
        let mut writer = AttributeWriter::new(out, self.limits.max_attributes_per_span, self.limits.max_value_len);
        attributes(&mut writer);
        if let Some(error) = draft.error {
            writer.text(ERROR_TYPE, error);
        }
        if let Some(kept) = self.kept {
            writer.text(HAPROXY_SPAN_KEPT, kept);
        }
        beyond.attributes_dropped += writer.dropped as usize;
        beyond.values_cut += writer.cut;
        writer.finish();
        let code = if draft.error.is_some() { StatusCode::Error } else { StatusCode::Unset };
        let flags = self.context.flags & (TraceFlags::SAMPLED | RANDOM);
        let is_remote = draft.kind == SpanKind::Server && draft.parent.is_some();
        put_end(out, code, "", flags.to_u8().into(), is_remote);
        FinishedSpan::new(self.origin.clone(), self.context.trace_id, out)
    }

    fn method(&self, out: &mut AttributeWriter<'_>) {
        if let Some(method) = self.ended.request.method() {
            out.text(HTTP_REQUEST_METHOD, method);
            if method != self.ended.record.method {
                out.text(HTTP_REQUEST_METHOD_ORIGINAL, &self.ended.record.method);
            }
        }
    }

    fn server_attributes(&self, out: &mut AttributeWriter<'_>) {
        let Ended { record, request, .. } = self.ended;
        self.method(out);
        if record.tcp {
            out.text(NETWORK_TRANSPORT, "tcp");
        } else {
            out.text(URL_SCHEME, request.scheme());
        }
        text(out, URL_PATH, request.path);
        text(out, URL_QUERY, &request.query);
        text(out, HTTP_ROUTE, &record.route);
        number(out, HTTP_RESPONSE_STATUS_CODE, self.ended.server.status);
        text(out, SERVER_ADDRESS, request.host);
        number(out, SERVER_PORT, request.port);
        text(out, CLIENT_ADDRESS, &record.client_address);
        number(out, CLIENT_PORT, record.client_port);
        text(out, NETWORK_PROTOCOL_VERSION, record.version);
        text(out, USER_AGENT_ORIGINAL, request.user_agent);
        number(out, HTTP_REQUEST_SIZE, record.uploaded);
        number(out, HTTP_RESPONSE_SIZE, record.downloaded);
        text(out, HAPROXY_FRONTEND, record.frontend);
        text(out, HAPROXY_BACKEND, record.backend);
        text(out, HAPROXY_SERVER, record.server);
        if record.termination != *b"--" {
            text(out, HAPROXY_TERMINATION_STATE, &String::from_utf8_lossy(&record.termination));
        }
        text(out, HAPROXY_UNIQUE_ID, &lossy(&record.id));
    }

    fn client_attributes(&self, outcome: &Outcome, out: &mut AttributeWriter<'_>) {
        let Ended { record, request, .. } = self.ended;
        self.method(out);
        if record.tcp {
            out.text(NETWORK_TRANSPORT, "tcp");
        } else if !record.uri.is_empty() {
            let address = &record.server_address;
            let host = match &*record.host {
                "" if address.contains(':') => Cow::Owned(format!("[{address}]")),
                "" => Cow::Borrowed(&**address),
                host => Cow::Borrowed(host),
            };
            let mark = if request.query.is_empty() { "" } else { "?" };
            out.joined(URL_FULL, &[request.server_scheme(), "://", &host, request.path, mark, &request.query]);
        }
        number(out, HTTP_RESPONSE_STATUS_CODE, outcome.status);
        for (address, port) in [(SERVER_ADDRESS, SERVER_PORT), (NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT)] {
            text(out, address, &record.server_address);
            number(out, port, record.server_port);
        }
        if record.retries > 0 {
            out.number(HTTP_REQUEST_RESEND_COUNT, record.retries.into());
        } else {
            number(out, HAPROXY_QUEUE_MS, record.wait);
        }
        number(out, HAPROXY_CONNECT_MS, record.connect);
        number(out, HAPROXY_HEADERS_MS, record.response);
        text(out, HAPROXY_BACKEND, record.backend);
        text(out, HAPROXY_SERVER, record.server);
    }
}

/// An attribute, if there is something to say.
#[inline(always)]
fn text(out: &mut AttributeWriter<'_>, name: &str, text: &str) {
    if !text.is_empty() {
        out.text(name, text);
    }
}

#[inline(always)]
fn number(out: &mut AttributeWriter<'_>, name: &str, number: Option<impl TryInto<i64>>) {
    if let Some(number) = number.and_then(|number| number.try_into().ok()) {
        out.number(name, number);
    }
}
