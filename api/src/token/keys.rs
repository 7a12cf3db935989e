//! The key of the token endpoint, and what its tokens say.
//!
//! Promise: a token is read back by the key that signed it and by no other.
//! Not here: who gets a token (`token`), what one opens (`auth::bearer`).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gridpost_model::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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

    pub(super) fn public(&self) -> Value {
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
}
