//! The pages of the recent traces, asked without a network.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use spoa_otel::admin::traces;
use spoa_otel::export::recent::Recent;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// The answer to a GET: its status and its text.
pub fn get(recent: &Arc<Recent>, uri: http::Uri) -> (u16, String) {
    RUNTIME.block_on(async {
        let request = http::Request::get(uri).body(Empty::<Bytes>::new()).expect("a request");
        let Ok(response) = traces::router(recent.clone()).oneshot(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8(body.into()).expect("UTF-8"))
    })
}

/// What of a page a browser would take for more than text, as its templates have it.
pub fn check_markup(page: &str) {
    let of = |tag: &str| page.matches(tag).count();
    assert_eq!(of("<script"), 1, "{page}");
    assert_eq!(of("<img") + of("<iframe") + of("=\"javascript:"), 0, "{page}");
}
