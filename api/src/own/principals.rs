//! Principals: who may sign in.
//!
//! Promise: a secret is made here, shown once in the answer that made it, and never again. What a call changes stands,
//! whatever others change at the same time.
//! Not here: how secrets are kept (`grid::principals`), what a principal may do (role assignments, in Resource Manager).

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use gridpost_grid::manage::ManageError;
use gridpost_grid::principals::{ClientSecret, Principal, Salt, SecretHash};
use gridpost_model::{Secret, Timestamp};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use super::Value;
use super::clock::Span;
use super::problem::{Problem, read_json};
use crate::token::managed::DEVELOPMENT_CLIENT;
use crate::{Parts, Profile, Shared};

/// 240 random bits: nobody guesses that.
const SECRET_BYTES: usize = 30;

/// How long a display name is at most.
const NAME_LIMIT: usize = 120;

/// A new principal. Every field may be left out.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct NewPrincipal {
    display_name: String,
    /// How long its secret is good; for ever when it is left out.
    expires_in: Option<Span>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct NewSecret {
    expires_in: Option<Span>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrincipalOut {
    client_id: String,
    object_id: String,
    display_name: String,
    created: Timestamp,
    secrets: Vec<SecretOut>,
    /// Only in the answer to its making.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretOut {
    id: String,
    hint: String,
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

impl From<&Principal> for PrincipalOut {
    fn from(principal: &Principal) -> Self {
        let shown = |secret: &ClientSecret| SecretOut {
            id: secret.id.clone(),
            hint: secret.hint.clone(),
            created: secret.created,
            expires: secret.expires,
        };
        Self {
            client_id: principal.client_id.clone(),
            object_id: principal.object_id.clone(),
            display_name: principal.display_name.clone(),
            created: principal.created,
            secrets: principal.secrets.iter().map(shown).collect(),
            client_secret: None,
            tenant_id: None,
        }
    }
}

/// All principals, without their secrets.
pub(super) async fn list(State(parts): State<Shared>) -> Json<Value<PrincipalOut>> {
    let all = parts.grid.principals();
    Json(Value {
        value: all.iter().map(|one| PrincipalOut::from(&**one)).collect(),
    })
}

/// One principal, by its client id or its object id.
pub(super) async fn get(
    State(parts): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<PrincipalOut>, Problem> {
    let Path(id) = id?;
    Ok(Json(PrincipalOut::from(&*found(&parts, &id)?)))
}

/// Makes a principal with a secret. It may do nothing until it is assigned a role.
pub(super) async fn post(State(parts): State<Shared>, body: Bytes) -> Result<Response, Problem> {
    let asked: NewPrincipal = match body.is_empty() {
        true => NewPrincipal::default(),
        false => read_json(&body)?,
    };
    if asked.display_name.chars().count() > NAME_LIMIT {
        return Err(Problem::bad_request(format!(
            "'displayName' has at most {NAME_LIMIT} characters."
        )));
    }
    let (client_id, object_id) = (parts.chance.uuid(), parts.chance.uuid());
    let now = parts.clock.now();
    let (secret, kept) = make_secret(&parts, asked.expires_in.as_ref())?;
    let mut principal = Principal::new(&client_id, &object_id, &asked.display_name, now);
    principal.secrets.push(kept);
    let put = parts.grid.put_principal(principal).await;
    let principal = put.map_err(|error| problem(&error))?;
    Ok(made(&parts, &principal, &secret))
}

/// Deletes a principal and its role assignments. Its tokens open nothing any more.
pub(super) async fn delete(
    State(parts): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id?;
    let principal = found(&parts, &id)?;
    require_not_built_in(&parts, &principal)?;
    let deleted = parts.grid.delete_principal(&principal.client_id).await;
    deleted.map_err(|error| Problem::not_stored(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// What every command and `gridpost env` rely on would be missing until the next start.
fn require_not_built_in(parts: &Parts, principal: &Principal) -> Result<(), Problem> {
    let is_it = principal.client_id.eq_ignore_ascii_case(DEVELOPMENT_CLIENT);
    match parts.profile == Profile::Development && is_it {
        true => Err(Problem::conflict(
            "This principal is built into the development profile, and its commands act as it; in the production profile there is none.",
        )),
        false => Ok(()),
    }
}

/// Makes another secret beside the one there is.
pub(super) async fn post_secret(
    State(parts): State<Shared>,
    id: Result<Path<String>, PathRejection>,
    body: Bytes,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let asked: NewSecret = match body.is_empty() {
        true => NewSecret::default(),
        false => read_json(&body)?,
    };
    let known = found(&parts, &id)?;
    let (secret, kept) = make_secret(&parts, asked.expires_in.as_ref())?;
    let added = parts.grid.add_secret(&known.client_id, kept).await;
    let principal = added.map_err(|error| problem(&error))?;
    let principal = principal.ok_or_else(|| no_principal(&id))?;
    Ok(made(&parts, &principal, &secret))
}

/// Takes a secret away. Access tokens that were issued for it are good for the rest of their hour.
pub(super) async fn delete_secret(
    State(parts): State<Shared>,
    ids: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path((id, secret)) = ids?;
    let known = found(&parts, &id)?;
    if known.secrets.iter().any(|one| one.id == secret) {
        require_not_built_in(&parts, &known)?;
    }
    let removed = parts.grid.remove_secret(&known.client_id, &secret).await;
    if !removed.map_err(|error| problem(&error))? {
        return Err(Problem::not_found(format!(
            "The principal has no secret '{secret}'."
        )));
    }
    Ok(StatusCode::NO_CONTENT)
}

fn found(parts: &Parts, id: &str) -> Result<Arc<Principal>, Problem> {
    parts.grid.principal_of(id).ok_or_else(|| no_principal(id))
}

fn no_principal(id: &str) -> Problem {
    Problem::not_found(format!("There is no principal '{id}'."))
}

fn problem(error: &ManageError) -> Problem {
    match error {
        ManageError::NotStored(error) => Problem::not_stored(error),
        other => Problem::conflict(other.to_string()),
    }
}

fn make_secret(
    parts: &Parts,
    expires_in: Option<&Span>,
) -> Result<(Secret, ClientSecret), Problem> {
    // Secrets expire by the time that tokens do, which nobody moves.
    let expires = expires_in.map(Span::read).transpose()?;
    let expires = expires.map(|span| parts.clock.wall() + span);
    let mut bytes = [0; SECRET_BYTES];
    parts.chance.fill(&mut bytes);
    let secret = Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let hash = SecretHash::of_random(&secret, Salt::fresh(&*parts.chance));
    let (id, now) = (parts.chance.uuid(), parts.clock.now());
    let kept = ClientSecret::new(&id, &secret, hash, now, expires);
    Ok((secret, kept))
}

/// The one answer that shows a secret; nobody on the way keeps it.
fn made(parts: &Parts, principal: &Principal, secret: &Secret) -> Response {
    let out = PrincipalOut {
        client_secret: Some(secret.reveal().to_owned()),
        tenant_id: Some(parts.tenant.tenant_id.clone()),
        ..PrincipalOut::from(principal)
    };
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    (StatusCode::CREATED, no_store, Json(out)).into_response()
}
