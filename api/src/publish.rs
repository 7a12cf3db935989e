//! Publishing events to a custom topic or a domain.
//!
//! Promise: 200 with an empty body means that the whole batch is kept; any other answer means that none of it is.
//! Checks happen in the order of the reference: path, network, credential, size, media type, shape, each event.
//! Not here: credentials (`publish::credential`), how a body is read (`publish::body`), what follows a publish (`grid`).
//! Source: reference event-grid 2.1 to 2.8.

use std::error::Error;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_grid::Grid;
use gridpost_grid::intake::{Intake, IntakeKind};
use gridpost_model::InputSchema;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request};
use http_body_util::LengthLimitError;

use self::account::Account;
use self::body::Reading;
use self::credential::authenticate;
use self::route::Route;
use crate::body::is_late;
use crate::origin::Caller;
use crate::problem::PublishRefusal;
use crate::{Parts, origin};

mod account;
mod body;
mod credential;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod route;

pub use body::Limits;

const SUPPORTED_VERSIONS: HeaderName = HeaderName::from_static("api-supported-versions");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// The paths of the publish endpoint, for the list of all.
pub(crate) const PATHS: [&str; 3] = [
    "/topics/{name}/api/events",
    "/domains/{name}/api/events",
    "/api/events",
];

/// Whether the request is for the publish endpoint of a topic or a domain.
pub fn is_for_us(request: &Request) -> bool {
    Door::of(request.uri(), request.headers()).is_some()
}

/// Answers a request to the publish endpoint.
pub async fn answer(parts: &Parts, request: Request) -> Response {
    let mut account = Account::open(parts, &request);
    let done = handle(parts, request, &mut account).await;
    account.close(parts, done)
}

async fn handle(
    parts: &Parts,
    request: Request,
    account: &mut Account,
) -> Result<Response, PublishRefusal> {
    let (head, body) = request.into_parts();
    match head.method {
        Method::POST | Method::OPTIONS => (),
        Method::HEAD => return Err(not_found(parts, &head)),
        _ => return Err(method_not_allowed(&head.method)),
    }
    let intake = Door::of(&head.uri, &head.headers)
        .and_then(|door| door.intake(&parts.grid))
        .map(|intake| account.is_for(intake))
        .ok_or_else(|| not_found(parts, &head))?;
    admit(parts, &intake, &head)?;
    authenticate(parts, &intake, &head)?;
    if head.method == Method::OPTIONS {
        return Ok(schema_probe(parts, &intake.input));
    }
    check_encoding(&head.headers)?;
    let limits = &parts.publish_limits;
    let body = read_body(&head.headers, body, limits.body_bytes).await?;
    let reading = Reading {
        headers: &head.headers,
        route: &Route::of(&intake),
        limits,
        now: parts.clock.now(),
        chance: &*parts.chance,
    };
    let mut events = reading.events(&intake.input, &body)?;
    account.carries(parts, &mut events);
    parts
        .grid
        .publish(&intake, events)
        .await
        .map_err(|error| PublishRefusal::from(&error))?;
    Ok(accepted(parts))
}

/// What a request's address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door<'a> {
    /// `/topics/{name}/api/events` or `/domains/{name}/api/events`.
    Path(IntakeKind, &'a str),
    /// `/api/events` at a host whose first label is the name of either.
    Host(&'a str),
}

impl<'a> Door<'a> {
    /// Words compare without case; doubled and final slashes do not count.
    fn of(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Self> {
        let mut segments = uri.path().split('/').filter(|one| !one.is_empty());
        let first = segments.next()?;
        let kind = if first.eq_ignore_ascii_case("topics") {
            Some(IntakeKind::Topic)
        } else if first.eq_ignore_ascii_case("domains") {
            Some(IntakeKind::Domain)
        } else {
            None
        };
        let (named, api) = match kind {
            Some(kind) => (Some((kind, segments.next()?)), segments.next()?),
            None => (None, first),
        };
        let is_endpoint = api.eq_ignore_ascii_case("api")
            && segments.next()?.eq_ignore_ascii_case("events")
            && segments.next().is_none();
        if !is_endpoint {
            return None;
        }
        if let Some((kind, name)) = named {
            return Some(Self::Path(kind, name));
        }
        let (label, _) = origin::host(uri, headers)?.split_once('.')?;
        Some(Self::Host(label))
    }

    /// Topics and domains share their host names, and topics are asked first.
    fn intake(self, grid: &Grid) -> Option<Arc<Intake>> {
        match self {
            Self::Path(kind, name) => grid.intake(kind, name),
            Self::Host(name) => grid
                .intake(IntakeKind::Topic, name)
                .or_else(|| grid.intake(IntakeKind::Domain, name)),
        }
    }
}

/// Whether the network that the request comes from may publish. Nothing is asked where nothing is restricted.
fn admit(parts: &Parts, intake: &Intake, head: &request::Parts) -> Result<(), PublishRefusal> {
    let access = &intake.access;
    if access.public_network && access.inbound_ip_rules.is_empty() {
        return Ok(());
    }
    let caller = head.extensions.get::<Caller>();
    let address = caller.map(|caller| caller.address.to_canonical());
    if address.is_some_and(|address| access.admits(address)) {
        return Ok(());
    }
    let client = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    Err(PublishRefusal::new(
        StatusCode::FORBIDDEN,
        "ClientIPRejected",
        format!(
            "Publishing to {} by client {client} is rejected due to IpAddress filtering rules.",
            host_name(parts, head)
        ),
    ))
}

async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, PublishRefusal> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if declared.is_some_and(|size| size > limit as u64) {
        return Err(body::words::too_large(limit));
    }
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let source = error.source();
        let is_size = source.and_then(|source| source.downcast_ref::<LengthLimitError>());
        if is_size.is_some() {
            return body::words::too_large(limit);
        }
        if is_late(&error) {
            return PublishRefusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeout",
                "The body of the request did not arrive in time.",
            );
        }
        PublishRefusal::new(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "The body of the request is malformed or was cut short.",
        )
    })
}

/// Bodies are taken as they are: a compressed one would only look like broken JSON.
fn check_encoding(headers: &HeaderMap) -> Result<(), PublishRefusal> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut encodings = encodings.map(|value| value.to_str().unwrap_or_default().trim());
    match encodings
        .find(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"))
    {
        None => Ok(()),
        Some(encoding) => Err(PublishRefusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!("The Content-Encoding '{encoding}' is not supported. Send the body as it is."),
        )),
    }
}

fn accepted(parts: &Parts) -> Response {
    let mut response = StatusCode::OK.into_response();
    put_service_headers(parts, response.headers_mut());
    response
}

/// Tells a publisher which schema the topic or domain wants. Source: reference event-grid 2.1.
fn schema_probe(parts: &Parts, input: &InputSchema) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    put_service_headers(parts, headers);
    headers.insert(header::ALLOW, HeaderValue::from_static("POST,OPTIONS"));
    let schema = match input {
        InputSchema::EventGrid => "EventGridEvent",
        InputSchema::CloudEvents => "CloudEventV10",
        InputSchema::Custom(_) => "CustomInputEvent",
    };
    headers.insert("aeg-input-event-schema", HeaderValue::from_static(schema));
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

/// The refusal of a path where nothing is; also for the paths that no surface knows.
pub(crate) fn not_found(parts: &Parts, head: &request::Parts) -> PublishRefusal {
    // Over HTTP/2 the target names the host, too.
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = format!("{}{path}", origin::base_url(parts, head));
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
    fn section_2_1_the_path_is_matched_loosely() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::HOST,
            HeaderValue::from_static("t2.grid.localhost:8480"),
        );
        let topic = |name| Some(Door::Path(IntakeKind::Topic, name));
        let table = [
            ("/topics/t1/api/events", topic("t1")),
            ("/TOPICS/T1/API/Events/", topic("T1")),
            ("//topics//t1/api/events", topic("t1")),
            (
                "/Domains/d1/api/events",
                Some(Door::Path(IntakeKind::Domain, "d1")),
            ),
            ("/api/events", Some(Door::Host("t2"))),
            ("/topics/t1/api/event", None),
            ("/topics/t1/api/events/x", None),
            ("/topics/t1:publish", None),
            ("/domains/api/events", None),
            ("/", None),
        ];
        for (path, door) in table {
            assert_eq!(Door::of(&path.parse().unwrap(), &headers), door, "{path}");
        }
    }

    #[test]
    fn a_compressed_body_is_refused_in_words() {
        let of = |encoding| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            check_encoding(&headers)
        };
        assert!(check_encoding(&HeaderMap::new()).is_ok());
        assert!(of("identity").is_ok());
        let refusal = of("gzip").unwrap_err();
        assert_eq!(refusal.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(refusal.message.contains("'gzip'"), "{}", refusal.message);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_408_a_broken_one_400_and_one_that_is_too_long_413() {
        let late = futures_util::stream::once(async {
            Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::TimedOut))
        });
        let none = HeaderMap::new();
        let refusal = read_body(&none, Body::from_stream(late), 10)
            .await
            .unwrap_err();
        assert_eq!(refusal.status, StatusCode::REQUEST_TIMEOUT);
        let broken = futures_util::stream::once(async {
            Err::<Bytes, _>(std::io::Error::other("invalid chunk size"))
        });
        let refusal = read_body(&none, Body::from_stream(broken), 10)
            .await
            .unwrap_err();
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        let refusal = read_body(&none, Body::from("12345678901"), 10)
            .await
            .unwrap_err();
        assert_eq!(refusal.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(refusal.message, "The maximum size (10) has been exceeded.");
        let whole = read_body(&none, Body::from("1234567890"), 10)
            .await
            .unwrap();
        assert_eq!(whole, "1234567890");
    }
}
