//! Chat, as its clients speak it.
//!
//! Promise: every call is made by a user whose token is good; every page says where the next one is, at the address
//! the client dialled; every refusal has the body that the service declares.
//! Not here: what may be done and what happens (`comms::chat`), tokens (`auth::user_token`).
//! Source: reference communication-services 7.

mod body;
mod line;
mod live;
mod messages;
mod page;
mod participants;
mod presence;
mod push;
mod threads;

use axum::extract::Request;
use axum::middleware::from_fn;
use axum::routing::{any, get, post};
use gridpost_comms::chat::ChatError;
use http::StatusCode;

use crate::auth::user_token::{forbidden, unauthorized};
use crate::communication::{Refusal, echo_request_id};
use crate::routes::Routes;
use crate::{cors, words};

/// Everything below `/chat`, and beside it what the push connection of the JavaScript client dials.
pub fn routes() -> Routes {
    const THREAD: &str = "/chat/threads/{thread}";
    let below = |rest: &str| format!("{THREAD}/{rest}");
    Routes::new()
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
        .layer(from_fn(words::layer))
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
            ChatError::Unauthorized => unauthorized(),
            ChatError::Forbidden(lack) => {
                tracing::debug!("a call of a user was refused: {lack}");
                forbidden()
            }
            ChatError::TooManyForPresence => Self::new(StatusCode::FORBIDDEN, "Forbidden", message),
            ChatError::NoThread | ChatError::NoMessage => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", message)
            }
            ChatError::Invalid { .. } => Self::bad_request(message),
            ChatError::TooOften(too_often) => Self::too_often(too_often.wait),
            ChatError::TooLarge(_) => Self::too_large(message),
            ChatError::NotStored(error) => Self::not_stored(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::response::IntoResponse as _;
    use gridpost_comms::TooOften;
    use gridpost_comms::chat::Lack;
    use gridpost_store::StoreError;
    use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn section_7_every_declared_error_has_its_body() {
        let wait = Duration::from_millis(1_001);
        let not_allowed = "User is not allowed to perform specified action.";
        let too_large =
            "Read receipts and typing indicators are for threads of at most 20 participants.";
        let not_stored = "The request could not be stored at this moment. Please retry.";
        let invalid = ChatError::Invalid {
            target: "topic",
            message: "topic must not be empty.".into(),
        };
        let table: [(Refusal, u16, &str, &str); 8] = [
            (
                invalid.into(),
                400,
                "BadRequest",
                "topic must not be empty.",
            ),
            (
                unauthorized(),
                401,
                "Unauthorized",
                "Request is not authorized.",
            ),
            (
                ChatError::Forbidden(Lack::Membership).into(),
                403,
                "Forbidden",
                not_allowed,
            ),
            (
                ChatError::TooManyForPresence.into(),
                403,
                "Forbidden",
                too_large,
            ),
            (
                ChatError::NoThread.into(),
                404,
                "NotFound",
                "The chat thread does not exist.",
            ),
            (
                ChatError::NoMessage.into(),
                404,
                "NotFound",
                "The chat message does not exist.",
            ),
            (
                ChatError::from(TooOften { wait }).into(),
                429,
                "TooManyRequests",
                "Rate limit exceeded.",
            ),
            (
                ChatError::from(StoreError::NoSpace).into(),
                503,
                "ServiceUnavailable",
                not_stored,
            ),
        ];
        for (refusal, status, code, message) in table {
            let response = refusal.into_response();
            assert_eq!(response.status(), status, "{message}");
            let header = |name| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
            };
            let wait = match status {
                429 | 503 => Some("2"),
                _ => None,
            };
            assert_eq!(header(RETRY_AFTER), wait, "{message}");
            assert_eq!(
                header(WWW_AUTHENTICATE).is_some(),
                status == 401,
                "{message}"
            );
            let body = axum::body::to_bytes(response.into_body(), 1 << 10).await;
            let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
            assert_eq!(body, json!({"error": {"code": code, "message": message}}));
        }
    }
}
