//! Users of a communication resource, by their tokens.
//!
//! Promise: a handler is given a [`UserCall`] only when its caller presented a token that is good at this moment, the
//! whole body read: signed by us, not expired, not revoked, of an identity that exists. A change looks once more.
//! Not here: how tokens are made and judged (`comms::identity`), what a user may do in a thread (`comms::chat`).
//! Source: reference communication-services 3.2 and 7.

use std::fmt::Display;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use gridpost_comms::identity::{BadToken, User};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::bearer;
use crate::body;
use crate::communication::{Refusal, check_version, read_body, read_json};
use crate::{Parts, Shared};

/// One call of a user.
#[derive(Debug)]
pub struct UserCall {
    /// Who calls, and for which resource.
    pub user: User,
    /// The whole body.
    pub body: Bytes,
}

impl UserCall {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is not what is expected.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        read_json(&self.body)
    }
}

impl FromRequest<Shared> for UserCall {
    type Rejection = Refusal;

    async fn from_request(request: Request, parts: &Shared) -> Result<Self, Refusal> {
        let (head, body) = request.into_parts();
        let user = match authenticate(parts, &head.headers) {
            Ok(user) => user,
            Err(refusal) => {
                // A stranger's body is read but not kept: nobody sees an answer who is still sending.
                body::drop_rest(body).await;
                return Err(refusal);
            }
        };
        let body = read_body(body).await?;
        // It took its time, in which the token may have been revoked.
        parts.comms.check_again(&user).map_err(not_good)?;
        check_version(&head)?;
        Ok(Self { user, body })
    }
}

/// The user whose token the headers carry.
///
/// # Errors
/// 401: there is no good token; 503: the identity cannot be read now.
pub fn authenticate(parts: &Parts, headers: &HeaderMap) -> Result<User, Refusal> {
    let Some(token) = bearer::token_of(headers) else {
        let why = "there is no 'Authorization: Bearer' header";
        return Err(refused(&why));
    };
    user(parts, token)
}

/// The user whose token this is, however it came.
///
/// # Errors
/// As of [`authenticate`].
pub fn user(parts: &Parts, token: &str) -> Result<User, Refusal> {
    parts.comms.user_of(token).map_err(not_good)
}

fn not_good(error: BadToken) -> Refusal {
    match error {
        BadToken::NotRead(error) => Refusal::not_stored(&error),
        BadToken::Unknown | BadToken::Expired | BadToken::Revoked => refused(&error),
    }
}

/// 401, and why for the log: never the token, and at `debug` because strangers decide how often it happens.
fn refused(why: &dyn Display) -> Refusal {
    tracing::debug!("a call of a user was refused: {why}");
    unauthorized()
}

/// 401, in the service's words, which do not tell what is wrong with the token.
pub fn unauthorized() -> Refusal {
    let message = "Request is not authorized.";
    Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

/// 403, in the service's words.
pub fn forbidden() -> Refusal {
    let message = "User is not allowed to perform specified action.";
    Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message)
}
