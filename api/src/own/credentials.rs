//! What a principal proves itself with beside a secret: registered, listed, taken away.
//!
//! Promise: whoever registers a credential has signed in, in every profile, because a credential is a way to sign in
//! (`access` says so). What comes with a private key is refused, so that nobody leaves one here.
//! Not here: what is made of them (`token::assertion`), that only public parts of keys are kept (`grid::credentials`).

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use gridpost_grid::credentials::{Credential, Proof, PublicKeys};
use gridpost_grid::manage::{Created, ManageError};
use gridpost_model::Timestamp;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json_;
use sha2::{Digest as _, Sha256};

use super::Value;
use super::problem::{Problem, read_json};
use crate::Shared;
use crate::token::assertion::{FEDERATED_AUDIENCE, has_private_key, is_key_set, read_certificate};

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
            (Some(pem), None, None, None) if has_private_key(&pem) => {
                Err(private_key("'certificate'"))
            }
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
            (None, Some(_), Some(_), Some(keys)) if PublicKeys::has_private_part(&keys) => {
                Err(private_key("'keys'"))
            }
            (None, Some(issuer), Some(subject), Some(keys)) if is_key_set(&keys.clone().into()) => {
                let usual = || vec![FEDERATED_AUDIENCE.to_owned()];
                Ok(Proof::Federated {
                    issuer,
                    subject,
                    audiences: self.audiences.unwrap_or_else(usual),
                    keys: keys.into(),
                })
            }
            _ => Err(Problem::bad_request(
                "A credential is {'certificate': PEM} or {'issuer', 'subject', 'keys': a JWK set with a public key}, with 'audiences' if they are not the usual one.",
            )),
        }
    }
}

fn private_key(field: &str) -> Problem {
    Problem::bad_request(format!(
        "{field} has a private or symmetric key in it, which belongs to whoever signs with it and to nobody else. Send the public part only."
    ))
}

/// All of a principal.
pub(super) async fn list(
    State(parts): State<Shared>,
    client: Result<Path<String>, PathRejection>,
) -> Result<Json<Value<CredentialOut>>, Problem> {
    let all = parts.grid.credentials_of(&client?.0);
    let value = all.iter().map(|one| CredentialOut::from(&**one)).collect();
    Ok(Json(Value { value }))
}

/// Registers one.
pub(super) async fn put(
    State(parts): State<Shared>,
    names: Result<Path<(String, String)>, PathRejection>,
    body: Body,
) -> Result<Response, Problem> {
    let (client, name) = names?.0;
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
) -> Result<StatusCode, Problem> {
    let (client, name) = names?.0;
    match parts.grid.delete_credential(&client, &name).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Problem::not_found(format!(
            "'{client}' has no credential '{name}'."
        ))),
        Err(error) => Err(problem(error)),
    }
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
