//! Identities of users and their tokens, as clients manage them.
//!
//! Promise: a token that is answered is good; one that was revoked, or whose identity was deleted, is refused from the
//! answer on.
//! Not here: what is kept and how tokens are made (`comms::identity`), calls with such tokens (`auth::user_token`).
//! Source: reference communication-services 3.2, 3.3 and 5.

use axum::Json;
use axum::extract::{Path, State};
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use gridpost_comms::identity::{
    AccessToken, IdentityError, Lifetime, Name, NewIdentity, Scope, Scopes, TokenWish, UserId,
};
use gridpost_model::Timestamp;
use http::request::Parts as Head;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::bearer::{self, Audience, Unauthenticated};
use crate::communication::{Call, Refusal, echo_request_id, read_json_or_default};
use crate::routes::Routes;
use crate::token::{self, Claims};
use crate::{Parts, Shared, cors, issuer, words};

/// `/identities`, `/teamsUser`, `/access/entra`, and the keys that verify tokens of users.
pub fn routes() -> Routes {
    // The verbs are whole segments that begin with a colon, which the router does not take as literal text.
    Routes::new()
        .route("/identities", post(create))
        .route("/identities/{id}", get(find).delete(delete))
        .route("/identities/{id}/{verb}", post(act))
        .route("/identities/.well-known/jwks.json", get(keys))
        .route("/teamsUser/{verb}", post(exchange_teams))
        .route("/access/entra/{verb}", post(exchange_entra))
        .layer(from_fn(words::layer))
        .layer(from_fn(cors::layer))
        .layer(from_fn(echo_request_id))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct CreateIn {
    create_token_with_scopes: Option<Vec<String>>,
    expires_in_minutes: Option<i64>,
    /// `externalId` in the first version that had it.
    #[serde(alias = "externalId")]
    custom_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateOut {
    identity: IdentityOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<TokenOut>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityOut {
    id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_token_issued_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenOut {
    token: String,
    expires_on: Timestamp,
}

async fn create(State(parts): State<Shared>, call: Call) -> Result<Response, Refusal> {
    let asked: CreateIn = read_json_or_default(&call.body)?;
    let lifetime = lifetime(asked.expires_in_minutes)?;
    let scopes = scopes(
        asked
            .create_token_with_scopes
            .as_deref()
            .unwrap_or_default(),
    )?;
    let wish = NewIdentity {
        token: scopes.map(|scopes| TokenWish { scopes, lifetime }),
        custom_id: asked.custom_id,
    };
    let custom_id = wish.custom_id.clone();
    let made = parts.comms.create_identity(&call.resource, wish).await?;
    let status = if made.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let out = CreateOut {
        identity: IdentityOut::new(made.id, custom_id),
        access_token: made.token.map(TokenOut::from),
    };
    Ok((status, Json(out)).into_response())
}

async fn find(
    State(parts): State<Shared>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Json<IdentityOut>, Refusal> {
    let found = parts.comms.identity(&call.resource, &user_id(&id)?)?;
    Ok(Json(IdentityOut {
        last_token_issued_at: found.last_token,
        ..IdentityOut::new(found.id, found.custom_id)
    }))
}

async fn delete(
    State(parts): State<Shared>,
    Path(id): Path<String>,
    call: Call,
) -> Result<StatusCode, Refusal> {
    let id = user_id(&id)?;
    parts.comms.delete_identity(&call.resource, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn act(
    State(parts): State<Shared>,
    Path((id, verb)): Path<(String, String)>,
    call: Call,
) -> Result<Response, Refusal> {
    let id = user_id(&id)?;
    if is(&verb, ":issueAccessToken") {
        Ok(Json(issue(&parts, &call, &id).await?).into_response())
    } else if is(&verb, ":revokeAccessTokens") {
        parts.comms.revoke_tokens(&call.resource, &id).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(no_such(&verb))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IssueIn {
    scopes: Vec<String>,
    expires_in_minutes: Option<i64>,
}

async fn issue(parts: &Parts, call: &Call, id: &UserId) -> Result<TokenOut, Refusal> {
    let asked: IssueIn = call.json()?;
    let wish = TokenWish {
        lifetime: lifetime(asked.expires_in_minutes)?,
        scopes: scopes(&asked.scopes)?
            .ok_or_else(|| Refusal::bad_request("'scopes' names at least one scope."))?,
    };
    let token = parts.comms.issue_token(&call.resource, id, wish).await?;
    Ok(token.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TeamsIn {
    token: String,
    app_id: String,
    user_id: String,
}

async fn exchange_teams(
    State(parts): State<Shared>,
    Path(verb): Path<String>,
    head: Head,
    call: Call,
) -> Result<Json<TokenOut>, Refusal> {
    if !is(&verb, ":exchangeAccessToken") {
        return Err(no_such(&verb));
    }
    let asked: TeamsIn = call.json()?;
    let claims = entra_claims(&parts, &asked.token)?;
    if !bearer::is_for(&parts, &head, Audience::Communication, &claims.aud) {
        return Err(Refusal::denied(Unauthenticated::OtherAudience.to_string()));
    }
    for (field, given, claim) in [
        ("appId", &asked.app_id, &claims.appid),
        ("userId", &asked.user_id, &claims.oid),
    ] {
        if !given.eq_ignore_ascii_case(claim) {
            let message = format!("'{field}' differs from the token's claim.");
            return Err(Refusal::bad_request(message));
        }
    }
    let expires = Timestamp::from_seconds(claims.exp);
    let token = parts
        .comms
        .issue_teams_token(&call.resource, &claims.oid, expires)
        .await?;
    Ok(Json(token.into()))
}

/// The body says nothing; the token by which the caller was let in says all.
async fn exchange_entra(
    State(parts): State<Shared>,
    Path(verb): Path<String>,
    headers: HeaderMap,
    call: Call,
) -> Result<Json<CreateOut>, Refusal> {
    if !is(&verb, ":exchangeAccessToken") {
        return Err(no_such(&verb));
    }
    let token = bearer::token_of(&headers)
        .ok_or_else(|| Refusal::denied("Only a bearer token of Entra can be exchanged."))?;
    let claims = entra_claims(&parts, token)?;
    let user = Name::Entra(claims.tid, claims.oid);
    let expires = Timestamp::from_seconds(claims.exp);
    let scopes = entra_scopes(&claims.aud);
    let (id, token) = parts
        .comms
        .exchange_entra_token(&call.resource, user, scopes, expires)
        .await?;
    Ok(Json(CreateOut {
        identity: IdentityOut::new(id, None),
        access_token: Some(token.into()),
    }))
}

/// What a good token of our own issuer says.
fn entra_claims(parts: &Parts, token: &str) -> Result<Claims, Refusal> {
    let refused = || Refusal::denied("The Entra token is not valid.");
    let claims = parts.tokens.verify(token).ok_or_else(refused)?;
    let is_good = token::is_current(&claims, parts.clock.wall())
        && claims.appid != issuer::APPLICATION
        && claims.tid == parts.tenant.tenant_id
        && parts.grid.principal(&claims.appid).is_some();
    is_good.then_some(claims).ok_or_else(refused)
}

/// `https://communication.azure.com/clients/VoIP` is for calls, `…/Chat` for chat; anything wider is for both.
fn entra_scopes(audience: &str) -> Scopes {
    let last = audience.rsplit('/').next().unwrap_or_default();
    match last.to_ascii_lowercase().as_str() {
        "voip" => Scopes::of_one(Scope::Voip),
        "chat" => Scopes::of_one(Scope::Chat),
        _ => Scopes::of_one(Scope::Chat).and(Scope::Voip),
    }
}

/// Anybody may verify a token.
async fn keys(State(parts): State<Shared>) -> Json<Value> {
    let keys = parts.comms.token_keys().into_iter().map(|key| {
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": key.id, "x": key.x, "y": key.y,
        })
    });
    Json(json!({"keys": keys.collect::<Vec<_>>()}))
}

fn user_id(text: &str) -> Result<UserId, Refusal> {
    text.parse()
        .map_err(|error| Refusal::bad_request(format!("'{text}' is {error}.")))
}

fn lifetime(minutes: Option<i64>) -> Result<Lifetime, Refusal> {
    minutes.map_or_else(
        || Ok(Lifetime::default()),
        |minutes| {
            let bad = |error: &dyn std::error::Error| Refusal::bad_request(error.to_string());
            Lifetime::of_minutes(minutes).map_err(|error| bad(&error))
        },
    )
}

/// `None` when none are named.
fn scopes(names: &[String]) -> Result<Option<Scopes>, Refusal> {
    let scopes = names.iter().map(|name| name.parse::<Scope>());
    let scopes: Vec<Scope> = scopes
        .collect::<Result<_, _>>()
        .map_err(|error| Refusal::bad_request(format!("{error}.")))?;
    Ok(Scopes::of(scopes))
}

fn is(verb: &str, known: &str) -> bool {
    verb.eq_ignore_ascii_case(known)
}

fn no_such(verb: &str) -> Refusal {
    let message = format!("There is no operation '{verb}'.");
    Refusal::new(StatusCode::NOT_FOUND, "NotFound", message)
}

impl IdentityOut {
    fn new(id: UserId, custom_id: Option<String>) -> Self {
        Self {
            id,
            external_id: custom_id.clone(),
            custom_id,
            last_token_issued_at: None,
        }
    }
}

impl From<AccessToken> for TokenOut {
    fn from(token: AccessToken) -> Self {
        Self {
            token: token.text.reveal().to_owned(),
            expires_on: token.expires,
        }
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        let message = error.to_string();
        match error {
            IdentityError::Foreign => Self::new(StatusCode::FORBIDDEN, "Forbidden", message),
            IdentityError::Unknown(_) => {
                Self::new(StatusCode::NOT_FOUND, "IdentityNotFound", message)
            }
            IdentityError::NoResource => Self::denied(message),
            IdentityError::BadName | IdentityError::BadObject => Self::bad_request(message),
            IdentityError::TooOften(too_often) => Self::too_often(too_often.wait),
            IdentityError::NotStored(error) => Self::not_stored(&error),
            IdentityError::NotSigned(_) => Self::not_stored(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_3_3_an_exchanged_token_may_do_what_was_asked_for() {
        let table = [
            ("https://communication.azure.com/clients/VoIP", "voip"),
            ("https://communication.azure.com/clients/Chat", "chat"),
            ("https://communication.azure.com/clients/", "chat,voip"),
            ("https://communication.azure.com", "chat,voip"),
        ];
        for (audience, scopes) in table {
            assert_eq!(entra_scopes(audience).to_string(), scopes, "{audience}");
        }
    }
}
