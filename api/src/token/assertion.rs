//! Proof by a signed assertion: of the holder of a certificate's key, or of an issuer that the principal trusts.
//!
//! Promise: an assertion opens nothing unless its signature holds under a credential registered for that very client,
//! by an algorithm that the key is made for, within its times and the certificate's, and for this very endpoint or what
//! the credential says. Until it ends it may be presented again, as in the service.
//! Not here: registering credentials (`own::credentials`).
//! Source: reference management 1.3, 2.3.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use gridpost_grid::credentials::{Proof, PublicKeys};
use gridpost_model::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::Value;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::Refusal;
use crate::Parts;

/// What `aud` of a federated token is unless its credential says otherwise.
pub(crate) const FEDERATED_AUDIENCE: &str = "api://AzureADTokenExchange";

/// How far the clock of whoever wrote an assertion may be off, as in the service.
const SKEW_SECONDS: f64 = 300.0;

/// What an assertion says of itself.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audience,
    /// A NumericDate may have a fraction, and MSAL's has.
    exp: Option<f64>,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Audience {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

/// Accepts or refuses a client's assertion. `base` is the address that the client may have written it for.
///
/// # Errors
/// The reason, in the words of the service.
pub(super) fn accept(
    parts: &Parts,
    base: &str,
    client_id: &str,
    assertion: &str,
) -> Result<(), Refusal> {
    let malformed = || Refusal::new(50_027, "The client assertion is not a JSON web token.");
    let header = jsonwebtoken::decode_header(assertion).map_err(|_| malformed())?;
    let claims = read(assertion).ok_or_else(malformed)?;
    let proofs: Vec<Proof> = parts
        .grid
        .credentials_of(client_id)
        .iter()
        .map(|one| one.proof.clone())
        .collect();
    let now = parts.clock.wall();
    let written_by_client =
        claims.iss.eq_ignore_ascii_case(client_id) && claims.sub.eq_ignore_ascii_case(client_id);
    if written_by_client {
        let is_signed = |proof: &Proof| match proof {
            Proof::Certificate { der, .. } => {
                key_of_certificate(der, now).is_some_and(|key| holds(assertion, &header, &key))
            }
            Proof::Federated { .. } => false,
        };
        if !proofs.iter().any(is_signed) {
            return Err(Refusal::unregistered_certificate(client_id));
        }
        if !claims.aud.all().iter().any(|aud| is_ours(parts, base, aud)) {
            let text = "Client assertion audience claim does not match Realm issuer.";
            return Err(Refusal::invalid_client(700_023, text));
        }
    } else {
        federated(&proofs, assertion, &header, &claims)?;
    }
    require_current(&claims, now)
}

fn federated(
    proofs: &[Proof],
    assertion: &str,
    header: &Header,
    claims: &Claims,
) -> Result<(), Refusal> {
    let mut closest = Refusal::no_federation(700_211, "issuer", &claims.iss);
    for proof in proofs {
        let Proof::Federated {
            issuer,
            subject,
            audiences,
            keys,
        } = proof
        else {
            continue;
        };
        if *issuer != claims.iss {
            continue;
        }
        if *subject != claims.sub {
            closest = Refusal::no_federation(700_213, "subject", &claims.sub);
            continue;
        }
        let given = claims.aud.all();
        if !given.iter().any(|aud| audiences.contains(aud)) {
            closest = Refusal::no_federation(700_212, "audience", &given.join(" "));
            continue;
        }
        if keys_of(keys, header)
            .iter()
            .any(|key| holds(assertion, header, key))
        {
            return Ok(());
        }
        let text = "The client assertion failed signature validation with the keys registered for its issuer.";
        closest = Refusal::invalid_client(50_013, text);
    }
    Err(closest)
}

fn require_current(claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
    let since = |moment: f64| now.seconds() as f64 - moment;
    let begun = claims.nbf.is_none_or(|nbf| -SKEW_SECONDS <= since(nbf));
    let lasts = claims.exp.is_some_and(|exp| since(exp) < SKEW_SECONDS);
    if begun && lasts {
        return Ok(());
    }
    let text = "Client assertion is not within its valid time range.";
    Err(Refusal::invalid_client(700_024, text))
}

/// What clients write an assertion for, behind the tenant.
const ENDPOINTS: [&str; 3] = ["oauth2/token", "oauth2/v2.0/token", "v2.0"];

/// The token endpoint or the issuer, under the name the client dialled or one of ours.
fn is_ours(parts: &Parts, base: &str, audience: &str) -> bool {
    [base, &parts.base_url].iter().any(|base| {
        let path = audience.strip_prefix(*base);
        let path = path.and_then(|path| path.strip_prefix('/')?.split_once('/'));
        path.is_some_and(|(_tenant, endpoint)| ENDPOINTS.contains(&endpoint))
    })
}

/// The claims, before anybody has looked at the signature.
fn read(assertion: &str) -> Option<Claims> {
    let payload = assertion.split('.').nth(1)?;
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn holds(assertion: &str, header: &Header, key: &Key) -> bool {
    if !key.algorithms.contains(&header.alg) {
        return false;
    }
    let mut rules = Validation::new(header.alg);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    jsonwebtoken::decode::<Value>(assertion, &key.key, &rules).is_ok()
}

/// A public key, and what it may sign with: a token cannot choose an algorithm that the key is not made for.
struct Key {
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const EC: &[Algorithm] = &[Algorithm::ES256, Algorithm::ES384];

/// The key of a certificate that is valid at that time.
fn key_of_certificate(der: &str, now: Timestamp) -> Option<Key> {
    let der = BASE64_STANDARD.decode(der).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let validity = certificate.validity();
    let valid = validity.not_before.timestamp()..=validity.not_after.timestamp();
    let key = key_in(&certificate)?;
    valid.contains(&now.seconds()).then_some(key)
}

fn key_in(certificate: &X509Certificate<'_>) -> Option<Key> {
    let info = certificate.public_key();
    match info.parsed().ok()? {
        PublicKey::RSA(_) => Some(Key {
            key: DecodingKey::from_rsa_der(&info.subject_public_key.data),
            algorithms: RSA,
        }),
        PublicKey::EC(point) => Some(Key {
            key: DecodingKey::from_ec_der(point.data()),
            algorithms: EC,
        }),
        _ => None,
    }
}

/// The keys that may have signed: the one that the token names, or all when it names none.
fn keys_of(set: &PublicKeys, header: &Header) -> Vec<Key> {
    let Ok(set) = JwkSet::deserialize(set.as_json()) else {
        return Vec::new();
    };
    let is_named = |key: &&Jwk| header.kid.is_none() || key.common.key_id == header.kid;
    set.keys
        .iter()
        .filter(is_named)
        .filter_map(key_of)
        .collect()
}

/// `None` for symmetric keys, because whoever checks a token could write it, and for keys that sign nothing.
fn key_of(jwk: &Jwk) -> Option<Key> {
    use jsonwebtoken::jwk::{AlgorithmParameters, PublicKeyUse};
    if jwk.common.public_key_use == Some(PublicKeyUse::Encryption) {
        return None;
    }
    let algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(_) => EC,
        _ => return None,
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { key, algorithms })
}

/// Whether a set of keys has one that can be used.
pub(crate) fn is_key_set(set: &PublicKeys) -> bool {
    JwkSet::deserialize(set.as_json())
        .is_ok_and(|set| set.keys.iter().any(|jwk| key_of(jwk).is_some()))
}

/// Whether a text has somebody's private key in it, which belongs nowhere but with them.
pub(crate) fn has_private_key(pem: &str) -> bool {
    pem.lines()
        .any(|line| line.contains("-----BEGIN ") && line.contains("PRIVATE KEY"))
}

/// Reads a certificate: its DER, and until when it is valid. `None` when it is none, or of a key that we cannot check.
pub(crate) fn read_certificate(pem: &str) -> Option<(Vec<u8>, Timestamp)> {
    let certificate = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes())
        .filter_map(Result::ok)
        .find(|block| block.label == "CERTIFICATE")?;
    let parsed = certificate.parse_x509().ok()?;
    key_in(&parsed)?;
    let not_after = Timestamp::from_seconds(parsed.validity().not_after.timestamp());
    Some((certificate.contents, not_after))
}
