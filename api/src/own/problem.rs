//! How our own REST says no: `{"error":{"code","message"}}`.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sinks::SinkError;

/// A refusal of our own REST.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Problem {
    /// A refusal in all its parts.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// What it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// 400: the caller has to write something else.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: the caller has to say who it is.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403: the caller may not do this from where it is.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 404: what was waited for did not happen in time.
    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "WaitTimedOut", message)
    }

    /// 503: the server is about to stop.
    pub(crate) fn closing() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Closing",
            "The server is closing.",
        )
    }

    /// 405: the path has no such method.
    pub(crate) fn no_method(method: &http::Method) -> Self {
        let message = format!("The method '{method}' is not supported here.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 409: something else is in the way.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    /// 503: nothing was changed, because it could not be kept; asking again later is right.
    pub(crate) fn not_stored(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = format!("Nothing was changed: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        tracing::warn!(error = %message, "a call of our own REST could not be kept");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NotStored", message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: Error,
        }
        #[derive(Serialize)]
        struct Error {
            code: &'static str,
            message: String,
        }
        let body = Json(Body {
            error: Error {
                code: self.code,
                message: self.message,
            },
        });
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

impl From<SinkError> for Problem {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::BadName => Self::bad_request(error.to_string()),
            SinkError::TooMany => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManySinks",
                error.to_string(),
            ),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// Answers a path that is none of ours.
pub(super) async fn no_route(uri: http::Uri) -> Problem {
    Problem::not_found(format!(
        "There is nothing at '{}'. docs/rest.md lists what there is.",
        uri.path()
    ))
}

/// Answers a method that a path does not have.
pub(super) async fn no_method(method: http::Method) -> Problem {
    Problem::no_method(&method)
}

/// Reads a JSON body, whatever its content type says: people call this REST with `curl --data`.
///
/// # Errors
/// The body is not what is expected; the answer says what is wrong and where.
pub(crate) fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("The body is not as expected: {error}")))
}
