//! Why nobody is signed in, in the words of the service.
//!
//! Promise: no refusal has a secret in it.
//! Source: reference management 2.3.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use crate::Parts;
use crate::problem::RETRY_AFTER_SECONDS;

/// An OAuth error, in the words of the real service.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: &'static str,
    pub(super) number: u32,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(number: u32, text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error: "invalid_request",
            number,
            text: text.into(),
        }
    }

    pub(super) fn missing(parameter: &str) -> Self {
        let text = format!("The request body must contain the following parameter: '{parameter}'.");
        Self::new(900_144, text)
    }

    pub(super) fn unsupported_grant() -> Self {
        let text = "The app requested an unsupported grant type. \
                    'client_credentials', 'password', 'refresh_token' and device codes are supported by this version.";
        Self {
            error: "unsupported_grant_type",
            ..Self::new(70_003, text)
        }
    }

    pub(super) fn no_secret() -> Self {
        let text = "'client_assertion', 'client_secret' or 'request' is required for the \
                    'client_credentials' grant type.";
        Self::invalid_client(7_000_216, text)
    }

    pub(super) fn unregistered_certificate(client_id: &str) -> Self {
        let text = format!(
            "The certificate with identifier used to sign the client assertion is not registered on application '{client_id}', has expired, or the signature does not hold."
        );
        Self::invalid_client(700_027, &text)
    }

    /// The token of an issuer that the principal does not trust, or not in this.
    pub(super) fn no_federation(number: u32, what: &str, found: &str) -> Self {
        let text = format!(
            "No matching federated identity record found for presented assertion {what} '{found}'."
        );
        Self::invalid_client(number, &text)
    }

    /// What a token is asked for that is nobody's.
    pub(super) fn no_resource(name: &str) -> Self {
        let text = format!("The resource principal named {name} was not found in the tenant.");
        Self {
            error: "invalid_resource",
            ..Self::new(500_011, text)
        }
    }

    pub(super) fn invalid_grant(number: u32, text: &str) -> Self {
        Self {
            error: "invalid_grant",
            ..Self::new(number, text)
        }
    }

    /// Of a name and a password: a wrong secret reads as it does for people.
    pub(super) fn of_password(self) -> Self {
        match self.number {
            7_000_215 | 700_016 => {
                let text = "Error validating credentials due to invalid username or password.";
                Self::invalid_grant(50_126, text)
            }
            7_000_222 => Self::invalid_grant(50_055, "The password is expired."),
            _ => self,
        }
    }

    pub(super) fn wrong_secret() -> Self {
        Self::invalid_client(7_000_215, "Invalid client secret provided.")
    }

    pub(super) fn expired_secret(client_id: &str) -> Self {
        let text = format!("The provided client secret keys for app '{client_id}' are expired.");
        Self::invalid_client(7_000_222, &text)
    }

    /// Clients ask again; until then others have their turn.
    pub(super) fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "temporarily_unavailable",
            ..Self::new(90_033, "A transient error has occurred. Please try again.")
        }
    }

    pub(super) fn unknown_client(client_id: &str) -> Self {
        let text = format!("Application with identifier '{client_id}' was not found.");
        Self {
            error: "unauthorized_client",
            ..Self::new(700_016, text)
        }
    }

    pub(super) fn invalid_client(number: u32, text: &str) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            error: "invalid_client",
            ..Self::new(number, text)
        }
    }

    pub(super) fn server_error() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: "server_error",
            ..Self::new(90_000, "The token could not be signed.")
        }
    }

    pub(super) fn answer(&self, parts: &Parts, headers: &HeaderMap) -> Response {
        let given = headers
            .get("client-request-id")
            .and_then(|value| value.to_str().ok());
        let body = json!({
            "error": self.error,
            "error_description": format!("AADSTS{}: {}", self.number, self.text),
            "error_codes": [self.number],
            "timestamp": parts.clock.now().format("%Y-%m-%d %H:%M:%SZ"),
            "trace_id": parts.chance.uuid(),
            "correlation_id": given.map_or_else(|| parts.chance.uuid(), str::to_owned),
        });
        let mut response = no_store((self.status, Json(body)).into_response());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = header::HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

/// An answer that nobody on the way keeps.
pub(super) fn no_store(mut response: Response) -> Response {
    let value = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}
