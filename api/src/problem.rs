//! How each surface says no.
//!
//! Promise: below this crate nobody chooses a status; here, in one place, domain errors become the exact status and
//! body of the surface that was asked. Statuses that clients retry (408, 429, 5xx but 501) are kept for what passes.
//! Not here: the communication surfaces' own error bodies (their files), OAuth errors (`token`).
//! Source: reference management 4, event-grid 2.6.

use axum::Json;
use axum::response::{IntoResponse, Response};
use gridpost_grid::PublishError;
use gridpost_grid::manage::{Invalid, ManageError};
use gridpost_grid::subscriptions::SubscribeError;
use gridpost_model::{ResourceId, Timestamp};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::Parts;
use crate::auth::Principal;
use crate::auth::bearer::Unauthenticated;

/// A refusal in the shape of Resource Manager: `{"error":{"code","message","target","additionalInfo"}}`.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    target: Option<String>,
    /// `additionalInfo`: its type and what there is to know.
    info: Option<Box<(&'static str, Value)>>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal without more than its three parts.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            target: None,
            info: None,
            headers: Vec::new(),
        }
    }

    /// 400: something in the request is wrong.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
    }

    /// 400: this field of the request is wrong.
    pub fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Self {
            target: Some(field.to_owned()),
            ..Self::invalid_request(message)
        }
    }

    /// 400: this field asks for something that does not exist here yet.
    pub fn not_supported_field(field: &str) -> Self {
        let message =
            format!("The property '{field}' is not supported by this version of Gridpost.");
        Self::invalid_field(field, message)
    }

    /// 400: the query has no `api-version`.
    pub fn missing_api_version() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    }

    /// 401, with the hint where to sign in.
    pub fn unauthenticated(why: Unauthenticated, base: &str) -> Self {
        let code = match why {
            Unauthenticated::Missing => "AuthenticationFailed",
            Unauthenticated::Invalid => "InvalidAuthenticationToken",
            Unauthenticated::Expired => "ExpiredAuthenticationToken",
            Unauthenticated::OtherAudience => "InvalidAuthenticationTokenAudience",
        };
        let challenge = format!(
            "Bearer authorization_uri=\"{base}/adfs\", error=\"invalid_token\", \
             error_description=\"{why}\""
        );
        Self::new(StatusCode::UNAUTHORIZED, code, why.to_string())
            .with(header::WWW_AUTHENTICATE, &challenge)
    }

    /// 403: the principal may not do this.
    pub fn forbidden(principal: &Principal, action: &str, scope: &str) -> Self {
        let message = principal.may_not(action, scope);
        Self::new(StatusCode::FORBIDDEN, "AuthorizationFailed", message)
    }

    /// 404: there is no such resource.
    pub fn resource_not_found(id: &ResourceId) -> Self {
        let resource_type = id.resource_type().unwrap_or_default();
        let (name, group) = (id.name(), id.resource_group().unwrap_or_default());
        let message = format!(
            "The Resource '{resource_type}/{name}' under resource group '{group}' was not found."
        );
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
    }

    /// 404: there is no such resource group.
    pub fn group_not_found(name: &str) -> Self {
        let message = format!("Resource group '{name}' could not be found.");
        Self::new(StatusCode::NOT_FOUND, "ResourceGroupNotFound", message)
    }

    /// 404: there is no such subscription.
    pub fn subscription_not_found(id: &str) -> Self {
        let message = format!("The subscription '{id}' could not be found.");
        Self::new(StatusCode::NOT_FOUND, "SubscriptionNotFound", message)
    }

    /// 404: nothing is at this path.
    pub fn no_route(path: &str) -> Self {
        let message = format!("No HTTP resource was found that matches the request path '{path}'.");
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 501: the real service knows this, we do not yet.
    pub fn not_implemented(what: &str) -> Self {
        let message = format!("{what} is not supported by this version of Gridpost.");
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    /// 405: the resource has no such method.
    pub fn method_not_allowed(method: &http::Method) -> Self {
        let message = format!("The requested resource does not support http method '{method}'.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 413: the body is too large.
    pub fn too_large(limit: usize) -> Self {
        Self::too_much(format!(
            "The request content exceeds the maximum size of {limit} bytes."
        ))
    }

    /// 413: what the request asks for is too much.
    fn too_much(message: String) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestContentTooLarge",
            message,
        )
    }

    /// 503: the store did not take the change.
    pub fn not_stored() -> Self {
        let message = "The change could not be stored at this moment. Please retry.";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
        .with(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// `error.code`.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// Whether it says that something does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// The field that was wrong, when it was one field.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// What is wrong, and where.
    pub(crate) fn told(&self) -> String {
        match &self.target {
            Some(target) => format!("{target}: {}", self.message),
            None => self.message.clone(),
        }
    }

    fn with(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }
}

/// Soon enough for a passing shortage, late enough not to add to it. Never 0: clients read that as their default.
pub const RETRY_AFTER_SECONDS: &str = "2";

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(target) = self.target {
            error["target"] = target.into();
        }
        if let Some(info) = self.info {
            let (kind, info) = *info;
            error["additionalInfo"] = json!([{"type": kind, "info": info}]);
        }
        let mut response = (self.status, Json(json!({"error": error}))).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::invalid_field(invalid.field, invalid.message)
    }
}

impl From<ManageError> for Refusal {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::Invalid(invalid) => invalid.into(),
            ManageError::Conflict(message) => Self::new(StatusCode::CONFLICT, "Conflict", message),
            ManageError::NotFound(id) => Self::resource_not_found(&id),
            error @ ManageError::TooLarge(_) => Self::too_much(error.to_string()),
            ManageError::NotStored(error) => {
                tracing::warn!("a management change was not stored: {error}");
                Self::not_stored()
            }
        }
    }
}

impl From<SubscribeError> for Refusal {
    fn from(error: SubscribeError) -> Self {
        let message = error.to_string();
        match error {
            SubscribeError::Invalid(invalid) => invalid.into(),
            // What was said is shown to whoever asked for the subscription; its codes are void with the refusal.
            SubscribeError::HandshakeFailed { transcript, .. } => Self {
                info: serde_json::to_value(transcript)
                    .ok()
                    .map(|info| Box::new(("handshake", info))),
                ..Self::new(StatusCode::BAD_REQUEST, "Url validation", message)
            },
            SubscribeError::UnknownSource(id) => Self::resource_not_found(&id),
            SubscribeError::NotFound(_) => {
                Self::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
            }
            SubscribeError::InProgress(_) | SubscribeError::TooMany => {
                Self::new(StatusCode::CONFLICT, "Conflict", message)
            }
            SubscribeError::TooLarge(_) => Self::too_much(message),
            SubscribeError::NotStored(error) => {
                tracing::warn!("an event subscription was not stored: {error}");
                Self::not_stored()
            }
        }
    }
}

/// A refusal of the publish endpoint. Source: reference event-grid 2.6.
#[derive(Debug)]
pub struct PublishRefusal {
    /// The status.
    pub status: StatusCode,
    /// `details[0].code`.
    pub detail: &'static str,
    /// The text before the report suffix.
    pub message: String,
}

impl PublishRefusal {
    /// A refusal of its three parts.
    pub fn new(status: StatusCode, detail: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            detail,
            message: message.into(),
        }
    }

    /// The same with a sentence of ours behind the service's.
    pub(crate) fn explained(self, sentence: &str) -> Self {
        Self {
            message: format!("{} {sentence}", self.message),
            ..self
        }
    }

    /// How it is counted: `Error`, the name of the status, and `ErrorType`, the reason. Source: reference event-grid 8.1.
    pub fn cause(&self) -> (&'static str, &'static str) {
        (code_name(self.status), self.detail)
    }

    /// The answer: body, request id, supported versions, and whatever the status calls for.
    pub fn answer(&self, parts: &Parts) -> Response {
        self.answer_as(&parts.chance.uuid(), parts.clock.now())
    }

    fn answer_as(&self, request_id: &str, now: Timestamp) -> Response {
        let message = self.reported(request_id, &now.us_date());
        let body = json!({"error": {
            "code": code_name(self.status), "message": message,
            "details": [{"code": self.detail, "message": message}],
        }});
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(
            "api-supported-versions",
            HeaderValue::from_static("2018-01-01"),
        );
        if let Ok(request_id) = HeaderValue::from_str(request_id) {
            headers.insert("x-ms-request-id", request_id);
        }
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("OPTIONS, POST"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                let value = HeaderValue::from_static(RETRY_AFTER_SECONDS);
                headers.insert(header::RETRY_AFTER, value);
            }
            _ => (),
        }
        response
    }

    fn reported(&self, request_id: &str, now: &str) -> String {
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            return self.message.clone();
        }
        format!(
            "{} Report '{request_id}:{now} (UTC)' to our forums for assistance or raise a support ticket.",
            self.message
        )
    }
}

impl From<&PublishError> for PublishRefusal {
    fn from(error: &PublishError) -> Self {
        match error {
            PublishError::TooLarge(error) => {
                let message = format!(
                    "The events are too many for the event subscriptions that want them: {error}. Publish fewer at once."
                );
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
            }
            PublishError::NotStored(error) => {
                // The store tells of a full disk once; this would be a line for each batch.
                tracing::debug!("a batch was not stored: {error}");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ServiceUnavailable",
                    "The events could not be stored at this moment. Please retry.",
                )
            }
        }
    }
}

/// The name that .NET gives a status.
fn code_name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::REQUEST_TIMEOUT => "RequestTimeout",
        StatusCode::PAYLOAD_TOO_LARGE => "RequestEntityTooLarge",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "UnsupportedMediaType",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        _ => "InternalServerError",
    }
}

#[cfg(test)]
mod tests {
    use gridpost_store::StoreError;

    use super::*;

    async fn body(response: Response) -> Value {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        serde_json::from_slice(&bytes.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn event_grid_2_6_a_refusal_reads_as_the_recorded_one() {
        let now: Timestamp = "2021-03-10T21:02:56Z".parse().unwrap();
        let refusal = PublishRefusal::new(StatusCode::NOT_FOUND, "ResourceNotFound", "Nothing.");
        let response = refusal.answer_as("f88d9de5-ff62-46d4-8484-8f14028eb884", now);
        assert_eq!(
            response.headers()["x-ms-request-id"],
            "f88d9de5-ff62-46d4-8484-8f14028eb884"
        );
        let text = "Nothing. Report 'f88d9de5-ff62-46d4-8484-8f14028eb884:3/10/2021 9:02:56 PM (UTC)' to our forums for assistance or raise a support ticket.";
        assert_eq!(
            body(response).await,
            json!({"error": {
                "code": "NotFound", "message": text,
                "details": [{"code": "ResourceNotFound", "message": text}],
            }})
        );
    }

    #[tokio::test]
    async fn section_2_6_what_is_too_large_to_be_stored_is_413_and_asks_for_no_retry() {
        let error = StoreError::TooLarge {
            size_bytes: 9,
            limit_bytes: 8,
        };
        let publish = PublishError::from(error);
        let refused = PublishRefusal::from(&publish).answer_as("1", Timestamp::EPOCH);
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(!refused.headers().contains_key(header::RETRY_AFTER));
        let body = body(refused).await;
        assert_eq!(body["error"]["code"], "RequestEntityTooLarge");
        assert_eq!(body["error"]["details"][0]["code"], "PayloadTooLarge");
    }

    #[tokio::test]
    async fn a_change_that_is_never_stored_is_not_to_be_retried() {
        let too_large = || StoreError::TooLarge {
            size_bytes: 9,
            limit_bytes: 8,
        };
        for refusal in [
            Refusal::from(ManageError::from(too_large())),
            Refusal::from(SubscribeError::from(too_large())),
        ] {
            let refused = refusal.into_response();
            assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert!(!refused.headers().contains_key(header::RETRY_AFTER));
            let error = body(refused).await["error"].take();
            assert_eq!(error["code"], "RequestContentTooLarge");
            assert!(error["message"].as_str().unwrap().contains("9 bytes"));
        }
    }

    #[tokio::test]
    async fn what_could_not_be_stored_may_be_retried_soon_and_not_at_once() {
        for error in [StoreError::NoSpace, StoreError::Busy] {
            let publish = PublishError::NotStored(error.clone());
            let refused = PublishRefusal::from(&publish).answer_as("1", Timestamp::EPOCH);
            let managed = Refusal::from(ManageError::NotStored(error)).into_response();
            for response in [refused, managed] {
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(response.headers()[header::RETRY_AFTER], "2");
                assert_eq!(body(response).await["error"]["code"], "ServiceUnavailable");
            }
        }
    }
}
