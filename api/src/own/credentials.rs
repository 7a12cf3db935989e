//! What a principal proves itself with beside a secret: registered, listed, taken away.
//!
//! Promise: whoever registers a credential has signed in, in every profile, because a credential is a way to sign in.
//! Not here: what is made of them (`token::assertion`).

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use gridpost_grid::credentials::{Credential, Proof};
use gridpost_grid::manage::{Created, ManageError};
use gridpost_model::Timestamp;
use http::StatusCode;
use http::request::Parts as Head;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json_;
use sha2::{Digest as _, Sha256};

use super::Value;
use super::problem::{Problem, read_json};
use crate::auth::bearer::{self, Audience};
use crate::token::assertion::{FEDERATED_AUDIENCE, is_key_set, read_certificate};
use crate::{Parts, Shared};

/// A certificate or a set of keys is some KB.
const MAX_BODY_BYTES: usize = 64 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CredentialOut {
    name: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audiences: Option<Vec<String>>,
    created: Timestamp,
}

impl From<&Credential> for CredentialOut {
    fn from(one: &Credential) -> Self {
        let mut out = Self {
            name: one.name.clone(),
            kind: "certificate",
            thumbprint: None,
            not_after: None,
            issuer: None,
            subject: None,
            audiences: None,
            created: one.created,
        };
        match one.proof.clone() {
            Proof::Certificate {
                thumbprint,
                not_after,
                ..
            } => {
                out.thumbprint = Some(thumbprint);
                out.not_after = Some(not_after);
            }
            Proof::Federated {
                issuer,
                subject,
                audiences,
                ..
            } => {
                out.kind = "federated";
                out.issuer = Some(issuer);
                out.subject = Some(subject);
                out.audiences = Some(audiences);
            }
        }
        out
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialIn {
    /// PEM.
    certificate: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    audiences: Option<Vec<String>>,
    /// A JWK set.
    keys: Option<Json_>,
}

impl CredentialIn {
    fn proof(self) -> Result<Proof, Problem> {
        match (self.certificate, self.issuer, self.subject, self.keys) {
            (Some(pem), None, None, None) => {
                let (der, not_after) = read_certificate(&pem).ok_or_else(|| {
                    Problem::bad_request("'certificate' is not a certificate in PEM of an RSA or elliptic curve key.")
                })?;
                let digest = Sha256::digest(&der);
                Ok(Proof::Certificate {
                    thumbprint: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
                    der: BASE64_STANDARD.encode(der),
                    not_after,
                })
            }
            (None, Some(issuer), Some(subject), Some(keys)) if is_key_set(&keys) => {
                let usual = || vec![FEDERATED_AUDIENCE.to_owned()];
                Ok(Proof::Federated {
                    issuer,
                    subject,
                    audiences: self.audiences.unwrap_or_else(usual),
                    keys,
                })
            }
            _ => Err(Problem::bad_request(
                "A credential is {'certificate': PEM} or {'issuer', 'subject', 'keys': a JWK set with a public key}, with 'audiences' if they are not the usual one.",
            )),
        }
    }
}

/// All of a principal.
pub(super) async fn list(
    State(parts): State<Shared>,
    client: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Value<CredentialOut>>, Problem> {
    let client = client?.0;
    require_signed_in(&parts, &request.into_parts().0)?;
    let all = parts.grid.credentials_of(&client);
    let value = all.iter().map(|one| CredentialOut::from(&**one)).collect();
    Ok(Json(Value { value }))
}

/// Registers one.
pub(super) async fn put(
    State(parts): State<Shared>,
    names: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (client, name) = names?.0;
    let (head, body) = request.into_parts();
    require_signed_in(&parts, &head)?;
    let body: Bytes = axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| Problem::bad_request("The body is too large or was cut short."))?;
    let proof = read_json::<CredentialIn>(&body)?.proof()?;
    let (made, created) = parts
        .grid
        .put_credential(&client, &name, proof)
        .await
        .map_err(problem)?;
    let status = match created {
        Created::New => StatusCode::CREATED,
        Created::Updated => StatusCode::OK,
    };
    Ok((status, Json(CredentialOut::from(&*made))).into_response())
}

/// Takes one away.
pub(super) async fn delete(
    State(parts): State<Shared>,
    names: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (client, name) = names?.0;
    require_signed_in(&parts, &request.into_parts().0)?;
    match parts.grid.delete_credential(&client, &name).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Problem::not_found(format!(
            "'{client}' has no credential '{name}'."
        ))),
        Err(error) => Err(problem(error)),
    }
}

/// What its roles allow is judged before this; here, that somebody presented a token at all.
fn require_signed_in(parts: &Parts, head: &Head) -> Result<(), Problem> {
    bearer::authenticate(parts, head, Audience::Management)
        .map(drop)
        .map_err(|why| Problem::unauthorized(why.to_string()))
}

fn problem(error: ManageError) -> Problem {
    match error {
        ManageError::Invalid(invalid) => Problem::bad_request(invalid.message),
        ManageError::Conflict(message) => Problem::conflict(message),
        ManageError::NotStored(error) => Problem::not_stored(&error),
        ManageError::TooLarge(error) => Problem::bad_request(error.to_string()),
        other @ ManageError::NotFound(_) => Problem::not_found(other.to_string()),
    }
}
