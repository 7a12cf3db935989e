//! The managed identity of the development profile: tokens for programs on this machine.
//!
//! Promise: in no other profile there is one. An endpoint that has a secret header asks for the development client's
//! secret in it; the two that have none answer local callers only, as our own REST does, and no page in a browser.
//! Source: reference management 1.3, 2.5.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use gridpost_model::Secret;
use http::request::Parts as Head;
use http::{HeaderMap, Method};
use serde_json::json;

use super::Refusal;
use crate::own::guard;
use crate::{Parts, Profile, Shared, origin};

/// The client that a development server has built in.
pub const DEVELOPMENT_CLIENT: &str = "33333333-3333-4333-8333-333333333333";

/// The headers that carry a secret: of App Service, and of Azure ML.
const SECRETS: [&str; 2] = ["x-identity-header", "secret"];

/// `GET /msi/token`, `POST /msi/token` and `GET /metadata/identity/oauth2/token`.
pub(super) async fn token(State(parts): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, super::MAX_FORM_BYTES).await;
    let form = body.unwrap_or_default();
    let asked = match head.method {
        Method::POST => Asked::parse(&form),
        _ => Asked::parse(head.uri.query().unwrap_or_default().as_bytes()),
    };
    match answer(&parts, &head, &asked).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(&parts, &head.headers),
    }
}

#[derive(Default)]
struct Asked {
    resource: Option<String>,
    client_id: Option<String>,
}

impl Asked {
    fn parse(text: &[u8]) -> Self {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(text) {
            match &*name {
                "resource" => asked.resource = Some(value.into_owned()),
                "client_id" | "clientid" => asked.client_id = Some(value.into_owned()),
                _ => (),
            }
        }
        asked
    }
}

async fn answer(parts: &Parts, head: &Head, asked: &Asked) -> Result<Response, Refusal> {
    let unknown = || {
        Refusal::new(
            100_040,
            "Identity not found. Managed identities are part of the development profile, where there is one.",
        )
    };
    let is_ours = |id: &String| id.eq_ignore_ascii_case(DEVELOPMENT_CLIENT);
    if parts.profile != Profile::Development || !asked.client_id.as_ref().is_none_or(is_ours) {
        return Err(unknown());
    }
    let principal = match secret(&head.headers) {
        Some(secret) => {
            let signed_in = super::with_secret(parts, DEVELOPMENT_CLIENT, &secret);
            signed_in.await?.principal
        }
        None => {
            require_local(parts, head)?;
            let principal = parts.grid.principal(DEVELOPMENT_CLIENT);
            principal.ok_or_else(unknown)?
        }
    };
    let resource = asked.resource.as_deref().filter(|one| !one.is_empty());
    let resource = resource.ok_or_else(|| Refusal::missing("resource"))?;
    let base = origin::own_base_url(parts, head);
    // A scope is none, but some clients send what they would send for one.
    let audience = resource.strip_suffix("/.default").unwrap_or(resource);
    let claims = super::claims(parts, &base, Some(audience), &principal)?;
    let token = parts
        .tokens
        .sign(&claims)
        .ok_or_else(Refusal::server_error)?;
    let expires_in = (claims.exp - claims.iat - 1).to_string();
    let body = json!({
        "access_token": token, "client_id": DEVELOPMENT_CLIENT, "expires_in": expires_in,
        "expires_on": claims.exp.to_string(), "ext_expires_in": expires_in,
        "not_before": claims.nbf.to_string(), "resource": resource, "token_type": "Bearer",
    });
    Ok(super::no_store(Json(body).into_response()))
}

fn secret(headers: &HeaderMap) -> Option<Secret> {
    let value = SECRETS.iter().find_map(|name| headers.get(*name))?;
    Some(Secret::new(value.to_str().unwrap_or_default()))
}

/// `Metadata: true` cannot be sent by a form or a link of a page, nor by a server that was made to follow a redirect.
fn require_local(parts: &Parts, head: &Head) -> Result<(), Refusal> {
    let marked = head.headers.get("metadata");
    let is_marked = marked.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if !is_marked || head.headers.contains_key("x-forwarded-for") {
        return Err(Refusal::new(
            900_144,
            "Required metadata header not specified: 'Metadata: true'.",
        ));
    }
    match guard::require_local(parts, head) {
        Ok(()) => Ok(()),
        Err(_) => Err(Refusal::new(
            100_041,
            "This endpoint answers local callers only, under a local name.",
        )),
    }
}
