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
        /// The issuer's public keys, a JWK set.
        keys: Value,
    },
}

impl Credential {
    pub(crate) fn key(&self) -> String {
        key(&self.client_id, &self.name)
    }
}

/// Client identifiers have no slash.
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
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if (1..=120).contains(&name.len()) && name.bytes().all(fits) {
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
