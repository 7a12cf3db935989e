//! What publishers prove who they are with.
//!
//! Promise: the first credential found decides, and keys open nothing where local authentication is disabled.
//! Not here: how a signature (`auth::sas`) or a token (`auth::bearer`) is checked.
//! Source: reference event-grid 2.3 to 2.6.

use std::borrow::Cow;

use gridpost_grid::intake::Intake;
use gridpost_model::{Plane, Secret};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request};
use percent_encoding::percent_decode_str;

use super::host_name;
use crate::auth::allow;
use crate::auth::bearer::{self, Audience, Unauthenticated};
use crate::auth::sas::{self, SasError};
use crate::problem::PublishRefusal;
use crate::{Parts, origin};

const SAS_KEY: HeaderName = HeaderName::from_static("aeg-sas-key");
const SAS_TOKEN: HeaderName = HeaderName::from_static("aeg-sas-token");

/// What a request shows, and nothing is known of yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// One of the keys, or so it says.
    Key(Cow<'a, str>),
    /// A signature by one of the keys.
    Signature(&'a str),
    /// A bearer token.
    Bearer,
    /// `Authorization` of some other kind.
    Unsupported,
}

impl<'a> Credential<'a> {
    /// Key, then signature, then `Authorization`, then query: the first credential found decides.
    pub(super) fn of(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Self> {
        let text = |value: &'a HeaderValue| value.to_str().unwrap_or_default();
        if let Some(key) = headers.get(&SAS_KEY) {
            return Some(Self::Key(text(key).into()));
        }
        if let Some(token) = headers.get(&SAS_TOKEN) {
            return Some(Self::Signature(text(token)));
        }
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            return Some(Self::in_authorization(text(value)));
        }
        key_in_query(uri.query()).map(Self::Key)
    }

    fn in_authorization(value: &'a str) -> Self {
        match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("SharedAccessSignature") => {
                Self::Signature(token.trim())
            }
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("Bearer") => Self::Bearer,
            _ => Self::Unsupported,
        }
    }
}

/// Lets a publisher in, or says why not.
pub(super) fn authenticate(
    parts: &Parts,
    intake: &Intake,
    head: &request::Parts,
) -> Result<(), PublishRefusal> {
    match Credential::of(&head.uri, &head.headers) {
        Some(Credential::Key(key)) => check_key(parts, intake, head, &key),
        Some(Credential::Signature(token)) => check_sas(parts, intake, head, token),
        Some(Credential::Bearer) => check_bearer(parts, intake, head),
        Some(Credential::Unsupported) => Err(unauthorized(
            "Request has an unsupported Authorization scheme (must be SharedAccessSignature or Bearer).",
        )),
        None => Err(unauthorized(
            "Request must contain one of the following authorization signature: aeg-sas-token, aeg-sas-key.",
        )),
    }
}

/// Libraries escape the value, people who write it by hand do not. A plus sign is never a space: keys have none.
fn key_in_query(query: Option<&str>) -> Option<Cow<'_, str>> {
    query?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("aeg-sas-key"))
        .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy())
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
    // Publishers date tokens by their own clocks.
    sas::verify(token, &intake.keys, &endpoint, parts.clock.wall()).map_err(|error| match error {
        SasError::Malformed => PublishRefusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidSas",
            format!(
                "Invalid key in aeg-sas-token. Valid format :r=UrlEncodedResource&e=UrlEncodedUtcExpiration&s=UrlEncodedSignature. Input sas string: {}.",
                without_signature(token)
            ),
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

/// What may be shown of a token: what was signed. Text of any other shape may be a key that went into the wrong header.
fn without_signature(token: &str) -> String {
    match token.rsplit_once("&s=") {
        Some((signed, _)) if signed.starts_with("r=") => format!("{signed}&s=***"),
        _ => "***".to_owned(),
    }
}

fn check_bearer(
    parts: &Parts,
    intake: &Intake,
    head: &request::Parts,
) -> Result<(), PublishRefusal> {
    let principal = bearer::authenticate(parts, head, Audience::EventGrid).map_err(|why| {
        unauthorized(match why {
            Unauthenticated::OtherAudience => "The access token has an invalid audience.",
            _ => "Unable to read access token.",
        })
    })?;
    let send = "Microsoft.EventGrid/events/send/action";
    if allow(parts, &principal, Plane::Data, send, intake.id.as_str()) {
        Ok(())
    } else {
        Err(unauthorized("The principal may not send events."))
    }
}

fn unauthorized(message: impl Into<String>) -> PublishRefusal {
    PublishRefusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_2_3_a_key_in_the_query_is_the_same_escaped_and_as_it_stands() {
        for value in ["a+b/c==", "a%2Bb%2Fc%3D%3D", "a%2bb/c=%3d"] {
            let query = format!("api-version=2018-01-01&AEG-sas-key={value}&x=y");
            assert_eq!(key_in_query(Some(&query)).as_deref(), Some("a+b/c=="));
        }
        assert_eq!(key_in_query(Some("aeg-sas-keys=a")), None);
    }

    #[test]
    fn section_2_4_a_refusal_shows_what_was_signed_and_neither_signature_nor_key() {
        assert_eq!(without_signature("r=a&e=soon&s=c2ln"), "r=a&e=soon&s=***");
        for other in ["c2VjcmV0", "r=a&e=b", "c2VjcmV0&s=c2ln"] {
            assert_eq!(without_signature(other), "***");
        }
    }
}
