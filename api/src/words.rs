//! What the router refuses by itself, in the words of the communication services.
//!
//! Promise: a wrong method and a path that is no text are refused with a body that their clients can read.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};

use crate::communication::Refusal;

/// The longest sentence of the router.
const SENTENCE_BYTES: usize = 4 << 10;

/// A layer that gives the router's own refusals a body.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            let message =
                format!("The requested resource does not support http method '{method}'.");
            let refusal = Refusal::new(response.status(), "MethodNotAllowed", message);
            let mut spoken = refusal.into_response();
            if let Some(allow) = response.headers().get(header::ALLOW) {
                spoken.headers_mut().insert(header::ALLOW, allow.clone());
            }
            spoken
        }
        StatusCode::BAD_REQUEST if is_plain(&response) => {
            let sentence = axum::body::to_bytes(response.into_body(), SENTENCE_BYTES).await;
            let sentence = sentence.unwrap_or_default();
            Refusal::bad_request(String::from_utf8_lossy(&sentence)).into_response()
        }
        _ => response,
    }
}

fn is_plain(response: &Response) -> bool {
    let content = response.headers().get(header::CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"text/plain"))
}
