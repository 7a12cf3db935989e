//! What principals prove themselves with beside a secret: certificates, and tokens of issuers they trust.
//!
//! Promise: only public parts are kept. A principal has a bounded number of them, told apart by name.
//! Not here: secrets (`principals`), and reading certificates and tokens (`api`).

use std::sync::Arc;

use gridpost_model::Timestamp;
use gridpost_store::Partition;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Grid;
use crate::manage::{Created, Invalid, ManageError};
use crate::principals::is_word;
use crate::registry::CREDENTIALS;

/// How many a principal has at most: each sign-in reads all of them. The service allows 20 federated ones.
pub const MOST_CREDENTIALS: usize = 20;

/// One way of a principal to prove itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// `client_id`, in lower case.
    pub client_id: String,
    /// What people call it; one per principal, in any case.
    pub name: String,
    /// What is checked.
    pub proof: Proof,
    /// When it was registered.
    pub created: Timestamp,
}

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Proof {
    /// The holder of a certificate's key signs an assertion of its own.
    Certificate {
        /// The certificate, in base64 of its DER.
        der: String,
        /// The hexadecimal SHA-256 of the DER.
        thumbprint: String,
        /// From when on it opens nothing.
        not_after: Timestamp,
    },
    /// Somebody else's token says who it is.
    Federated {
        /// `iss` of such a token.
        issuer: String,
        /// `sub`.
        subject: String,
        /// `aud`: one of these.
        audiences: Vec<String>,
        /// The issuer's public keys.
        keys: PublicKeys,
    },
}

/// A JWK set without anything but the public parts of keys, whatever somebody wrote or an earlier version kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Value")]
pub struct PublicKeys(Value);

/// What a public key of RSA or an elliptic curve has; RFC 7517 section 4, RFC 7518 sections 6.2.1 and 6.3.1.
const PUBLIC: [&str; 9] = ["kty", "use", "alg", "kid", "crv", "x", "y", "n", "e"];

/// What only whoever signs has; RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl From<Value> for PublicKeys {
    fn from(set: Value) -> Self {
        let public = |key: &Value| {
            let members = PUBLIC.iter().filter_map(|name| {
                let text = key.get(*name)?.as_str()?;
                Some(((*name).to_owned(), text.into()))
            });
            Value::Object(members.collect())
        };
        let keys: Vec<Value> = keys_of(&set).iter().map(public).collect();
        Self(serde_json::json!({ "keys": keys }))
    }
}

impl PublicKeys {
    /// The set.
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    /// Whether a set that somebody wrote has a private or symmetric part in it.
    pub fn has_private_part(set: &Value) -> bool {
        let is_private = |key: &Value| PRIVATE.iter().any(|name| key.get(*name).is_some());
        keys_of(set).iter().any(is_private)
    }
}

fn keys_of(set: &Value) -> &[Value] {
    set["keys"].as_array().map_or(&[], Vec::as_slice)
}

impl Credential {
    pub(crate) fn key(&self) -> String {
        key(&self.client_id, &self.name)
    }
}

/// Neither client identifiers nor names have a slash.
fn key(client_id: &str, name: &str) -> String {
    format!("{client_id}/{name}").to_ascii_lowercase()
}

impl Grid {
    /// Registers a credential, or another in place of the one of that name.
    ///
    /// # Errors
    /// The principal does not exist or has too many, the name is not allowed, or it was not stored.
    pub async fn put_credential(
        &self,
        client_id: &str,
        name: &str,
        proof: Proof,
    ) -> Result<(Arc<Credential>, Created), ManageError> {
        check_name(name)?;
        let credential = Credential {
            client_id: client_id.to_ascii_lowercase(),
            name: name.to_owned(),
            proof,
            created: self.0.settings.clock.now(),
        };
        self.0
            .change(move |inner| async move {
                let key = credential.key();
                let state = inner.registry.read();
                if !state.principals.contains_key(&credential.client_id) {
                    let message = format!("There is no principal '{}'.", credential.client_id);
                    return Err(Invalid::new("clientId", message).into());
                }
                let outcome = match state.credentials.contains_key(&key) {
                    true => Created::Updated,
                    false => Created::New,
                };
                let count = state.credentials_of(&credential.client_id).count();
                if outcome == Created::New && count >= MOST_CREDENTIALS {
                    let message = format!(
                        "A principal has {MOST_CREDENTIALS} credentials at most; delete one before adding another."
                    );
                    return Err(ManageError::Conflict(message));
                }
                let (row, written) = (key.clone(), credential.clone());
                inner
                    .commit(Partition::DIRECTORY, move |txn| {
                        txn.put(&CREDENTIALS, row.as_str(), &written)
                    })
                    .await?;
                let credential = Arc::new(credential);
                inner.registry.update(|state| {
                    state.credentials.insert(key, Arc::clone(&credential));
                });
                Ok((credential, outcome))
            })
            .await
    }

    /// The credentials of a principal, by name.
    pub fn credentials_of(&self, client_id: &str) -> Vec<Arc<Credential>> {
        let state = self.0.registry.read();
        state
            .credentials_of(&client_id.to_ascii_lowercase())
            .cloned()
            .collect()
    }

    /// Takes a credential away. False when there was none.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn delete_credential(
        &self,
        client_id: &str,
        name: &str,
    ) -> Result<bool, ManageError> {
        let key = key(client_id, name);
        self.0
            .change(move |inner| async move {
                if !inner.registry.read().credentials.contains_key(&key) {
                    return Ok(false);
                }
                let row = key.clone();
                inner
                    .commit(Partition::DIRECTORY, move |txn| {
                        txn.remove(&CREDENTIALS, row.as_str())
                    })
                    .await?;
                inner.registry.update(|state| {
                    state.credentials.remove(&key);
                });
                Ok(true)
            })
            .await
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    if is_word(name) {
        return Ok(());
    }
    let message = "A credential's name has 1 to 120 letters, digits, '-', '_' and '.'.";
    Err(Invalid::new("name", message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_stand_in_a_path() {
        assert!(check_name("build-agent_1.x").is_ok());
        for name in ["", "a/b", "a b", &"x".repeat(121)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn of_keys_only_what_is_public_is_kept_also_of_those_an_earlier_version_wrote() {
        let written = serde_json::json!({"note": "n", "keys": [
            {"kty": "EC", "crv": "P-256", "x": "X", "y": "Y", "kid": "1", "d": "D", "x5c": ["C"]},
            {"kty": "RSA", "n": "N", "e": "AQAB", "p": "P", "alg": {"d": "D"}},
        ]});
        assert!(PublicKeys::has_private_part(&written));
        let read: PublicKeys = serde_json::from_value(written).unwrap();
        let kept = serde_json::json!({"keys": [
            {"kty": "EC", "crv": "P-256", "x": "X", "y": "Y", "kid": "1"},
            {"kty": "RSA", "n": "N", "e": "AQAB"},
        ]});
        assert_eq!(*read.as_json(), kept);
        assert!(!PublicKeys::has_private_part(&kept));
        assert_eq!(serde_json::to_value(&read).unwrap(), kept);
    }

    #[test]
    fn a_credential_is_read_back_as_it_was_written() {
        let written = Credential {
            client_id: "c".into(),
            name: "n".into(),
            proof: Proof::Certificate {
                der: "AA==".into(),
                thumbprint: "00".into(),
                not_after: Timestamp::EPOCH,
            },
            created: Timestamp::EPOCH,
        };
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(serde_json::from_str::<Credential>(&text).unwrap(), written);
    }
}
