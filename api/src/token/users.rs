//! Signing in as people do: a name and a password, and later a refresh token.
//!
//! Promise: whoever signs in so is a principal, whose secret is the password; the name is its client id with anything
//! behind an `@`. A refresh token opens nothing but this endpoint, until a day after the sign-in however often it is
//! exchanged, and only as long as the secret of that sign-in is good.
//! Not here: approving a device (`device`).
//! Source: reference management 1.3, 2.3.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gridpost_grid::principals::Principal;
use gridpost_model::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Claims, Form, Refusal, managed};
use crate::{Parts, Profile};

/// The audience of refresh tokens: no surface has it, and nobody gets another token for it.
pub(super) const REFRESH: &str = "urn:gridpost:refresh";

/// How long after a sign-in tokens are made without another.
const REFRESH_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Somebody who signed in.
pub(super) struct User {
    /// What was typed.
    pub(super) name: String,
    /// Who that is.
    pub(super) principal: Arc<Principal>,
    /// The mark of the secret that was given.
    pub(super) secret: String,
    /// From when on it has to be given again, in seconds since 1970.
    pub(super) until: i64,
}

/// What a refresh token says. An access token does not say of which secret it is, so that none is taken for the other.
#[derive(Clone, Serialize, Deserialize)]
struct Refresh {
    #[serde(flatten)]
    claims: Claims,
    secret: String,
}

/// The user of a name and a password.
///
/// # Errors
/// The service's, which do not tell an unknown name from a wrong password.
pub(super) async fn sign_in(parts: &Parts, name: &str, password: &Secret) -> Result<User, Refusal> {
    let local = name.split('@').next().unwrap_or_default();
    let is_admin = local.eq_ignore_ascii_case("admin");
    let client_id = match is_admin && parts.profile == Profile::Development {
        true => managed::DEVELOPMENT_CLIENT,
        false => local,
    };
    let signed_in = super::with_secret(parts, client_id, password)
        .await
        .map_err(Refusal::of_password)?;
    Ok(User {
        name: name.to_owned(),
        principal: signed_in.principal,
        secret: signed_in.secret.mark(),
        until: (parts.clock.wall() + REFRESH_LIFETIME).seconds(),
    })
}

/// `grant_type=password`.
pub(super) async fn with_password(
    parts: &Parts,
    base: &str,
    form: &Form,
) -> Result<Value, Refusal> {
    let name = form
        .username
        .as_deref()
        .ok_or_else(|| Refusal::missing("username"))?;
    let password = form
        .password
        .as_ref()
        .ok_or_else(|| Refusal::missing("password"))?;
    granted(parts, base, form, &sign_in(parts, name, password).await?)
}

/// `grant_type=refresh_token`.
pub(super) fn refreshed(parts: &Parts, base: &str, form: &Form) -> Result<Value, Refusal> {
    let text = form
        .refresh_token
        .as_ref()
        .ok_or_else(|| Refusal::missing("refresh_token"))?;
    let expired = || {
        Refusal::invalid_grant(
            700_082,
            "The refresh token has expired or is not one of ours.",
        )
    };
    let said: Refresh = parts.tokens.verify_as(text.reveal()).ok_or_else(expired)?;
    let claims = said.claims;
    let is_good = claims.aud == REFRESH
        && claims.tid == parts.tenant.tenant_id
        && super::is_current(&claims, parts.clock.wall());
    if !is_good {
        return Err(expired());
    }
    let principal = parts.grid.principal(&claims.appid).ok_or_else(revoked)?;
    let user = User {
        name: claims.sub,
        principal,
        secret: said.secret,
        until: claims.exp,
    };
    granted(parts, base, form, &user)
}

#[derive(Serialize)]
struct IdToken<'a> {
    aud: &'a str,
    iss: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    tid: &'a str,
    oid: &'a str,
    sub: &'a str,
    name: &'a str,
    preferred_username: &'a str,
    upn: &'a str,
    ver: &'a str,
}

fn revoked() -> Refusal {
    Refusal::invalid_grant(
        50_173,
        "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
    )
}

/// What a user is given: a token, one to get the next with, and who the client may call them.
///
/// # Errors
/// The secret that was given at the sign-in opens nothing any more.
pub(super) fn granted(
    parts: &Parts,
    base: &str,
    form: &Form,
    user: &User,
) -> Result<Value, Refusal> {
    let known = parts.grid.principal(&user.principal.client_id);
    let principal = known
        .filter(|one| one.has_secret(&user.secret, parts.clock.wall()))
        .ok_or_else(revoked)?;
    let access = super::claims(parts, base, form.audience(), &principal)?;
    let mut answer = super::bearer(parts, &access)?;
    let refresh = Refresh {
        claims: Claims {
            aud: REFRESH.to_owned(),
            exp: user.until,
            sub: user.name.clone(),
            ..access.clone()
        },
        secret: user.secret.clone(),
    };
    let id = IdToken {
        aud: form.client_id.as_deref().unwrap_or_default(),
        iss: &access.iss,
        iat: access.iat,
        nbf: access.nbf,
        exp: access.exp,
        tid: &access.tid,
        oid: &access.oid,
        sub: &access.oid,
        name: &user.name,
        preferred_username: &user.name,
        upn: &user.name,
        ver: "2.0",
    };
    let sign = |token: Option<String>| token.ok_or_else(Refusal::server_error);
    answer["refresh_token"] = sign(parts.tokens.sign(&refresh))?.into();
    answer["id_token"] = sign(parts.tokens.sign(&id))?.into();
    answer["scope"] = form.scope.as_deref().unwrap_or_default().into();
    let info = json!({"uid": access.oid, "utid": access.tid}).to_string();
    answer["client_info"] = BASE64_URL_SAFE_NO_PAD.encode(info).into();
    Ok(answer)
}
