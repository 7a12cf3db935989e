//! Secrets that can be recognised but not shown.
//!
//! Promise: what is kept of a secret is worth as little as can be to whoever steals it: Argon2id with a salt of its own,
//! at the cost that OWASP recommends (19 MiB, two passes). Hashing takes some 20 ms of a core, so it never runs on a
//! thread that serves others, and `principals` does one at a time.
//! Not here: whose secrets they are, and who may try one (`principals`).

use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost_model::{Chance, Secret};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A secret that can be recognised but not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretHash(Kept);

// Each is a `Secret`, because that prints as dots and compares in constant time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    /// `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, so that the cost can be raised later.
    Argon2 { argon2: Secret },
    /// Of a data folder that was made before: one round of SHA-256, good for long random secrets only.
    Sha256 { salt: String, digest: Secret },
}

/// What makes each hash of a secret another one. It is drawn before the hashing begins, which happens on a thread that
/// must not ask for chance: the order of the asking is what a seed replays.
#[derive(Clone, Copy, Debug)]
pub struct Salt([u8; 16]);

impl Salt {
    /// One that nobody has seen.
    pub fn fresh(chance: &dyn Chance) -> Self {
        let mut salt = [0; 16];
        chance.fill(&mut salt);
        Self(salt)
    }
}

impl SecretHash {
    /// Hashes a secret. `None` when there is no memory for it.
    pub fn of(secret: &Secret, salt: Salt) -> Option<Self> {
        let salt = SaltString::encode_b64(&salt.0).ok()?;
        let hash = Argon2::default().hash_password(secret.reveal().as_bytes(), &salt);
        let argon2 = Secret::new(hash.ok()?.to_string());
        Some(Self(Kept::Argon2 { argon2 }))
    }

    /// Whether `offered` is the secret.
    pub fn accepts(&self, offered: &Secret) -> bool {
        match &self.0 {
            Kept::Argon2 { argon2 } => PasswordHash::new(argon2.reveal()).is_ok_and(|hash| {
                let offered = offered.reveal().as_bytes();
                Argon2::default().verify_password(offered, &hash).is_ok()
            }),
            Kept::Sha256 { salt, digest } => *digest == sha256(salt, offered),
        }
    }

    /// What tells it from every other hash: each has a salt of its own.
    pub(crate) fn text(&self) -> &str {
        match &self.0 {
            Kept::Argon2 { argon2 } => argon2.reveal(),
            Kept::Sha256 { digest, .. } => digest.reveal(),
        }
    }

    /// Whether the secret would be hashed in another way today.
    pub fn is_outdated(&self) -> bool {
        matches!(self.0, Kept::Sha256 { .. })
    }
}

fn sha256(salt: &str, secret: &Secret) -> Secret {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(secret.reveal());
    Secret::new(BASE64_STANDARD.encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVENS: Salt = Salt([7; 16]);

    #[test]
    fn a_hash_knows_its_secret_and_no_other() {
        let hash = SecretHash::of(&Secret::new("open sesame"), SEVENS).unwrap();
        assert!(hash.accepts(&Secret::new("open sesame")));
        assert!(!hash.accepts(&Secret::new("open sesam")));
        assert!(!hash.is_outdated());
    }

    #[test]
    fn what_is_kept_is_a_slow_hash_that_says_its_cost() {
        let hash = SecretHash::of(&Secret::new("open sesame"), SEVENS).unwrap();
        let text = serde_json::to_string(&hash).unwrap();
        assert!(
            text.starts_with(r#"{"argon2":"$argon2id$v=19$m=19456,t=2,p=1$"#),
            "{text}"
        );
        assert!(!text.contains("sesame"));
        let read: SecretHash = serde_json::from_str(&text).unwrap();
        assert!(read.accepts(&Secret::new("open sesame")));
        assert!(!format!("{hash:?}").contains("argon2id"));
    }

    #[test]
    fn a_secret_of_an_older_data_folder_still_opens_and_is_known_to_be_old() {
        let digest = sha256("salt", &Secret::new("s"));
        let text = serde_json::json!({"salt": "salt", "digest": digest}).to_string();
        let read: SecretHash = serde_json::from_str(&text).unwrap();
        assert!(read.accepts(&Secret::new("s")) && !read.accepts(&Secret::new("t")));
        assert!(read.is_outdated());
    }
}
