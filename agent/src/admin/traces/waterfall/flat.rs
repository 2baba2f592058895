//! The spans of a trace side by side, and what they came with.

use crate::span::{FinishedSpan, Origin, SpanView};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use std::collections::HashMap;
use std::sync::Arc;

/// A span and what it came with.
pub(super) struct Flat<'a> {
    pub(super) span: &'a FinishedSpan,
    pub(super) view: SpanView<'a>,
    /// Index of its origin.
    pub(super) origin: usize,
}

/// What spans come with, decoded once.
pub(super) struct CameWith {
    /// Index of the resource.
    pub(super) resource: usize,
    /// Name and version of the scope.
    pub(super) scope: String,
}

/// The resources and scopes of a trace.
#[derive(Default)]
pub(super) struct OriginTable {
    pub(super) list: Vec<CameWith>,
    /// The service and the message of each.
    pub(super) resources: Vec<(String, ResourceSpans)>,
    known: HashMap<*const Origin, usize>,
    known_resources: HashMap<Arc<[u8]>, usize>,
}

impl OriginTable {
    /// The index of an origin.
    pub(super) fn of(&mut self, origin: &Arc<Origin>) -> usize {
        *self.known.entry(Arc::as_ptr(origin)).or_insert_with(|| {
            let resource = *self.known_resources.entry(origin.resource_spans.clone()).or_insert_with(|| {
                let decoded = ResourceSpans::decode(&*origin.resource_spans).unwrap_or_default();
                self.resources.push((origin.service().to_owned(), decoded));
                self.resources.len() - 1
            });
            let scope = ScopeSpans::decode(&*origin.scope_spans).ok().and_then(|scope| scope.scope);
            let scope = scope.map(|scope| format!("{} {}", scope.name, scope.version)).unwrap_or_default();
            self.list.push(CameWith { resource, scope: scope.trim().to_owned() });
            self.list.len() - 1
        })
    }
}
