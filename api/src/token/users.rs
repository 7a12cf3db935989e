//! Signing in as people do: a name and a password, and later a refresh token.
//!
//! Promise: whoever signs in so is a principal, whose secret is the password; the name is its client id with anything
//! behind an `@`. A refresh token opens nothing but this endpoint, for a day, and as long as its principal exists.
//! Not here: approving a device (`device`).
//! Source: reference management 1.3, 2.3.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gridpost_grid::principals::Principal;
use gridpost_model::Secret;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Claims, Form, Refusal, managed};
use crate::{Parts, Profile};

/// The audience of refresh tokens; no surface has it.
const REFRESH: &str = "urn:gridpost:refresh";

/// How long a refresh token is good for.
const REFRESH_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Somebody who signed in.
pub(super) struct User {
    /// What was typed.
    pub(super) name: String,
    /// Who that is.
    pub(super) principal: Arc<Principal>,
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
    let principal = super::with_secret(parts, client_id, password)
        .await
        .map_err(Refusal::of_password)?;
    Ok(User {
        name: name.to_owned(),
        principal,
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
    let claims = parts.tokens.verify(text.reveal()).ok_or_else(expired)?;
    let is_good = claims.aud == REFRESH
        && claims.tid == parts.tenant.tenant_id
        && super::is_current(&claims, parts.clock.wall());
    let principal = parts.grid.principal(&claims.appid).filter(|_| is_good);
    let user = User {
        name: claims.sub,
        principal: principal.ok_or_else(expired)?,
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

/// What a user is given: a token, one to get the next with, and who the client may call them.
pub(super) fn granted(
    parts: &Parts,
    base: &str,
    form: &Form,
    user: &User,
) -> Result<Value, Refusal> {
    let access = super::claims(parts, base, form.audience(), &user.principal);
    let mut answer = super::bearer(parts, &access)?;
    let refresh = Claims {
        aud: REFRESH.to_owned(),
        exp: access.iat + seconds(REFRESH_LIFETIME),
        sub: user.name.clone(),
        ..access.clone()
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

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
