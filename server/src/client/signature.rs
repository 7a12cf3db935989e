//! Signing a request to communication services with an access key, as clients do.
//!
//! Source: reference communication-services 2.

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

/// What signs a request to communication services.
pub struct Signature {
    /// The hash of the body, for `x-ms-content-sha256`.
    pub body_hash: String,
    /// The header `authorization`.
    pub authorization: String,
}

/// Signs a POST as the clients do. Source: reference communication-services 2.
///
/// # Errors
/// The key is not base64.
pub fn sign(
    key: &str,
    path_and_query: &str,
    date: &str,
    host: &str,
    body: &[u8],
) -> anyhow::Result<Signature> {
    let body_hash = BASE64_STANDARD.encode(Sha256::digest(body));
    let key = BASE64_STANDARD
        .decode(key)
        .context("the access key is not base64")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).context("the access key is empty")?;
    mac.update(format!("POST\n{path_and_query}\n{date};{host};{body_hash}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let authorization = format!(
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}"
    );
    Ok(Signature {
        body_hash,
        authorization,
    })
}
