//! Secrets that can be recognised but not shown.
//!
//! Promise: what is kept of a secret is worth as little as can be to whoever steals it. A secret that a person chose may be
//! guessed, so that trying one is made expensive: PBKDF2 with HMAC-SHA-256, as often as OWASP recommends. It takes a tenth
//! of a second of a core, so it never runs on a thread that serves others, and `principals` does one at a time. A secret
//! that this server drew has 240 random bits, which nobody guesses: one round of SHA-256 hides it.
//! Not here: whose secrets they are, and who may try one (`principals`).
//! A hash that takes memory too (Argon2id) was measured: the 19 MiB of its first run stay with the process, which is
//! half as much again as an idle server has.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost_model::{Chance, Secret};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Password Storage Cheat Sheet of OWASP: what PBKDF2 with HMAC-SHA-256 should take.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// A secret that can be recognised but not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretHash {
    salt: String,
    /// How often PBKDF2 went round, so that the cost can be raised later; none for one round of SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iterations: Option<NonZeroU32>,
    // A `Secret`, because that prints as dots and compares in constant time.
    digest: Secret,
}

/// What makes each hash of a secret another one. It is drawn before the hashing begins, which may happen on a thread that
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
    /// Hashes a secret that was drawn at random, from 128 bits or more.
    pub fn of_random(secret: &Secret, salt: Salt) -> Self {
        Self::with(secret, salt, None)
    }

    /// Hashes a secret that somebody chose. Takes a tenth of a second.
    pub fn of_chosen(secret: &Secret, salt: Salt) -> Self {
        Self::with(secret, salt, Some(ITERATIONS))
    }

    fn with(secret: &Secret, salt: Salt, iterations: Option<NonZeroU32>) -> Self {
        let salt = BASE64_STANDARD.encode(salt.0);
        Self {
            digest: digest(&salt, iterations, secret),
            salt,
            iterations,
        }
    }

    /// Whether `offered` is the secret.
    pub fn accepts(&self, offered: &Secret) -> bool {
        self.digest == digest(&self.salt, self.iterations, offered)
    }

    /// Whether trying a secret takes long.
    pub fn is_slow(&self) -> bool {
        self.iterations.is_some()
    }

    /// What tells it from every other hash: each has a salt of its own.
    pub(crate) fn text(&self) -> &str {
        self.digest.reveal()
    }
}

fn digest(salt: &str, iterations: Option<NonZeroU32>, secret: &Secret) -> Secret {
    let (salt, secret) = (salt.as_bytes(), secret.reveal().as_bytes());
    let mut out = [0; 32];
    match iterations {
        Some(iterations) => {
            pbkdf2::derive(PBKDF2_HMAC_SHA256, iterations, salt, secret, &mut out);
        }
        None => {
            let hasher = Sha256::new().chain_update(salt).chain_update(secret);
            out = hasher.finalize().into();
        }
    }
    Secret::new(BASE64_STANDARD.encode(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVENS: Salt = Salt([7; 16]);

    #[test]
    fn a_hash_knows_its_secret_and_no_other() {
        for hashed in [SecretHash::of_random, SecretHash::of_chosen] {
            let hash = hashed(&Secret::new("open sesame"), SEVENS);
            assert!(hash.accepts(&Secret::new("open sesame")));
            assert!(!hash.accepts(&Secret::new("open sesam")));
        }
    }

    #[test]
    fn what_is_kept_of_a_chosen_secret_says_its_cost_and_not_the_secret() {
        let hash = SecretHash::of_chosen(&Secret::new("open sesame"), SEVENS);
        assert!(hash.is_slow());
        let text = serde_json::to_string(&hash).unwrap();
        assert!(text.contains(r#""iterations":600000"#), "{text}");
        assert!(!text.contains("sesame"));
        let read: SecretHash = serde_json::from_str(&text).unwrap();
        assert!(read.accepts(&Secret::new("open sesame")));
        assert!(!format!("{hash:?}").contains(hash.text()));
    }

    #[test]
    fn pbkdf2_is_what_everybody_computes() {
        // RFC 7914, section 11: "passwd", "salt", one iteration; the first 32 octets.
        let made = digest("salt", NonZeroU32::new(1), &Secret::new("passwd"));
        let octets = BASE64_STANDARD.decode(made.reveal()).unwrap();
        let text: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(
            text,
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
        );
    }

    #[test]
    fn a_hash_of_the_first_version_still_opens() {
        let digest = digest("salt", None, &Secret::new("s"));
        let text = serde_json::json!({"salt": "salt", "digest": digest}).to_string();
        let read: SecretHash = serde_json::from_str(&text).unwrap();
        assert!(read.accepts(&Secret::new("s")) && !read.accepts(&Secret::new("t")));
        assert!(!read.is_slow());
    }
}
