//! The recent traces: `/traces` for people, `/traces.json` for programs.
//!
//! Everything in a span may come from a request's header, so it is hostile:
//! templates escape it, invisible characters are shown as what they are, the
//! browser is told to run nothing but `/traces/app.js`, and what one answer
//! shows is bounded.

mod filter;
mod json;
mod list;
mod pages;
mod shown;
mod summary;
mod waterfall;

use super::Endpoint;
use crate::export::recent::Recent;
use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use filter::{Filter, Wanted, matching};
use opentelemetry::TraceId;
use pages::{Failed, Pages};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Answers made at once; further ones wait, so that readers cost a bounded memory.
const MAX_RENDERING: usize = 2;

const HEADERS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// What [`router`] serves.
pub const ENDPOINTS: &[Endpoint] = &[
    ("/traces", "the recent traces"),
    ("/traces.json", "the same as OTLP JSON, which Jaeger's UI takes as an upload"),
];

/// The routes `/traces`, `/traces/{trace_id}`, the same with `.json` at the end, and what the pages consist of.
///
/// `/traces` and `/traces.json` take `id`, the beginning of a trace id; `service` and `q`, a part of a service's name and
/// of a span's name or attribute value, whatever the case; `min`, the least duration; and `error=1`.
pub fn router(store: Arc<Recent>) -> Router {
    let style = ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../../templates/traces/style.css"));
    let script = ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../../../templates/traces/app.js"));
    Router::new()
        .route("/traces", get(list_page))
        .route("/traces.json", get(list_json))
        .route("/traces/{trace_id}", get(trace))
        .route("/traces/style.css", get(style))
        .route("/traces/app.js", get(script))
        .with_state(Pages { recent: store, rendering: Arc::new(Semaphore::new(MAX_RENDERING)) })
        .layer(map_response(with_headers))
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            Failed.into_response()
        }
    }
}

async fn list_page(State(pages): State<Pages>, Query(wanted): Query<Wanted>) -> Result<Response, Failed> {
    let render = |recent: &Recent| {
        let filter = Filter::new(&wanted);
        let status = if filter.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        page(status, &list::ListPage::new(recent, wanted, filter))
    };
    pages.run(render).await
}

async fn list_json(State(pages): State<Pages>, Query(wanted): Query<Wanted>) -> Result<Response, Failed> {
    let filter = match Filter::new(&wanted) {
        Ok(filter) => filter,
        Err(error) => return Ok((StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()),
    };
    let ids = move |recent: &Recent| matching(recent, &filter).iter().map(|summary| summary.trace.id).collect();
    let ids = pages.run(ids).await?;
    Ok(json::response(pages, ids))
}

/// The page of a trace, or its JSON.
async fn trace(State(pages): State<Pages>, Path(name): Path<String>) -> Result<Response, Failed> {
    let (text, wants_json) = name.strip_suffix(".json").map_or((&*name, false), |id| (id, true));
    let id = Some(text).filter(|text| text.len() == 32).and_then(|text| TraceId::from_hex(text).ok());
    let Some(trace) = id.and_then(|id| pages.recent.trace(id)) else {
        let bounds = pages.recent.config();
        let not_found = NotFound { id: shown::Shown::new(text, 100), is_id: id.is_some(), bounds };
        return Ok(if wants_json {
            (StatusCode::NOT_FOUND, "this trace is not kept\n").into_response()
        } else {
            page(StatusCode::NOT_FOUND, &not_found)
        });
    };
    if wants_json {
        return Ok(json::response(pages, vec![trace.id]));
    }
    pages.run(move |recent| page(StatusCode::OK, &waterfall::TracePage::new(recent, &trace))).await
}

/// What is said of a trace that is not there.
#[derive(Template)]
#[template(path = "traces/not_found.html")]
struct NotFound<'a> {
    id: shown::Shown,
    /// Whether it could be one.
    is_id: bool,
    bounds: &'a crate::export::recent::RecentConfig,
}
