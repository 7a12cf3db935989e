//! Signing in: proof of who one is in, bearer token out, and the documents that lead a client here.
//!
//! Promise: a token is signed with our own key, names its principal, and is valid for an hour.
//! Not here: how secrets are kept and tried (`grid::principals`); verifying tokens on calls (`auth::bearer`); other proofs
//! than a secret (`assertion`, `users`, `device`, `managed`).
//! Source: reference management 2.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gridpost_grid::principals::{Principal, SignInError, SignedIn};
use gridpost_model::{Secret, Timestamp};
use http::{HeaderMap, StatusCode, header};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::problem::RETRY_AFTER_SECONDS;
use crate::routes::Routes;
use crate::{Parts, Shared, origin, version};

pub(crate) mod assertion;
pub mod device;
pub mod managed;
mod users;

/// How long a token is valid.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);

/// A form longer than this is not one of ours.
const MAX_FORM_BYTES: usize = 64 * 1024;

/// What signs and verifies bearer tokens: one P-256 key, kept by `server`.
pub struct TokenKeys {
    signing: EncodingKey,
    verifying: DecodingKey,
    /// `kid`: a thumbprint of the public key.
    id: String,
    x: String,
    y: String,
}

/// The bytes are not a P-256 key in PKCS#8 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key of the token endpoint is not a P-256 key in PKCS#8 form")]
pub struct BadTokenKey;

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The audience that was asked for.
    pub aud: String,
    /// The issuer.
    pub iss: String,
    /// Issued, in seconds since 1970.
    pub iat: i64,
    /// Not valid before.
    pub nbf: i64,
    /// Not valid after.
    pub exp: i64,
    /// The tenant.
    pub tid: String,
    /// The principal's object.
    pub oid: String,
    /// The principal's client identifier.
    pub appid: String,
    /// The subject.
    pub sub: String,
    /// The version of the claims.
    pub ver: String,
}

impl TokenKeys {
    /// A fresh key in PKCS#8 form, for `server` to keep.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn generate() -> Result<Vec<u8>, BadTokenKey> {
        let random = ring::rand::SystemRandom::new();
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map(|document| document.as_ref().to_vec())
            .map_err(|_| BadTokenKey)
    }

    /// The keys of a server that keeps these bytes.
    ///
    /// # Errors
    /// The bytes are not such a key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadTokenKey> {
        let random = ring::rand::SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|_| BadTokenKey)?;
        // An uncompressed point: 0x04, then x and y of 32 bytes each.
        let point = pair.public_key().as_ref();
        let (x, y) = point
            .get(1..)
            .and_then(|xy| xy.split_at_checked(32))
            .ok_or(BadTokenKey)?;
        let (x, y) = (
            BASE64_URL_SAFE_NO_PAD.encode(x),
            BASE64_URL_SAFE_NO_PAD.encode(y),
        );
        Ok(Self {
            signing: EncodingKey::from_ec_der(pkcs8),
            verifying: DecodingKey::from_ec_components(&x, &y).map_err(|_| BadTokenKey)?,
            id: BASE64_URL_SAFE_NO_PAD.encode(&hash(point)[..16]),
            x,
            y,
        })
    }

    /// A signed token, or `None` when signing failed.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let header = Header {
            kid: Some(self.id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, claims, &self.signing).ok()
    }

    /// What a token says, when it carries our signature. Its times are for the caller to judge, by our clock.
    pub fn verify(&self, token: &str) -> Option<Claims> {
        self.verify_as(token)
    }

    /// The same of a token that says more, or something else.
    pub(crate) fn verify_as<T>(&self, token: &str) -> Option<T>
    where
        T: DeserializeOwned + Clone,
    {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        jsonwebtoken::decode(token, &self.verifying, &rules)
            .ok()
            .map(|data| data.claims)
    }

    fn public(&self) -> Value {
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.id, "x": self.x, "y": self.y,
        }]})
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

/// Token, key and discovery endpoints.
pub fn routes() -> Routes {
    Routes::new()
        .route("/{tenant}/oauth2/v2.0/token", post(issue))
        .route("/{tenant}/oauth2/token", post(issue))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device::begin))
        .route("/{tenant}/oauth2/devicecode", post(device::begin))
        .route("/devicelogin", get(device::page).post(device::approve))
        .route("/common/userrealm/{user}", get(realm))
        .route("/msi/token", get(managed::token).post(managed::token))
        .route("/metadata/identity/oauth2/token", get(managed::token))
        .route("/{tenant}/discovery/v2.0/keys", get(keys))
        .route("/{tenant}/discovery/keys", get(keys))
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(discovery),
        )
        .route("/{tenant}/.well-known/openid-configuration", get(discovery))
        .route(
            "/adfs/{tenant}/v2.0/.well-known/openid-configuration",
            get(discovery_below_adfs),
        )
        .route("/metadata/endpoints", get(endpoints))
}

#[derive(Default)]
struct Form {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    client_assertion: Option<String>,
    username: Option<String>,
    password: Option<Secret>,
    refresh_token: Option<Secret>,
    device_code: Option<String>,
    user_code: Option<String>,
    scope: Option<String>,
    resource: Option<String>,
}

impl Form {
    fn parse(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            let secret = match name.as_ref() {
                "client_secret" => Some(&mut form.client_secret),
                "password" => Some(&mut form.password),
                "refresh_token" => Some(&mut form.refresh_token),
                _ => None,
            };
            if let Some(secret) = secret {
                *secret = Some(Secret::new(value));
                continue;
            }
            let field = match name.as_ref() {
                "grant_type" => &mut form.grant_type,
                "client_id" => &mut form.client_id,
                "client_assertion" => &mut form.client_assertion,
                "username" => &mut form.username,
                "device_code" => &mut form.device_code,
                "user_code" => &mut form.user_code,
                "scope" => &mut form.scope,
                "resource" => &mut form.resource,
                _ => continue,
            };
            *field = Some(value.into_owned());
        }
        form
    }

    /// The audience: the scope without `/.default`, or the `resource` of older clients.
    fn audience(&self) -> Option<&str> {
        let scope = self
            .scope
            .as_deref()
            .and_then(|scope| scope.split(' ').next());
        scope
            .map(|scope| scope.strip_suffix("/.default").unwrap_or(scope))
            .or(self.resource.as_deref())
            .filter(|audience| !audience.is_empty())
    }
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

/// What kind of account a user has, which MSAL asks on port 443 only: one whose password is checked here.
async fn realm() -> Json<Value> {
    Json(json!({"ver": "1.0", "account_type": "Managed", "domain_name": "localhost"}))
}

/// An OAuth error, in the words of the real service.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    number: u32,
    text: String,
}

impl Refusal {
    fn new(number: u32, text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error: "invalid_request",
            number,
            text: text.into(),
        }
    }

    fn missing(parameter: &str) -> Self {
        let text = format!("The request body must contain the following parameter: '{parameter}'.");
        Self::new(900_144, text)
    }

    fn unsupported_grant() -> Self {
        let text = "The app requested an unsupported grant type. \
                    'client_credentials', 'password', 'refresh_token' and device codes are supported by this version.";
        Self {
            error: "unsupported_grant_type",
            ..Self::new(70_003, text)
        }
    }

    fn no_secret() -> Self {
        let text = "'client_assertion', 'client_secret' or 'request' is required for the \
                    'client_credentials' grant type.";
        Self::invalid_client(7_000_216, text)
    }

    fn unregistered_certificate(client_id: &str) -> Self {
        let text = format!(
            "The certificate with identifier used to sign the client assertion is not registered on application '{client_id}', has expired, or the signature does not hold."
        );
        Self::invalid_client(700_027, &text)
    }

    /// The token of an issuer that the principal does not trust, or not in this.
    fn no_federation(number: u32, what: &str, found: &str) -> Self {
        let text = format!(
            "No matching federated identity record found for presented assertion {what} '{found}'."
        );
        Self::invalid_client(number, &text)
    }

    /// What a token is asked for that is nobody's.
    fn no_resource(name: &str) -> Self {
        let text = format!("The resource principal named {name} was not found in the tenant.");
        Self {
            error: "invalid_resource",
            ..Self::new(500_011, text)
        }
    }

    fn invalid_grant(number: u32, text: &str) -> Self {
        Self {
            error: "invalid_grant",
            ..Self::new(number, text)
        }
    }

    /// Of a name and a password: a wrong secret reads as it does for people.
    fn of_password(self) -> Self {
        match self.number {
            7_000_215 | 700_016 => {
                let text = "Error validating credentials due to invalid username or password.";
                Self::invalid_grant(50_126, text)
            }
            7_000_222 => Self::invalid_grant(50_055, "The password is expired."),
            _ => self,
        }
    }

    fn wrong_secret() -> Self {
        Self::invalid_client(7_000_215, "Invalid client secret provided.")
    }

    fn expired_secret(client_id: &str) -> Self {
        let text = format!("The provided client secret keys for app '{client_id}' are expired.");
        Self::invalid_client(7_000_222, &text)
    }

    /// Clients ask again; until then others have their turn.
    fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "temporarily_unavailable",
            ..Self::new(90_033, "A transient error has occurred. Please try again.")
        }
    }

    fn unknown_client(client_id: &str) -> Self {
        let text = format!("Application with identifier '{client_id}' was not found.");
        Self {
            error: "unauthorized_client",
            ..Self::new(700_016, text)
        }
    }

    fn invalid_client(number: u32, text: &str) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            error: "invalid_client",
            ..Self::new(number, text)
        }
    }

    fn server_error() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: "server_error",
            ..Self::new(90_000, "The token could not be signed.")
        }
    }

    fn answer(&self, parts: &Parts, headers: &HeaderMap) -> Response {
        let given = headers
            .get("client-request-id")
            .and_then(|value| value.to_str().ok());
        let body = json!({
            "error": self.error,
            "error_description": format!("AADSTS{}: {}", self.number, self.text),
            "error_codes": [self.number],
            "timestamp": parts.clock.now().format("%Y-%m-%d %H:%M:%SZ"),
            "trace_id": parts.chance.uuid(),
            "correlation_id": given.map_or_else(|| parts.chance.uuid(), str::to_owned),
        });
        let mut response = no_store((self.status, Json(body)).into_response());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = header::HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

fn no_store(mut response: Response) -> Response {
    let value = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}

async fn keys(State(parts): State<Shared>) -> Json<Value> {
    Json(parts.tokens.public())
}

/// `az` takes the tenant from the issuer's first path segment, whatever it asked for.
fn issuer(parts: &Parts, base: &str) -> String {
    format!("{base}/{}/v2.0", parts.tenant.tenant_id)
}

async fn discovery(
    State(parts): State<Shared>,
    Path(tenant): Path<String>,
    request: Request,
) -> Json<Value> {
    let head = request.into_parts().0;
    let base = origin::base_url(&parts, &head);
    let issuer = issuer(&parts, &origin::own_base_url(&parts, &head));
    if tenant == "adfs" {
        return Json(adfs_configuration(&base, &issuer));
    }
    let below = format!("{base}/{tenant}");
    Json(json!({
        "token_endpoint": format!("{below}/oauth2/v2.0/token"),
        "authorization_endpoint": format!("{below}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{below}/oauth2/v2.0/devicecode"),
        "issuer": issuer,
        "jwks_uri": format!("{below}/discovery/v2.0/keys"),
    }))
}

async fn discovery_below_adfs(State(parts): State<Shared>, request: Request) -> Json<Value> {
    let head = request.into_parts().0;
    let issuer = issuer(&parts, &origin::own_base_url(&parts, &head));
    Json(adfs_configuration(
        &origin::base_url(&parts, &head),
        &issuer,
    ))
}

fn adfs_configuration(base: &str, issuer: &str) -> Value {
    json!({
        "token_endpoint": format!("{base}/adfs/oauth2/token"),
        "authorization_endpoint": format!("{base}/adfs/oauth2/authorize"),
        "device_authorization_endpoint": format!("{base}/adfs/oauth2/devicecode"),
        "issuer": issuer,
        "jwks_uri": format!("{base}/adfs/discovery/keys"),
    })
}

/// One object for current clients, an array of one for those that ask with the version of 2019.
async fn endpoints(
    State(parts): State<Shared>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Json<Value> {
    let base = origin::base_url(&parts, &request.into_parts().0);
    let slashed = format!("{base}/");
    let cloud = json!({
        "name": "Gridpost", "portal": format!("{base}/portal"),
        "authentication": {
            "loginEndpoint": format!("{base}/adfs"), "audiences": [base],
            "tenant": parts.tenant.tenant_id, "identityProvider": "ADFS",
        },
        "graphAudience": slashed, "graph": slashed, "microsoftGraphResourceId": base, "resourceManager": slashed,
        "gallery": slashed, "batch": slashed, "media": slashed,
        "suffixes": {"storage": "localhost", "keyVaultDns": ".vault.localhost"},
    });
    let asks_for_list = version::api_version(query.as_deref()).is_none_or(|v| v < "2022-09-01");
    Json(if asks_for_list { json!([cloud]) } else { cloud })
}

/// Whether the token's times allow its use now.
pub(crate) fn is_current(claims: &Claims, now: Timestamp) -> bool {
    // Clocks of clients do not matter, because we issued the token by the clock we judge it by.
    claims.nbf <= now.seconds() && now.seconds() < claims.exp
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let text = || "x".to_owned();
        Claims {
            aud: text(),
            iss: text(),
            iat: 10,
            nbf: 10,
            exp: 20,
            tid: text(),
            oid: text(),
            appid: "app".into(),
            sub: text(),
            ver: text(),
        }
    }

    #[test]
    fn a_token_is_read_back_by_the_key_that_signed_it_and_by_no_other() {
        let keys = TokenKeys::from_pkcs8(&TokenKeys::generate().unwrap()).unwrap();
        let others = TokenKeys::from_pkcs8(&TokenKeys::generate().unwrap()).unwrap();
        let token = keys.sign(&claims()).unwrap();
        assert_eq!(keys.verify(&token).unwrap().appid, "app");
        assert!(others.verify(&token).is_none());
        assert!(keys.verify(&token[..token.len() - 4]).is_none());
    }

    #[test]
    fn a_key_survives_being_kept() {
        let kept = TokenKeys::generate().unwrap();
        let token = TokenKeys::from_pkcs8(&kept)
            .unwrap()
            .sign(&claims())
            .unwrap();
        assert!(
            TokenKeys::from_pkcs8(&kept)
                .unwrap()
                .verify(&token)
                .is_some()
        );
        assert!(TokenKeys::from_pkcs8(&kept[1..]).is_err());
    }

    #[test]
    fn a_token_is_current_from_its_start_until_before_its_end() {
        let table = [(9, false), (10, true), (19, true), (20, false)];
        for (second, current) in table {
            assert_eq!(
                is_current(&claims(), Timestamp::from_seconds(second)),
                current,
                "{second}"
            );
        }
    }

    #[test]
    fn audiences_are_read_in_every_spelling_of_management_2_1() {
        let table = [
            ("scope=https%3A%2F%2Fh%3A1%2F.default", Some("https://h:1")),
            (
                "scope=https://management.core.windows.net//.default",
                Some("https://management.core.windows.net/"),
            ),
            (
                "scope=https://h/.default+offline_access+openid",
                Some("https://h"),
            ),
            ("resource=https://h/", Some("https://h/")),
            ("", None),
        ];
        for (form, audience) in table {
            assert_eq!(Form::parse(form.as_bytes()).audience(), audience, "{form}");
        }
    }
}
