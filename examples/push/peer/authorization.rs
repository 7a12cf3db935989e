//! Who may push: RFC 8292, from the push service's side.
//!
//! Promise: a push is taken only with a token signed by the key it names, for this push service, not expired and for no
//! longer than a day; if the browser subscribed to a key, it is that one.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest a token may be good for (RFC 8292, section 2).
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Why a push is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("no VAPID token: `vapid t=token, k=key` is expected (RFC 8292, section 3)")]
    Missing,
    #[error("the VAPID token cannot be read: {0}")]
    Unreadable(&'static str),
    #[error("the VAPID token is not signed by the key beside it")]
    Signature,
    #[error("the VAPID token is for {0}, which is not this push service")]
    Audience(String),
    #[error("the VAPID token has expired, or is for more than a day")]
    Expiry,
    #[error("the browser subscribed to another key")]
    OtherKey,
}

impl Refused {
    /// RFC 8292, section 4.2: another key than the browser's is forbidden; the rest is not authenticated.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::OtherKey => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

#[derive(Deserialize)]
struct Head {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    exp: u64,
}

/// Checks the `Authorization` of a push. `subscribed` is the key that the browser named, if it did.
pub(crate) fn check(
    authorization: &str,
    subscribed: Option<&[u8]>,
    origin: &str,
    now_seconds: u64,
) -> Result<(), Refused> {
    let (token, key) = parameters(authorization).ok_or(Refused::Missing)?;
    let key = decode(key).ok_or(Refused::Unreadable("its key"))?;
    let (signed, signature) = token
        .rsplit_once('.')
        .ok_or(Refused::Unreadable("its form"))?;
    let (head, claims) = signed
        .split_once('.')
        .ok_or(Refused::Unreadable("its form"))?;
    let head: Head = json(head).ok_or(Refused::Unreadable("its head"))?;
    if head.alg != "ES256" {
        return Err(Refused::Unreadable("its algorithm is not ES256"));
    }
    let claims: Claims = json(claims).ok_or(Refused::Unreadable("its claims"))?;
    let signature = decode(signature).ok_or(Refused::Signature)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| Refused::Signature)?;
    if claims.aud != origin {
        return Err(Refused::Audience(claims.aud));
    }
    if claims.exp <= now_seconds || now_seconds + DAY_SECONDS < claims.exp {
        return Err(Refused::Expiry);
    }
    if subscribed.is_some_and(|subscribed| subscribed != key) {
        return Err(Refused::OtherKey);
    }
    Ok(())
}

/// Token and key.
fn parameters(authorization: &str) -> Option<(&str, &str)> {
    let parameters = authorization.strip_prefix("vapid ")?;
    let find = |name: &str| {
        let mut all = parameters.split(',').map(str::trim);
        all.find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
    };
    Some((find("t")?, find("k")?))
}

fn json<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&decode(part)?).ok()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::{Value, json};

    use super::*;

    const ORIGIN: &str = "http://127.0.0.1:8000";
    const NOW: u64 = 1_000_000;

    fn pair() -> EcdsaKeyPair {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
    }

    fn sign(pair: &EcdsaKeyPair, head: &Value, claims: &Value) -> String {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let part = |value: &Value| encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(head), part(claims));
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let key = encode(pair.public_key().as_ref());
        format!("vapid t={signed}.{}, k={key}", encode(signature.as_ref()))
    }

    /// A token of some key that every push service takes.
    pub(crate) fn good(origin: &str, expires: u64) -> String {
        let claims = json!({"aud": origin, "exp": expires, "sub": "mailto:a@example.com"});
        sign(&pair(), &json!({"typ": "JWT", "alg": "ES256"}), &claims)
    }

    #[test]
    fn a_good_token_of_the_right_key_is_taken() {
        let token = good(ORIGIN, NOW + 60);
        let key = decode(parameters(&token).unwrap().1).unwrap();
        assert_eq!(check(&token, Some(&key), ORIGIN, NOW), Ok(()));
        assert_eq!(check(&token, None, ORIGIN, NOW), Ok(()));
    }

    #[test]
    fn the_key_of_somebody_else_is_forbidden() {
        let other = pair();
        let refused = check(
            &good(ORIGIN, NOW + 60),
            Some(other.public_key().as_ref()),
            ORIGIN,
            NOW,
        )
        .unwrap_err();
        assert_eq!(refused, Refused::OtherKey);
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn rfc_8292_section_2_audience_and_expiry_are_checked() {
        let refused = |token: &str| check(token, None, ORIGIN, NOW).unwrap_err();
        let elsewhere = "https://push.example.net";
        assert_eq!(
            refused(&good(elsewhere, NOW + 60)),
            Refused::Audience(elsewhere.to_owned())
        );
        assert_eq!(refused(&good(ORIGIN, NOW)), Refused::Expiry);
        let too_long = good(ORIGIN, NOW + DAY_SECONDS + 1);
        assert_eq!(refused(&too_long), Refused::Expiry);
    }

    #[test]
    fn a_token_that_somebody_changed_or_did_not_sign_is_refused() {
        let refused = |token: &str| check(token, None, ORIGIN, NOW).unwrap_err();
        let (mine, theirs) = (good(ORIGIN, NOW + 60), good(ORIGIN, NOW + 60));
        let (mine, theirs) = (parameters(&mine).unwrap(), parameters(&theirs).unwrap());
        let mixed = format!("vapid t={}, k={}", mine.0, theirs.1);
        assert_eq!(refused(&mixed), Refused::Signature);
        let claims = json!({"aud": ORIGIN, "exp": NOW + 60});
        let unsigned = sign(&pair(), &json!({"alg": "none"}), &claims);
        assert!(matches!(refused(&unsigned), Refused::Unreadable(_)));
        for nothing in ["", "Bearer x", "vapid t=x", "vapid k=x"] {
            assert_eq!(refused(nothing), Refused::Missing, "{nothing}");
        }
    }
}
