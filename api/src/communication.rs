//! What all surfaces of communication services have in common.
//!
//! Promise: a handler is given a [`Call`] only when its caller proved to act for a communication resource; refusals
//! look as these services write them; a client that asks for its request id back gets it.
//! Not here: how a signature is checked (`auth::hmac`), what the calls do (`comms`).
//! Source: reference communication-services 1, 3, 4.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gridpost_comms::CommunicationService;
use gridpost_model::{KeyPair, Plane};
use http::request::Parts as Head;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::auth::hmac::{self, Denied, SignedRequest, Signer};
use crate::auth::{allow, bearer};
use crate::body::{self, Fault};
use crate::object::Object;
use crate::path::RawTarget;
use crate::problem::RETRY_AFTER_SECONDS;
use crate::version::api_version;
use crate::{Parts, Shared};

/// How large a body is at most. The largest valid one, 100 recipients and 2,048 characters of text, has some 30 KB.
const BODY_LIMIT: usize = 1 << 20;

/// What a principal needs to be allowed to do.
const ACTION: &str = "Microsoft.Communication/communicationServices/write";

/// One call, its caller known.
#[derive(Debug)]
pub struct Call {
    /// The resource it is made for.
    pub resource: Arc<CommunicationService>,
    /// The whole body.
    pub body: Bytes,
}

impl Call {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is not what is expected.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        read_json(&self.body)
    }
}

/// A body as a JSON object.
pub(crate) fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map(|Object(read)| read)
        .map_err(|error| Refusal::bad_request(format!("The request body is invalid: {error}.")))
}

/// The same, where no body and `null` stand for an object without fields.
pub(crate) fn read_json_or_default<T: DeserializeOwned + Default>(
    body: &[u8],
) -> Result<T, Refusal> {
    match body.trim_ascii() {
        b"" | b"null" => Ok(T::default()),
        body => read_json(body),
    }
}

/// A body to its end, unless it is too large.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    body::whole(body, BODY_LIMIT)
        .await
        .map_err(|fault| match fault {
            Fault::TooLarge => Refusal::too_large("The request body is larger than 1 MiB."),
            Fault::Late => Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeout",
                "The request body did not arrive in time.",
            ),
            Fault::Broken => {
                Refusal::bad_request("The request body is malformed or was cut short.")
            }
        })
}

impl FromRequest<Shared> for Call {
    type Rejection = Refusal;

    async fn from_request(request: Request, parts: &Shared) -> Result<Self, Refusal> {
        let (head, body) = request.into_parts();
        let body = read_body(body).await?;
        let resource = caller(parts, &head, &body)?;
        check_version(&head)?;
        Ok(Self { resource, body })
    }
}

/// The resource for which a request is made: the one whose key signed it, or the one its token may act for.
fn caller(parts: &Parts, head: &Head, body: &[u8]) -> Result<Arc<CommunicationService>, Refusal> {
    if hmac::is_signed(&head.headers) {
        return signer(parts, head, body);
    }
    let principal = match bearer::authenticate(parts, head, bearer::Audience::Communication) {
        Ok(principal) => principal,
        Err(bearer::Unauthenticated::Missing) => return Err(Denied::NoCredential.into()),
        Err(error) => return Err(Refusal::denied(error.to_string())),
    };
    let resource = resource_dialled(parts, head)?;
    let scope = resource.id.as_str();
    if allow(parts, &principal, Plane::Management, ACTION, scope) {
        Ok(resource)
    } else {
        let message = format!(
            "The client '{}' may not act for this resource.",
            principal.client_id
        );
        Err(Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message))
    }
}

fn signer(parts: &Parts, head: &Head, body: &[u8]) -> Result<Arc<CommunicationService>, Refusal> {
    let target = head
        .extensions
        .get::<RawTarget>()
        .map_or(&head.uri, |raw| &raw.0);
    let request = SignedRequest {
        method: head.method.as_str(),
        target: target
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str),
        host: host(head),
        headers: &head.headers,
        body,
    };
    let signers = parts.comms.all_resources();
    let found = hmac::verify(&request, &parts.host_names, &signers, parts.clock.wall())?;
    if found.disable_local_auth {
        return Err(Refusal::denied(
            "Access keys are disabled for this resource.",
        ));
    }
    Ok(Arc::clone(found))
}

/// A token names no resource, so the host does, where every resource has its own; a lone resource needs no name.
fn resource_dialled(parts: &Parts, head: &Head) -> Result<Arc<CommunicationService>, Refusal> {
    let host = host(head);
    let all = parts.comms.all_resources();
    let mut fitting = all
        .iter()
        .filter(|one| one.host_name.eq_ignore_ascii_case(host));
    match (&*all, fitting.next(), fitting.next()) {
        ([only], ..) | (_, Some(only), None) => Ok(Arc::clone(only)),
        _ => Err(Refusal::denied(
            "The host name does not tell which communication resource is meant. Use an access key.",
        )),
    }
}

fn host(head: &Head) -> &str {
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let header = || {
        head.headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok())
    };
    authority.or_else(header).unwrap_or_default()
}

impl Signer for Arc<CommunicationService> {
    fn keys(&self) -> &KeyPair {
        &self.keys
    }

    fn host_name(&self) -> &str {
        &self.host_name
    }
}

/// Any date will do: clients pin versions old and new.
pub(crate) fn check_version(head: &Head) -> Result<(), Refusal> {
    match api_version(head.uri.query()) {
        None => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "ApiVersionUnspecified",
            "An API version is required, but was not specified.",
        )),
        Some(version) if is_dated(version) => Ok(()),
        Some(version) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidApiVersion",
            format!("'{version}' is not an API version. Expected a date, such as '2021-03-07'."),
        )),
    }
}

/// `YYYY-MM-DD`, or that and `-suffix`.
fn is_dated(version: &str) -> bool {
    let (date, suffix) = version.split_at_checked(10).unwrap_or((version, ""));
    let is_date = date.len() == 10
        && date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_date && (suffix.is_empty() || (suffix.len() > 1 && suffix.starts_with('-')))
}

/// A refusal as communication services write it.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// How long the client should wait before it asks again.
    wait: Option<Duration>,
}

impl Refusal {
    /// A refusal of its three parts.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            wait: None,
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// 400: something in the request is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 413: trying again does not help.
    pub fn too_large(message: impl Into<String>) -> Self {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Self::new(status, "RequestEntityTooLarge", message)
    }

    /// 401: the credential is missing or wrong.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Denied", message)
    }

    /// 429: the next call passes after so long.
    pub fn too_often(wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                "Rate limit exceeded.",
            )
        }
    }

    /// 503: the store did not take the change; clients try again by themselves.
    pub fn not_stored(error: &(dyn std::error::Error + 'static)) -> Self {
        // The store tells of a full disk once; this would be a line for each call.
        tracing::debug!(error, "a call could not be stored");
        let message = "The request could not be stored at this moment. Please retry.";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::denied(denied.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if self.code == "ApiVersionUnspecified" {
            // Written out as the service does; everywhere else the key is absent.
            error["innerError"] = serde_json::Value::Null;
        }
        let mut response = (self.status, Json(json!({"error": error}))).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                // Users have tokens, resources have keys.
                let scheme = if self.code == "Unauthorized" {
                    "Bearer"
                } else {
                    "HMAC-SHA256"
                };
                let scheme = HeaderValue::from_static(scheme);
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = HeaderValue::from_static(RETRY_AFTER_SECONDS);
                headers.insert(header::RETRY_AFTER, seconds);
            }
            _ => (),
        }
        if let Some(wait) = self.wait {
            // Whole seconds, of which clients wait each.
            let seconds = wait.as_secs() + u64::from(0 < wait.subsec_nanos());
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// `{"value":[…]}`, the shape of most answers.
#[derive(Debug, Serialize)]
pub struct Value<T> {
    /// The items.
    pub value: Vec<T>,
}

/// A layer that gives a client its request id back when it asks for it.
pub async fn echo_request_id(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let wants_it = headers
        .get("x-ms-return-client-request-id")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let id = headers
        .get("x-ms-client-request-id")
        .filter(|_| wants_it)
        .cloned();
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert("x-ms-client-request-id", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_dates_with_or_without_a_suffix() {
        for version in ["2021-03-07", "2020-07-20-preview1", "2024-12-10-preview"] {
            assert!(is_dated(version), "{version}");
        }
        for version in [
            "",
            "1.0",
            "2021-3-7",
            "2021-03-07-",
            "2021-03-07x",
            "2021_03_07",
            "äöüäöüäöü",
        ] {
            assert!(!is_dated(version), "{version}");
        }
    }

    #[tokio::test]
    async fn a_missing_version_is_refused_in_the_services_words() {
        let head = http::Request::get("/sms").body(()).unwrap().into_parts().0;
        let response = check_version(&head).unwrap_err().into_response();
        assert_eq!(response.status(), 400);
        let body = axum::body::to_bytes(response.into_body(), 1 << 10)
            .await
            .unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            json!({"error": {"code": "ApiVersionUnspecified", "innerError": null,
                "message": "An API version is required, but was not specified."}})
        );
    }
}
