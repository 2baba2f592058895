//! Where spans come from: the resource and the scope under which a request has them.

use crate::heap::{block, shared};
use crate::resource;
use hashbrown::HashMap;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource as ResourceMessage;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use prost::Message;
use std::mem::size_of;
use std::sync::{Arc, Mutex, PoisonError};

/// Services whose origins are kept: a configuration has a few, and a client that could choose them would choose many.
const MAX_SERVICES: usize = 256;

/// The resource and the scope of spans, as they are sent. Shared by the spans that have them.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    service: Arc<str>,
    /// `ResourceSpans` without spans. A received one may have very many scopes.
    pub(crate) resource_spans: Arc<[u8]>,
    /// `ScopeSpans` without spans.
    pub(crate) scope_spans: Box<[u8]>,
    /// [`Origins`] keeps it no more: there are too many services.
    is_alone: bool,
}

impl Origin {
    /// Of spans that came from elsewhere. `resource_spans` and `scope_spans`: these messages without spans, encoded.
    pub(crate) fn received(service: &Arc<str>, resource_spans: &Arc<[u8]>, scope_spans: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            service: service.clone(),
            resource_spans: resource_spans.clone(),
            scope_spans: scope_spans.into(),
            is_alone: false,
        })
    }

    /// `service.name` of the resource.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Memory that it holds behind an `Arc`, in the blocks that an allocator gives out. What it shares counts in full, since
    /// it may be the last to hold it.
    pub(crate) fn held(&self) -> usize {
        let parts = [size_of::<Self>(), self.service.len(), self.resource_spans.len()];
        parts.into_iter().map(shared).sum::<usize>() + block(self.scope_spans.len())
    }

    /// What each that has it counts of it: nothing of one of those few that are kept.
    pub(crate) fn held_alone(&self) -> usize {
        if self.is_alone { self.held() } else { 0 }
    }
}

/// Makes the origins of this process's spans, one for each service.
#[derive(Debug)]
pub struct Origins {
    /// What all resources have beside their service's name.
    common: Resource,
    scope_spans: Box<[u8]>,
    /// By services' names; the seed of its hashes is random.
    known: Mutex<HashMap<Box<str>, Arc<Origin>>>,
}

impl Default for Origins {
    /// Reads the environment.
    fn default() -> Self {
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        let scope_spans = ScopeSpans { scope: Some(scope), ..Default::default() };
        Self {
            common: resource::common(resource::instance_id()),
            scope_spans: scope_spans.encode_to_vec().into(),
            known: Mutex::default(),
        }
    }
}

impl Origins {
    /// The origin of spans of this service: the same one again, unless there are very many services.
    pub fn of(&self, service: &str) -> Arc<Origin> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.get(service) {
            return origin.clone();
        }
        if known.len() >= MAX_SERVICES {
            known.retain(|_, origin| Arc::strong_count(origin) > 1);
        }
        let is_alone = known.len() >= MAX_SERVICES;
        let origin = Arc::new(self.make(service, is_alone));
        if !is_alone {
            known.insert(service.into(), origin.clone());
        }
        origin
    }

    fn make(&self, service: &str, is_alone: bool) -> Origin {
        let resource = resource::of_service(&self.common, service);
        let attributes = ResourceAttributesWithSchema::from(&resource).attributes.0;
        let resource = ResourceMessage { attributes, ..Default::default() };
        let resource_spans = ResourceSpans { resource: Some(resource), ..Default::default() };
        Origin {
            service: service.into(),
            resource_spans: resource_spans.encode_to_vec().into(),
            scope_spans: self.scope_spans.clone(),
            is_alone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_one_origin() {
        let origins = Origins::default();
        let [a, again, b] = ["a", "a", "b"].map(|service| origins.of(service));
        assert!(Arc::ptr_eq(&a, &again) && a.service() == "a");
        assert_ne!(a, b);
        let decoded = ResourceSpans::decode(&*a.resource_spans).unwrap();
        assert_eq!(crate::export::text::service_name(decoded.resource.as_ref()), "a");
    }

    #[test]
    fn what_is_kept_of_very_many_services_is_bounded() {
        let origins = Origins::default();
        let in_use: Vec<_> = (0..2 * MAX_SERVICES).map(|n| origins.of(&n.to_string())).collect();
        let known = || origins.known.lock().unwrap().len();
        assert_eq!(known(), MAX_SERVICES);
        let counted = in_use.iter().filter(|origin| origin.held_alone() == origin.held()).count();
        assert_eq!(counted, MAX_SERVICES, "each beyond those that are kept");
        assert_eq!(origins.of("not kept").service(), "not kept");
        drop(in_use);
        origins.of("kept");
        assert_eq!(known(), 1);
    }
}
