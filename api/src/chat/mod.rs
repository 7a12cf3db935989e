//! Chat, as its clients speak it.
//!
//! Promise: every call is made by a user whose token is good; every page says where the next one is, at the address
//! the client dialled; every refusal has the body that the service declares.
//! Not here: what may be done and what happens (`comms::chat`), tokens (`auth::user_token`).
//! Source: reference communication-services 7.

mod body;
mod cors;
mod live;
mod messages;
mod page;
mod participants;
mod presence;
mod push;
mod threads;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn;
use axum::routing::{any, get, post};
use gridpost_comms::chat::ChatError;
use http::StatusCode;

use crate::Shared;
use crate::auth::user_token::forbidden;
use crate::communication::{Refusal, echo_request_id};

/// Everything below `/chat`.
pub fn routes() -> Router<Shared> {
    const THREAD: &str = "/chat/threads/{thread}";
    let below = |rest: &str| format!("{THREAD}/{rest}");
    Router::new()
        .route("/chat/threads", get(threads::list).post(threads::create))
        .route(
            THREAD,
            get(threads::get)
                .patch(threads::update)
                .delete(threads::delete),
        )
        .route(&below("messages"), get(messages::list).post(messages::send))
        .route(
            &below("messages/{message}"),
            get(messages::get)
                .patch(messages::edit)
                .delete(messages::delete),
        )
        .route(&below("participants"), get(participants::list))
        // `:add` and `:remove`: the router does not take a colon at the beginning of a segment as literal text.
        .route(&below("participants/{verb}"), post(participants::act))
        .route(
            &below("readReceipts"),
            get(presence::receipts).post(presence::read),
        )
        .route(&below("typing"), post(presence::typing))
        .route("/chat", any(unknown))
        .route("/chat/{*below}", any(unknown))
        .merge(live::routes())
        .merge(push::routes())
        .layer(from_fn(cors::layer))
        .layer(from_fn(echo_request_id))
}

async fn unknown(request: Request) -> Refusal {
    let message = format!(
        "'{}' is not part of the chat that this version of Gridpost has. docs/parity.md lists what is missing.",
        request.uri().path()
    );
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotSupported", message)
}

impl From<ChatError> for Refusal {
    fn from(error: ChatError) -> Self {
        let message = error.to_string();
        match error {
            ChatError::Forbidden => forbidden(),
            ChatError::TooManyForPresence => Self::new(StatusCode::FORBIDDEN, "Forbidden", message),
            ChatError::NoThread | ChatError::NoMessage => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", message)
            }
            ChatError::Invalid { .. } => Self::bad_request(message),
            ChatError::NotStored(error) => Self::not_stored(&error),
        }
    }
}
