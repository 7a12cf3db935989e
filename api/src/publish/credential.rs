//! What publishers prove who they are with.
//!
//! Promise: the first credential found decides, and keys open nothing where local authentication is disabled.
//! Not here: how a signature (`auth::sas`) or a token (`auth::bearer`) is checked.
//! Source: reference event-grid 2.3 to 2.6.

use gridpost_grid::intake::Intake;
use gridpost_model::Secret;
use http::{HeaderName, StatusCode, header, request};

use super::host_name;
use crate::auth::sas::{self, SasError};
use crate::auth::{allow, bearer};
use crate::problem::PublishRefusal;
use crate::{Parts, origin};

const SAS_KEY: HeaderName = HeaderName::from_static("aeg-sas-key");
const SAS_TOKEN: HeaderName = HeaderName::from_static("aeg-sas-token");

/// Header, then token, then bearer, then query: the first credential found decides.
pub(super) fn authenticate(
    parts: &Parts,
    intake: &Intake,
    head: &request::Parts,
) -> Result<(), PublishRefusal> {
    if let Some(key) = head.headers.get(&SAS_KEY) {
        return check_key(parts, intake, head, key.to_str().unwrap_or_default());
    }
    if let Some(token) = head.headers.get(&SAS_TOKEN) {
        return check_sas(parts, intake, head, token.to_str().unwrap_or_default());
    }
    if let Some(value) = head.headers.get(header::AUTHORIZATION) {
        return check_authorization(parts, intake, head, value.to_str().unwrap_or_default());
    }
    match key_in_query(head.uri.query()) {
        Some(key) => check_key(parts, intake, head, key),
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
    intake: &Intake,
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
    require_local_auth(parts, intake, head)?;
    if intake.keys.accepts(&Secret::new(key)) {
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
    intake: &Intake,
    head: &request::Parts,
) -> Result<(), PublishRefusal> {
    if !intake.disable_local_auth {
        return Ok(());
    }
    Err(unauthorized(format!(
        "The request authorization key is not authorized for {}. This is due to the reason: Local authentication is disabled for this resource.",
        host_name(parts, head),
    )))
}

fn check_sas(
    parts: &Parts,
    intake: &Intake,
    head: &request::Parts,
    token: &str,
) -> Result<(), PublishRefusal> {
    require_local_auth(parts, intake, head)?;
    let endpoint = sas::Endpoint {
        hosts: [&origin::base_url(parts, head), &parts.base_url],
        path: head.uri.path(),
    };
    sas::verify(token, &intake.keys, &endpoint, parts.clock.now()).map_err(|error| match error {
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
    intake: &Intake,
    head: &request::Parts,
    value: &str,
) -> Result<(), PublishRefusal> {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("SharedAccessSignature") => {
            check_sas(parts, intake, head, token.trim())
        }
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("Bearer") => {
            let principal = bearer::authenticate(parts, &head.headers)
                .map_err(|_| unauthorized("Unable to read access token."))?;
            let may = allow(
                &principal,
                "Microsoft.EventGrid/events/send/action",
                intake.id.as_str(),
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

fn unauthorized(message: impl Into<String>) -> PublishRefusal {
    PublishRefusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_query_is_taken_as_it_stands() {
        let query = Some("api-version=2018-01-01&aeg-sas-key=a+b/c==");
        assert_eq!(key_in_query(query), Some("a+b/c=="));
    }
}
