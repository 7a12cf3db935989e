//! Who pushes: the server's own key and the signed token of RFC 8292.
//!
//! Promise: the key is made at the first start and kept in a file that only its owner reads. Browsers subscribe to this
//! key, so with another one every push is refused: it is worth a backup.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Uri;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

/// How long a token is good for: half of the day that RFC 8292, section 2, allows, so that clocks may differ.
const LIFE_SECONDS: u64 = 12 * 60 * 60;

/// Only its owner may read or write it.
const PRIVATE: u32 = 0o600;

/// The key that browsers subscribe to.
pub(crate) struct Vapid {
    pair: EcdsaKeyPair,
    contact: String,
}

impl Vapid {
    /// Reads the key, or makes one and keeps it. `contact` is where a push service finds the operator: a `mailto:` or
    /// `https:` address.
    pub(crate) fn open(file: &Path, contact: String) -> Result<Self> {
        if !file.exists() {
            make(file).with_context(|| format!("making the key {}", file.display()))?;
        }
        let document = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &document,
            &SystemRandom::new(),
        )
        .map_err(|error| anyhow!("{} is not a key of ours: {error}", file.display()))?;
        Ok(Self { pair, contact })
    }

    /// The public half, in the words that `PushManager.subscribe` takes.
    pub(crate) fn public(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.pair.public_key())
    }

    /// The `Authorization` of a push to `endpoint`: a token for that push service alone, and the key to check it with.
    pub(crate) fn authorization(&self, endpoint: &Uri, now_seconds: u64) -> Result<String> {
        let head = json!({"typ": "JWT", "alg": "ES256"});
        let claims = json!({
            "aud": origin(endpoint).context("the endpoint has no host")?,
            "exp": now_seconds + LIFE_SECONDS,
            "sub": self.contact,
        });
        let signed = format!("{}.{}", part(&head), part(&claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| anyhow!("the token cannot be signed"))?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("vapid t={signed}.{signature}, k={}", self.public()))
    }
}

/// Under another name first: a key that was cut short by a crash is never read.
fn make(file: &Path) -> Result<()> {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| anyhow!("the system gives no random numbers"))?;
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE);
    let mut writer = options.open(&new)?;
    writer.write_all(document.as_ref())?;
    writer.sync_all()?;
    fs::rename(&new, file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    Ok(File::open(folder)?.sync_all()?)
}

/// Scheme, host and port, as a browser writes an origin.
fn origin(endpoint: &Uri) -> Option<String> {
    Some(format!(
        "{}://{}",
        endpoint.scheme_str()?,
        endpoint.authority()?
    ))
}

fn part(value: &serde_json::Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    const CONTACT: &str = "mailto:operator@example.com";

    fn decode(text: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn the_key_outlives_a_restart_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vapid.key");
        let first = Vapid::open(&file, CONTACT.to_owned()).unwrap().public();
        let second = Vapid::open(&file, CONTACT.to_owned()).unwrap().public();
        assert_eq!(first, second);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert_eq!(decode(&first).len(), crate::encryption::POINT_BYTES);
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vapid.key");
        fs::write(&file, "not a key").unwrap();
        let error = Vapid::open(&file, CONTACT.to_owned()).err().unwrap();
        assert!(error.to_string().contains("vapid.key"), "{error}");
    }

    #[test]
    fn rfc_8292_section_2_the_token_is_for_one_push_service_and_half_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let vapid = Vapid::open(&folder.path().join("key"), CONTACT.to_owned()).unwrap();
        let endpoint = Uri::from_static("https://push.example.net:8443/p/secret");
        let header = vapid.authorization(&endpoint, 1_000).unwrap();

        let (token, key) = header
            .strip_prefix("vapid t=")
            .and_then(|rest| rest.split_once(", k="))
            .unwrap();
        assert_eq!(key, vapid.public());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decode(key))
            .verify(signed.as_bytes(), &decode(signature))
            .unwrap();
        let claims: Value =
            serde_json::from_slice(&decode(signed.split_once('.').unwrap().1)).unwrap();
        let expected = json!({
            "aud": "https://push.example.net:8443",
            "exp": 1_000 + LIFE_SECONDS,
            "sub": CONTACT,
        });
        assert_eq!(claims, expected);
    }
}
