//! Which traces are wanted.

use super::summary::Summary;
use crate::export::recent::Recent;
use crate::span::FinishedSpan;
use crate::span::view::value_text;
use serde::Deserialize;
use spop_agent::duration;
use std::cmp::Reverse;
use std::time::Duration;

/// The query of a request, as it came. Empty parameters want nothing in particular.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) service: String,
    pub(super) q: String,
    pub(super) min: String,
    pub(super) error: String,
    pub(super) page: String,
}

/// A query that was understood.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// In lower case, like the other texts.
    id: String,
    service: String,
    text: String,
    min: Duration,
    errors: bool,
}

impl Filter {
    /// # Errors
    /// A text for the user: which parameter is wrong, and what is expected.
    pub(super) fn new(wanted: &Wanted) -> Result<Self, String> {
        let lower = |text: &str| text.trim().to_lowercase();
        let min = match wanted.min.trim() {
            "" => Duration::ZERO,
            text => duration::parse(text).map_err(|error| format!("min={text}: {error}"))?,
        };
        Ok(Self {
            id: lower(&wanted.id),
            service: lower(&wanted.service),
            text: lower(&wanted.q),
            min,
            errors: wanted.errors(),
        })
    }

    /// Whether the trace is wanted. What costs most is asked last.
    pub(super) fn wants(&self, summary: &Summary) -> bool {
        let has = |text: &str, part: &str| text.to_lowercase().contains(part);
        summary.trace.id.to_string().starts_with(&self.id)
            && u128::from(summary.axis.length()) >= self.min.as_nanos()
            && (!self.errors || summary.errors > 0)
            && (self.service.is_empty() || summary.services.iter().any(|name| has(name, &self.service)))
            && (self.text.is_empty()
                || summary.request.title().is_some_and(|title| has(&title, &self.text))
                || summary.trace.spans.iter().any(|span| any_text(span, |text| has(text, &self.text))))
    }
}

/// Whether the name of a span or the value of an attribute, as text, is as wanted.
fn any_text(span: &FinishedSpan, wanted: impl Fn(&str) -> bool) -> bool {
    let view = span.view();
    let mut values = view.attributes().filter_map(|(_, value)| value_text(value?));
    wanted(view.name) || values.any(|value| wanted(&value))
}

impl Wanted {
    pub(super) fn errors(&self) -> bool {
        !matches!(&*self.error, "" | "0")
    }

    /// The page of the list, from 1.
    pub(super) fn page(&self) -> usize {
        self.page.parse().unwrap_or(1).max(1)
    }

    /// Whether it wants less than all.
    pub(super) fn is_some(&self) -> bool {
        [&self.id, &self.service, &self.q, &self.min].iter().any(|text| !text.trim().is_empty()) || self.errors()
    }

    /// The query of another page of the list, or of the JSON for page 0.
    pub(super) fn query(&self, page: usize) -> String {
        let mut out = String::new();
        let page = if page > 1 { page.to_string() } else { String::new() };
        let error = if self.errors() { "1" } else { "" };
        let fields = [
            ("id", &*self.id),
            ("service", &self.service),
            ("q", &self.q),
            ("min", &self.min),
            ("error", error),
            ("page", &page),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            out.push(if out.is_empty() { '?' } else { '&' });
            out.push_str(name);
            out.push('=');
            out.extend(percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC));
        }
        out
    }
}

/// The traces that are wanted, the one that started last first.
pub(super) fn matching(recent: &Recent, filter: &Filter) -> Vec<Summary> {
    let all = recent.traces().into_iter().map(Summary::new);
    let mut wanted: Vec<_> = all.filter(|summary| filter.wants(summary)).collect();
    wanted.sort_by_key(|summary| Reverse(summary.axis.start));
    wanted
}
