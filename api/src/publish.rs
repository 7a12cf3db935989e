//! Publishing events to a custom topic.
//!
//! Promise: 200 with an empty body means that the whole batch is kept; any other answer means that none of it is.
//! Checks happen in the order of the reference: path, credential, size, shape, each event.
//! Not here: how a body is read (`publish::body`), what follows a publish (`grid`).
//! Source: reference event-grid 2.1 to 2.7.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_grid::intake::{Intake, IntakeKind};
use gridpost_model::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request};

use crate::auth::sas::{self, SasError};
use crate::auth::{allow, bearer};
use crate::problem::PublishRefusal;
use crate::{Parts, origin};

mod body;

/// The limit of a whole body, as the real service has it.
const MAX_BODY_BYTES: usize = 1_536_000;

const SAS_KEY: HeaderName = HeaderName::from_static("aeg-sas-key");
const SAS_TOKEN: HeaderName = HeaderName::from_static("aeg-sas-token");
const SUPPORTED_VERSIONS: HeaderName = HeaderName::from_static("api-supported-versions");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// Whether the request is for the publish endpoint of a topic.
pub fn is_for_us(request: &Request) -> bool {
    topic_name(request.uri(), request.headers()).is_some()
}

/// Answers a request to the publish endpoint.
pub async fn answer(parts: &Parts, request: Request) -> Response {
    match handle(parts, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(parts),
    }
}

async fn handle(parts: &Parts, request: Request) -> Result<Response, PublishRefusal> {
    let (head, body) = request.into_parts();
    match head.method {
        Method::POST | Method::OPTIONS => (),
        Method::HEAD => return Err(not_found(parts, &head)),
        _ => return Err(method_not_allowed(&head.method)),
    }
    let topic = topic_name(&head.uri, &head.headers)
        .and_then(|name| parts.grid.intake(IntakeKind::Topic, name))
        .ok_or_else(|| not_found(parts, &head))?;
    authenticate(parts, &topic, &head)?;
    if head.method == Method::OPTIONS {
        return Ok(schema_probe(parts));
    }
    let body = read_body(&head.headers, body).await?;
    let events = body::read(&body, &topic.id, parts.clock.now())?;
    parts
        .grid
        .publish(&topic, events)
        .await
        .map_err(|error| PublishRefusal::from(&error))?;
    Ok(accepted(parts))
}

/// The topic's name: `/topics/{name}/api/events`, or the first label of the host on `/api/events`.
/// Words compare without case; doubled and final slashes do not count.
fn topic_name<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut segments = uri.path().split('/').filter(|one| !one.is_empty());
    let first = segments.next()?;
    let name = first
        .eq_ignore_ascii_case("topics")
        .then(|| segments.next());
    let api = if name.is_some() {
        segments.next()?
    } else {
        first
    };
    let is_endpoint = api.eq_ignore_ascii_case("api")
        && segments.next()?.eq_ignore_ascii_case("events")
        && segments.next().is_none();
    if !is_endpoint {
        return None;
    }
    match name {
        Some(name) => name,
        None => origin::host(uri, headers)?
            .split_once('.')
            .map(|(label, _)| label),
    }
}

/// Header, then token, then bearer, then query: the first credential found decides.
fn authenticate(parts: &Parts, topic: &Intake, head: &request::Parts) -> Result<(), PublishRefusal> {
    if let Some(key) = head.headers.get(&SAS_KEY) {
        return check_key(parts, topic, head, key.to_str().unwrap_or_default());
    }
    if let Some(token) = head.headers.get(&SAS_TOKEN) {
        return check_sas(parts, topic, head, token.to_str().unwrap_or_default());
    }
    if let Some(value) = head.headers.get(header::AUTHORIZATION) {
        return check_authorization(parts, topic, head, value.to_str().unwrap_or_default());
    }
    match key_in_query(head.uri.query()) {
        Some(key) => check_key(parts, topic, head, key),
        None => Err(unauthorized(
            "Request must contain one of the following authorization signature: aeg-sas-token, aeg-sas-key.",
        )),
    }
}

/// The value is not URL-encoded by those who write it by hand, so it is taken as it stands.
fn key_in_query(query: Option<&str>) -> Option<&str> {
    query?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("aeg-sas-key"))
        .map(|(_, value)| value)
}

fn check_key(
    parts: &Parts,
    topic: &Intake,
    head: &request::Parts,
    key: &str,
) -> Result<(), PublishRefusal> {
    if key.is_empty() {
        let message = "Request must have a value for aeg-sas-key.";
        return Err(PublishRefusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidSas",
            message,
        ));
    }
    require_local_auth(parts, topic, head)?;
    if topic.keys.accepts(&Secret::new(key)) {
        return Ok(());
    }
    Err(unauthorized(format!(
        "The request authorization key is not authorized for {}. This is due to the reason: {}",
        host_name(parts, head),
        sas::what_is_wrong_with_key(key),
    )))
}

fn require_local_auth(
    parts: &Parts,
    topic: &Intake,
    head: &request::Parts,
) -> Result<(), PublishRefusal> {
    if !topic.disable_local_auth {
        return Ok(());
    }
    Err(unauthorized(format!(
        "The request authorization key is not authorized for {}. This is due to the reason: Local authentication is disabled for this resource.",
        host_name(parts, head),
    )))
}

fn check_sas(
    parts: &Parts,
    topic: &Intake,
    head: &request::Parts,
    token: &str,
) -> Result<(), PublishRefusal> {
    require_local_auth(parts, topic, head)?;
    let endpoint = sas::Endpoint {
        hosts: [&origin::base_url(parts, head), &parts.base_url],
        path: head.uri.path(),
    };
    sas::verify(token, &topic.keys, &endpoint, parts.clock.now()).map_err(|error| match error {
        SasError::Malformed => PublishRefusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidSas",
            "Invalid key in aeg-sas-token. Valid format :r=UrlEncodedResource&e=UrlEncodedUtcExpiration&s=UrlEncodedSignature.",
        ),
        SasError::Expired => unauthorized(format!(
            "The specified SAS token has expired for topic '{}'.",
            host_name(parts, head)
        )),
        SasError::Wrong => unauthorized(format!(
            "The specified SAS token is not authorized for {}.",
            host_name(parts, head)
        )),
    })
}

fn check_authorization(
    parts: &Parts,
    topic: &Intake,
    head: &request::Parts,
    value: &str,
) -> Result<(), PublishRefusal> {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("SharedAccessSignature") => {
            check_sas(parts, topic, head, token.trim())
        }
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("Bearer") => {
            let principal = bearer::authenticate(parts, &head.headers)
                .map_err(|_| unauthorized("Unable to read access token."))?;
            let may = allow(
                &principal,
                "Microsoft.EventGrid/events/send/action",
                topic.id.as_str(),
            );
            if may {
                Ok(())
            } else {
                Err(unauthorized("The principal may not send events."))
            }
        }
        _ => Err(unauthorized(
            "Request has an unsupported Authorization scheme (must be SharedAccessSignature or Bearer).",
        )),
    }
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, PublishRefusal> {
    let too_large = || body::too_large(MAX_BODY_BYTES);
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if declared
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|n| n > MAX_BODY_BYTES as u64)
    {
        return Err(too_large());
    }
    axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| too_large())
}

fn accepted(parts: &Parts) -> Response {
    let mut response = StatusCode::OK.into_response();
    put_service_headers(parts, response.headers_mut());
    response
}

/// Tells a publisher which schema the topic wants. Source: reference event-grid 2.1.
fn schema_probe(parts: &Parts) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    put_service_headers(parts, headers);
    headers.insert(header::ALLOW, HeaderValue::from_static("POST,OPTIONS"));
    headers.insert(
        "aeg-input-event-schema",
        HeaderValue::from_static("EventGridEvent"),
    );
    let hsts = HeaderValue::from_static("max-age=31536000; includeSubDomains");
    headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    response
}

fn put_service_headers(parts: &Parts, headers: &mut HeaderMap) {
    headers.insert(SUPPORTED_VERSIONS, HeaderValue::from_static("2018-01-01"));
    if let Ok(request_id) = HeaderValue::from_maybe_shared(Bytes::from(parts.chance.uuid())) {
        headers.insert(REQUEST_ID, request_id);
    }
}

fn unauthorized(message: impl Into<String>) -> PublishRefusal {
    PublishRefusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

/// The refusal of a path where nothing is; also for the paths that no surface knows.
pub(crate) fn not_found(parts: &Parts, head: &request::Parts) -> PublishRefusal {
    let uri = format!("{}{}", origin::base_url(parts, head), head.uri);
    PublishRefusal::new(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        format!("No HTTP resource was found that matches the request URI '{uri}'."),
    )
}

fn method_not_allowed(method: &Method) -> PublishRefusal {
    let message = format!("The requested resource does not support http method '{method}'.");
    PublishRefusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
}

fn host_name(parts: &Parts, head: &request::Parts) -> String {
    let base = origin::base_url(parts, head);
    let host = base
        .split_once("://")
        .map_or(base.as_str(), |(_, host)| host);
    host.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_grid_2_1_the_path_is_matched_loosely() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::HOST,
            HeaderValue::from_static("t2.grid.localhost:8480"),
        );
        let table = [
            ("/topics/t1/api/events", Some("t1")),
            ("/TOPICS/T1/API/Events/", Some("T1")),
            ("//topics//t1/api/events", Some("t1")),
            ("/api/events", Some("t2")),
            ("/topics/t1/api/event", None),
            ("/topics/t1/api/events/x", None),
            ("/topics/t1:publish", None),
            ("/", None),
        ];
        for (path, name) in table {
            assert_eq!(topic_name(&path.parse().unwrap(), &headers), name, "{path}");
        }
    }

    #[test]
    fn a_key_in_the_query_is_taken_as_it_stands() {
        let query = Some("api-version=2018-01-01&aeg-sas-key=a+b/c==");
        assert_eq!(key_in_query(query), Some("a+b/c=="));
    }
}
