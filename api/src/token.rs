//! The token endpoint: client credentials in, bearer token out.

use axum::Router;

use crate::Shared;

/// What signs and verifies bearer tokens.
pub struct TokenKeys {
    pkcs8: Vec<u8>,
}

/// The bytes are not a P-256 key in PKCS#8 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key of the token endpoint is not a P-256 key in PKCS#8 form")]
pub struct BadTokenKey;

impl TokenKeys {
    /// A fresh key in PKCS#8 form, for `server` to keep.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn generate() -> Result<Vec<u8>, BadTokenKey> {
        let random = ring::rand::SystemRandom::new();
        ring::signature::EcdsaKeyPair::generate_pkcs8(&ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map(|document| document.as_ref().to_vec())
            .map_err(|_| BadTokenKey)
    }

    /// The keys of a server that keeps these bytes.
    ///
    /// # Errors
    /// The bytes are not such a key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadTokenKey> {
        Ok(Self { pkcs8: pkcs8.to_vec() })
    }
}

/// What is stored of a client secret: its SHA-256.
pub fn secret_hash(secret: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(secret.as_bytes()).into()
}

/// Token, key and discovery endpoints.
pub fn routes() -> Router<Shared> {
    Router::new()
}
