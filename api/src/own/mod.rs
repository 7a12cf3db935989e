//! Our own REST, `/_gridpost/v1`: what the services do not have and tests, demonstrations and operators need.
//!
//! Promise: every answer is JSON, every refusal `{"error":{"code","message"}}`; nobody gets in whom `guard` does not
//! admit, and whoever presents a token does only what the table in `access` allows its roles. Documented in docs/rest.md.

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::{any, delete, get, post, put};
use serde::Serialize;

use crate::Shared;
use crate::routes::Routes;

mod access;
mod activity;
mod audit;
mod awaiting;
mod clock;
mod credentials;
mod dead_letters;
mod events;
mod explain;
mod faults;
mod filters;
pub(crate) mod guard;
mod handshakes;
mod info;
mod numbers;
mod principals;
pub(crate) mod problem;
mod replays;
mod sinks;
mod texts;
mod wait;

/// What all of it lies below.
const PREFIX: &str = "/_gridpost/v1";

/// A list.
#[derive(Serialize)]
struct Value<T> {
    value: Vec<T>,
}

/// All of it.
pub fn routes(parts: &Shared) -> Routes {
    let routes = Routes::new()
        .route("/audit", get(audit::list))
        .route("/clock", get(clock::show))
        .route("/clock/advance", post(clock::advance))
        .route(
            "/dead-letters",
            get(dead_letters::list).delete(dead_letters::delete),
        )
        .route("/dead-letters:redrive", post(dead_letters::redrive))
        .route("/events", get(events::tail))
        .route("/events/wait", get(events::wait_for))
        // An id may have slashes in it.
        .route("/events/{*below}", get(explain::explain))
        .route("/faults", get(faults::list))
        .route(
            "/faults/{name}",
            get(faults::get).put(faults::put).delete(faults::delete),
        )
        .route("/filters/try", post(filters::try_filter))
        .route("/handsets/{number}/messages", get(texts::messages))
        .route(
            "/handsets/{number}/script",
            get(texts::script)
                .put(texts::put_script)
                .delete(texts::delete_script),
        )
        .route("/handshakes/awaiting", get(awaiting::list))
        .route("/handshakes/failed", get(handshakes::list))
        .route("/info", get(info::info))
        .route("/numbers", get(numbers::list))
        .route(
            "/numbers/{number}",
            get(numbers::get).put(numbers::put).delete(numbers::delete),
        )
        .route("/principals", get(principals::list).post(principals::post))
        .route(
            "/principals/{id}",
            get(principals::get).delete(principals::delete),
        )
        .route("/principals/{id}/secrets", post(principals::post_secret))
        .route(
            "/principals/{id}/secrets/{secret}",
            delete(principals::delete_secret),
        )
        .route("/principals/{client}/credentials", get(credentials::list))
        .route(
            "/principals/{client}/credentials/{name}",
            put(credentials::put).delete(credentials::delete),
        )
        .route("/replays", get(replays::list).post(replays::post))
        .route("/replays/{id}", get(replays::get).delete(replays::delete))
        .route("/sms/receive", post(texts::receive))
        .route("/sinks", get(sinks::list))
        .route(
            "/sinks/{name}",
            any(crate::sinks::receive).delete(sinks::delete),
        )
        .route("/sinks/{name}/requests", get(sinks::requests))
        .route("/sinks/{name}/wait", get(sinks::wait_for))
        .route(
            "/sinks/{name}/behaviour",
            get(sinks::behaviour).put(sinks::put_behaviour),
        )
        .with(|router| {
            router
                .fallback(problem::no_route)
                .method_not_allowed_fallback(problem::no_method)
        })
        .layer(from_fn_with_state(Arc::clone(parts), guard::layer));
    Routes::new().nest(PREFIX, routes)
}
