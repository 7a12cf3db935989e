//! Surfaces of communication services that are not there yet.
//!
//! Promise: their clients are told so in the shape they read, with the name of the surface, instead of a 404 that looks
//! like a missing thread, room or user.

use axum::extract::Request;
use axum::middleware::from_fn;
use axum::routing::any;
use http::StatusCode;

use crate::communication::{Refusal, echo_request_id};
use crate::cors;
use crate::routes::Routes;

/// The first words of their paths. Source: reference communication-services 1.
const WORDS: [&str; 11] = [
    "access",
    "availablePhoneNumbers",
    "calling",
    "emails",
    "messages",
    "networkTraversal",
    "operatorInformation",
    "phoneNumbers",
    "rooms",
    "routing",
    "sip",
];

/// Each word, and everything below it.
pub fn routes() -> Routes {
    let routes = WORDS.iter().fold(Routes::new(), |routes, word| {
        routes
            .route(&format!("/{word}"), any(refuse))
            .route(&format!("/{word}/{{*below}}"), any(refuse))
    });
    routes
        .route("/emails:send", any(refuse))
        .layer(from_fn(cors::layer))
        .layer(from_fn(echo_request_id))
}

async fn refuse(request: Request) -> Refusal {
    let word = request.uri().path().trim_start_matches('/');
    let word = word.split(['/', ':']).next().unwrap_or_default();
    Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "NotSupported",
        format!(
            "'/{word}' is not supported yet: of communication services this version has SMS, identities and chat. docs/parity.md lists what is missing."
        ),
    )
}
