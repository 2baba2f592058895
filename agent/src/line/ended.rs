//! A request that has ended, by all that its line tells.

use opentelemetry::{SpanId, TraceId};

use super::outcome::{self, Outcome};
use super::record::Record;
use super::request::Request;
use super::times::Times;
use crate::red::Measured;

/// A request that has ended.
pub(super) struct Ended<'a> {
    pub(super) record: &'a Record<'a>,
    pub(super) request: Request<'a>,
    pub(super) times: Times,
    pub(super) server: Outcome,
    /// If a server was tried.
    pub(super) client: Option<Outcome>,
}

impl<'a> Ended<'a> {
    pub(super) fn of(record: &'a Record<'a>) -> Self {
        Ended {
            record,
            request: Request::of(record),
            times: Times::of(record),
            server: outcome::of_server(record),
            client: record.has_server().then(|| outcome::of_client(record)),
        }
    }

    /// It is one of HTTP, as far as can be known of what HAProxy could not read.
    pub(super) fn is_http(&self) -> bool {
        !self.record.tcp && (!self.record.method.is_empty() || self.record.status.is_some())
    }

    /// For the metrics of requests of clients.
    pub(super) fn measured_server(&self, exemplar: Option<(TraceId, SpanId)>) -> Measured<'_> {
        Measured {
            method: &self.record.method,
            scheme: self.request.scheme(),
            status: self.server.status,
            error_type: self.server.error.as_deref(),
            route: non_empty(&self.record.route),
            version: non_empty(self.record.version),
            server: None,
            duration: self.times.duration(),
            exemplar,
        }
    }

    /// For those of requests to servers, if one was tried.
    pub(super) fn measured_client(&self, exemplar: Option<(TraceId, SpanId)>) -> Option<Measured<'_>> {
        let client = self.client.as_ref()?;
        Some(Measured {
            scheme: self.request.server_scheme(),
            status: client.status,
            error_type: client.error.as_deref(),
            route: None,
            // The line does not say it.
            version: None,
            server: self.record.server_port.map(|port| (&*self.record.server_address, port)),
            duration: self.times.client_duration(),
            ..self.measured_server(exemplar)
        })
    }
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
