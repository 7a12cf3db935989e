//! Resource Manager.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};

use crate::Shared;

/// Answers every request that no other surface knows.
pub async fn answer(State(parts): State<Shared>, request: Request) -> Response {
    let _ = (parts, request);
    http::StatusCode::NOT_FOUND.into_response()
}
