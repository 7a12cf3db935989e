//! Signing in: proof of who one is in, bearer token out, and the documents that lead a client here.
//!
//! Promise: a token is signed with our own key, names its principal, and is valid for an hour.
//! Not here: how secrets are kept and tried (`grid::principals`); verifying tokens on calls (`auth::bearer`); other proofs
//! than a secret (`assertion`, `users`, `device`, `managed`).
//! Read on in `form`, `keys`, `refusal` and `discovery`.
//! Source: reference management 2.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use gridpost_grid::principals::{Principal, SignInError, SignedIn};
use gridpost_model::Secret;
use serde_json::{Value, json};

use crate::routes::Routes;
use crate::{Parts, Shared, origin};

pub(crate) mod assertion;
pub mod device;
mod discovery;
mod form;
mod keys;
pub mod managed;
mod refusal;
mod users;

use discovery::issuer;
use form::Form;
pub(crate) use keys::is_current;
pub use keys::{BadTokenKey, Claims, TokenKeys};
use refusal::{Refusal, no_store};

/// How long a token is valid.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);

/// A form longer than this is not one of ours.
const MAX_FORM_BYTES: usize = 64 * 1024;

/// Token, key and discovery endpoints.
pub fn routes() -> Routes {
    Routes::new()
        .route("/{tenant}/oauth2/v2.0/token", post(issue))
        .route("/{tenant}/oauth2/token", post(issue))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device::begin))
        .route("/{tenant}/oauth2/devicecode", post(device::begin))
        .route("/devicelogin", get(device::page).post(device::approve))
        .route("/common/userrealm/{user}", get(discovery::realm))
        .route("/msi/token", get(managed::token).post(managed::token))
        .route("/metadata/identity/oauth2/token", get(managed::token))
        .route("/{tenant}/discovery/v2.0/keys", get(discovery::keys))
        .route("/{tenant}/discovery/keys", get(discovery::keys))
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(discovery::discovery),
        )
        .route(
            "/{tenant}/.well-known/openid-configuration",
            get(discovery::discovery),
        )
        .route(
            "/adfs/{tenant}/v2.0/.well-known/openid-configuration",
            get(discovery::discovery_below_adfs),
        )
        .route("/metadata/endpoints", get(discovery::endpoints))
}

async fn issue(State(parts): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_FORM_BYTES).await else {
        let refusal = Refusal::new(900_144, "The request body is too large or was cut short.");
        return refusal.answer(&parts, &head.headers);
    };
    let base = origin::own_base_url(&parts, &head);
    match grant(&parts, &base, &Form::parse(&body)).await {
        Ok(granted) => no_store(Json(granted).into_response()),
        Err(refusal) => refusal.answer(&parts, &head.headers),
    }
}

async fn grant(parts: &Parts, base: &str, form: &Form) -> Result<Value, Refusal> {
    match form.grant_type.as_deref() {
        Some("client_credentials") => {
            let principal = authenticate(parts, base, form).await?;
            bearer(parts, &claims(parts, base, form.audience(), &principal)?)
        }
        Some("password") => users::with_password(parts, base, form).await,
        Some("refresh_token") => users::refreshed(parts, base, form),
        Some(device::GRANT) => device::redeemed(parts, base, form),
        Some(_) => Err(Refusal::unsupported_grant()),
        None => Err(Refusal::missing("grant_type")),
    }
}

/// What the token of a principal says.
///
/// # Errors
/// The audience is one that nobody but ourselves makes tokens for.
fn claims(
    parts: &Parts,
    base: &str,
    audience: Option<&str>,
    principal: &Principal,
) -> Result<Claims, Refusal> {
    let audience = audience.unwrap_or(base);
    if audience == users::REFRESH {
        return Err(Refusal::no_resource(audience));
    }
    let now = parts.clock.wall().seconds();
    Ok(Claims {
        aud: audience.to_owned(),
        iss: issuer(parts, base),
        iat: now,
        nbf: now,
        exp: now + i64::try_from(LIFETIME.as_secs()).unwrap_or(i64::MAX),
        tid: parts.tenant.tenant_id.clone(),
        oid: principal.object_id.clone(),
        appid: principal.client_id.clone(),
        sub: principal.object_id.clone(),
        ver: "2.0".to_owned(),
    })
}

fn bearer(parts: &Parts, claims: &Claims) -> Result<Value, Refusal> {
    let token = parts
        .tokens
        .sign(claims)
        .ok_or_else(Refusal::server_error)?;
    let expires_in = claims.exp - claims.iat - 1;
    Ok(json!({
        "token_type": "Bearer", "expires_in": expires_in, "ext_expires_in": expires_in,
        "access_token": token,
    }))
}

/// Whoever proved to be it.
async fn authenticate(parts: &Parts, base: &str, form: &Form) -> Result<Arc<Principal>, Refusal> {
    let client_id = form
        .client_id
        .as_deref()
        .ok_or_else(|| Refusal::missing("client_id"))?;
    match (&form.client_secret, &form.client_assertion) {
        (Some(secret), _) => {
            let signed_in = with_secret(parts, client_id, secret).await?;
            Ok(signed_in.principal)
        }
        (None, Some(assertion)) => {
            let principal = parts.grid.principal(client_id);
            let principal = principal.ok_or_else(|| Refusal::unknown_client(client_id))?;
            assertion::accept(parts, base, client_id, assertion)?;
            Ok(principal)
        }
        (None, None) => Err(Refusal::no_secret()),
    }
}

/// The principal whose secret it is.
async fn with_secret(parts: &Parts, client_id: &str, secret: &Secret) -> Result<SignedIn, Refusal> {
    // Secrets expire by the time that tokens do.
    let signed_in = parts.grid.sign_in(client_id, secret, parts.clock.wall());
    signed_in.await.map_err(|error| match error {
        SignInError::Unknown => Refusal::unknown_client(client_id),
        SignInError::WrongSecret => Refusal::wrong_secret(),
        SignInError::Expired => Refusal::expired_secret(client_id),
        SignInError::Busy => Refusal::busy(),
    })
}
