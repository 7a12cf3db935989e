//! The headers that Resource Manager puts on every answer, refusals included.
//!
//! Promise: each answer has an identifier of its own, the one that the audit log knows the call by, and the client's if it
//! asked to see it again. What is said to
//! remain of a rate never runs out, because we limit none.
//! Source: reference management 4.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, request};

use crate::Parts;
use crate::audit::Correlation;

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// Adds them.
pub(super) fn finish(
    parts: &Parts,
    head: &request::Parts,
    correlation: &Correlation,
    mut response: Response,
) -> Response {
    correlation.show(&mut response);
    let client = head.headers.get(CLIENT_REQUEST_ID).cloned();
    let headers = response.headers_mut();
    if let Ok(own) = HeaderValue::from_str(&parts.chance.uuid()) {
        headers.insert("x-ms-request-id", own);
    }
    if let Some(client) = client.filter(|_| wants_its_own_back(&head.headers)) {
        headers.insert(CLIENT_REQUEST_ID, client);
    }
    let (name, remaining) = match head.method {
        Method::GET | Method::HEAD => ("x-ms-ratelimit-remaining-subscription-reads", "11999"),
        Method::DELETE => ("x-ms-ratelimit-remaining-subscription-deletes", "14999"),
        _ => ("x-ms-ratelimit-remaining-subscription-writes", "1199"),
    };
    headers.insert(name, HeaderValue::from_static(remaining));
    response
}

fn wants_its_own_back(headers: &HeaderMap) -> bool {
    let asked = headers.get("x-ms-return-client-request-id");
    asked.is_some_and(|asked| asked.as_bytes().eq_ignore_ascii_case(b"true"))
}
