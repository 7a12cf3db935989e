//! Publishing events to a custom topic.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};

use crate::Parts;

/// Whether the request is for the publish endpoint of a topic.
pub fn is_for_us(request: &Request) -> bool {
    let _ = request;
    false
}

/// Answers a request to the publish endpoint.
pub async fn answer(parts: &Parts, request: Request) -> Response {
    let _ = (parts, request);
    http::StatusCode::NOT_IMPLEMENTED.into_response()
}
