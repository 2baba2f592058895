//! What all pages are made from, and how.

use crate::export::recent::Recent;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tokio::sync::Semaphore;

#[derive(Clone)]
pub(super) struct Pages {
    pub(super) recent: Arc<Recent>,
    pub(super) rendering: Arc<Semaphore>,
}

impl Pages {
    /// Runs work that takes milliseconds where it delays no connection of HAProxy.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Recent) -> T + Send + 'static,
    ) -> Result<T, Failed> {
        let permit = self.rendering.clone().acquire_owned().await.map_err(|_| Failed)?;
        let recent = self.recent.clone();
        let work = move || {
            // Given back when the work is done, whether or not its client is still there.
            let _permit = permit;
            work(&recent)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Failed)
    }
}

/// A page that could not be made; the log says why.
pub(super) struct Failed;

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n").into_response()
    }
}
