//! Principals: the applications that may sign in.
//!
//! Promise: of a secret only a hash is kept. A secret that somebody chose has a slow one: those are tried one at a time,
//! away from the threads that serve, with a bounded number waiting. Whoever tries many keeps one core busy at most, also
//! by hanging up, and does not keep out an application whose secret was accepted before: that one is recognised without it.
//! Not here: tokens (`api`), what a principal may do (`roles`), how a secret is hashed (`secret_hash`).

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gridpost_model::{Chance, Secret, Timestamp};
use gridpost_store::{Partition, StoreError};
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::manage::{Invalid, ManageError};
use crate::registry::{CREDENTIALS, PRINCIPALS, ROLE_ASSIGNMENTS};
pub use crate::secret_hash::{Salt, SecretHash};
use crate::{Grid, Inner};

/// How many principals there are at most: each sign-in reads one, each start reads all.
pub const MOST_PRINCIPALS: usize = 1_000;

/// How many secrets a principal has at most: two, so that one can be exchanged for another without a gap. The one of a
/// configuration is beside them, so that it takes nobody's place.
pub const MOST_SECRETS: usize = 2;

/// What the secret is called that a configuration gives: there is one, however often it is changed.
pub const SECRET_OF_CONFIGURATION: &str = "configuration";

/// How many sign-ins wait for their turn at most; at 0.1 s each the last of them waits for under two seconds.
const MOST_WAITING: usize = 16;

/// How many accepted secrets are recognised quickly, some 150 bytes each.
const MOST_REMEMBERED: usize = 2 * MOST_PRINCIPALS;

/// An application that signs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Principal {
    /// `client_id`, `appid`: what it signs in as.
    pub client_id: String,
    /// `oid`: what roles are assigned to.
    pub object_id: String,
    /// What people call it; may be empty.
    pub display_name: String,
    /// Its secrets, [`MOST_SECRETS`] at most and the one of a configuration.
    pub secrets: Vec<ClientSecret>,
    /// When it was written down.
    pub created: Timestamp,
}

/// One of a principal's secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecret {
    /// Its identifier.
    pub id: String,
    /// Its first characters, so that people know which one it is.
    #[serde(default)]
    pub hint: String,
    /// What it hashes to.
    pub hash: SecretHash,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it opens nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// A principal as some version wrote it down.
#[derive(Deserialize)]
struct Stored {
    client_id: String,
    object_id: Option<String>,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    secrets: Vec<ClientSecret>,
    /// The only one, in the first version.
    secret: Option<SecretHash>,
    created: Timestamp,
}

impl From<Stored> for Principal {
    fn from(stored: Stored) -> Self {
        let first = stored.secret.map(|hash| ClientSecret {
            id: SECRET_OF_CONFIGURATION.to_owned(),
            hint: String::new(),
            hash,
            created: stored.created,
            expires: None,
        });
        Self {
            object_id: stored.object_id.unwrap_or_else(|| stored.client_id.clone()),
            client_id: stored.client_id,
            display_name: stored.display_name,
            secrets: first.into_iter().chain(stored.secrets).collect(),
            created: stored.created,
        }
    }
}

impl Principal {
    /// A principal without a secret.
    pub fn new(client_id: &str, object_id: &str, display_name: &str, created: Timestamp) -> Self {
        Self {
            client_id: client_id.to_owned(),
            object_id: object_id.to_owned(),
            display_name: display_name.to_owned(),
            secrets: Vec::new(),
            created,
        }
    }

    /// Whether it has the secret of this mark still, and that is good at this time.
    pub fn has_secret(&self, mark: &str, now: Timestamp) -> bool {
        let mut secrets = self.secrets.iter();
        secrets.any(|one| one.is_good_at(now) && one.mark() == mark)
    }
}

impl ClientSecret {
    /// A secret that was hashed, to be written down.
    pub fn new(
        id: &str,
        secret: &Secret,
        hash: SecretHash,
        created: Timestamp,
        expires: Option<Timestamp>,
    ) -> Self {
        // Of a short secret nothing is shown.
        let hint = match secret.reveal().len() {
            16.. => secret.reveal().chars().take(3).collect(),
            _ => String::new(),
        };
        Self {
            id: id.to_owned(),
            hint,
            hash,
            created,
            expires,
        }
    }

    /// What tells it from every other, also from one that has its identifier later. It opens nothing.
    pub fn mark(&self) -> String {
        let digest = Sha256::digest(self.hash.text());
        BASE64_URL_SAFE_NO_PAD.encode(&digest[..16])
    }

    /// Whether a configuration gave it.
    pub fn is_of_configuration(&self) -> bool {
        self.id == SECRET_OF_CONFIGURATION
    }

    fn is_good_at(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Somebody who proved to be it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Who that is.
    pub principal: Arc<Principal>,
    /// The secret it was proved with.
    pub secret: ClientSecret,
}

/// Why somebody is not signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Nobody has that client id.
    #[error("there is no such principal")]
    Unknown,
    /// It has no such secret.
    #[error("the secret is wrong")]
    WrongSecret,
    /// It had such a secret, and the time of that is over.
    #[error("the secret has expired")]
    Expired,
    /// Too many are trying; trying again later is right.
    #[error("too many sign-ins are waiting")]
    Busy,
}

/// What trying secrets takes.
pub(crate) struct SignIns {
    waiting: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    /// What accepted secrets hash to with a key that only this process knows, by what is kept of them.
    remembered: Mutex<HashMap<String, [u8; 32]>>,
    key: [u8; 32],
}

impl SignIns {
    pub(crate) fn new(chance: &dyn Chance) -> Self {
        let mut key = [0; 32];
        chance.fill(&mut key);
        Self {
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            turn: Arc::new(Semaphore::new(1)),
            remembered: Mutex::default(),
            key,
        }
    }

    fn recognises(&self, hash: &SecretHash, offered: &Secret) -> bool {
        let known = self.remembered.lock().get(hash.text()).copied();
        known.is_some_and(|known| {
            self.mac(hash, offered)
                .is_some_and(|mac| mac.verify_slice(&known).is_ok())
        })
    }

    fn remember(&self, hash: &SecretHash, accepted: &Secret) {
        let Some(mac) = self.mac(hash, accepted) else {
            return;
        };
        let mut remembered = self.remembered.lock();
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(hash.text().to_owned(), mac.finalize().into_bytes().into());
    }

    fn mac(&self, hash: &SecretHash, secret: &Secret) -> Option<Hmac<Sha256>> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        let mac = mac.chain_update(hash.text()).chain_update([0]);
        Some(mac.chain_update(secret.reveal()))
    }
}

impl Grid {
    /// A principal by its client id, in any case.
    pub fn principal(&self, client_id: &str) -> Option<Arc<Principal>> {
        self.0
            .registry
            .read()
            .principals
            .get(&client_id.to_ascii_lowercase())
            .cloned()
    }

    /// A principal by its object id or its client id, in any case.
    pub fn principal_of(&self, id: &str) -> Option<Arc<Principal>> {
        let state = self.0.registry.read();
        let is_it = |one: &&Arc<Principal>| one.object_id.eq_ignore_ascii_case(id);
        let found = state.principals.values().find(is_it);
        found
            .or_else(|| state.principals.get(&id.to_ascii_lowercase()))
            .cloned()
    }

    /// All principals, by client id.
    pub fn principals(&self) -> Vec<Arc<Principal>> {
        self.0
            .registry
            .read()
            .principals
            .values()
            .cloned()
            .collect()
    }

    /// The principal whose client id and secret these are. `now` is by the clock that secrets expire by.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(
        &self,
        client_id: &str,
        offered: &Secret,
        now: Timestamp,
    ) -> Result<SignedIn, SignInError> {
        let principal = self.principal(client_id).ok_or(SignInError::Unknown)?;
        let sign_ins = &self.0.sign_ins;
        let fits_at_once = |one: &&ClientSecret| match one.hash.is_slow() {
            true => sign_ins.recognises(&one.hash, offered),
            false => one.hash.accepts(offered),
        };
        let secret = match principal.secrets.iter().find(fits_at_once) {
            Some(fitting) => fitting.clone(),
            None => self.try_slowly(&principal, offered).await?,
        };
        if !secret.is_good_at(now) {
            return Err(SignInError::Expired);
        }
        Ok(SignedIn { principal, secret })
    }

    async fn try_slowly(
        &self,
        principal: &Arc<Principal>,
        offered: &Secret,
    ) -> Result<ClientSecret, SignInError> {
        if !principal.secrets.iter().any(|one| one.hash.is_slow()) {
            return Err(SignInError::WrongSecret);
        }
        let sign_ins = &self.0.sign_ins;
        let waits = Arc::clone(&sign_ins.waiting)
            .try_acquire_owned()
            .map_err(|_| SignInError::Busy)?;
        let turn = Arc::clone(&sign_ins.turn).acquire_owned().await;
        let (known, tried) = (Arc::clone(principal), offered.clone());
        let found = tokio::task::spawn_blocking(move || {
            // Hashing cannot be stopped, so whoever hangs up has had this turn all the same.
            let _until_hashed = (turn, waits);
            let mut slow = known.secrets.iter().filter(|one| one.hash.is_slow());
            slow.find(|one| one.hash.accepts(&tried)).cloned()
        });
        let found = found.await.unwrap_or_default();
        let found = found.ok_or(SignInError::WrongSecret)?;
        sign_ins.remember(&found.hash, offered);
        Ok(found)
    }

    /// Writes a principal down, or writes another in its place.
    ///
    /// # Errors
    /// There are too many, its client id cannot stand in a path, its object id is another's, or it was not stored.
    pub async fn put_principal(&self, principal: Principal) -> Result<Arc<Principal>, ManageError> {
        if !is_word(&principal.client_id) {
            let message = "A client id has 1 to 120 letters, digits, '-', '_' and '.'.";
            return Err(Invalid::new("clientId", message.to_owned()).into());
        }
        self.0
            .change(move |inner| async move {
                let key = principal.client_id.to_ascii_lowercase();
                let state = inner.registry.read();
                if !state.principals.contains_key(&key) && state.principals.len() >= MOST_PRINCIPALS
                {
                    let message = format!("There are {MOST_PRINCIPALS} principals already.");
                    return Err(ManageError::Conflict(message));
                }
                let is_taken = state.principals.iter().any(|(other, one)| {
                    *other != key && one.object_id.eq_ignore_ascii_case(&principal.object_id)
                });
                if is_taken {
                    let message = "Another principal has this object id.".to_owned();
                    return Err(ManageError::Conflict(message));
                }
                write(&inner, principal).await
            })
            .await
    }

    /// Gives a principal another secret. `None` when there is no such principal, which is not made by this.
    ///
    /// # Errors
    /// It has [`MOST_SECRETS`] already, or it was not stored.
    pub async fn add_secret(
        &self,
        client_id: &str,
        secret: ClientSecret,
    ) -> Result<Option<Arc<Principal>>, ManageError> {
        let key = client_id.to_ascii_lowercase();
        self.0
            .change(move |inner| async move {
                let Some(known) = inner.registry.read().principals.get(&key).cloned() else {
                    return Ok(None);
                };
                let mut principal = (*known).clone();
                principal.secrets.push(secret);
                write(&inner, principal).await.map(Some)
            })
            .await
    }

    /// Takes a secret away from a principal. False when there was none.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn remove_secret(&self, client_id: &str, id: &str) -> Result<bool, ManageError> {
        let (key, id) = (client_id.to_ascii_lowercase(), id.to_owned());
        self.0
            .change(move |inner| async move {
                let Some(known) = inner.registry.read().principals.get(&key).cloned() else {
                    return Ok(false);
                };
                let mut principal = (*known).clone();
                principal.secrets.retain(|one| one.id != id);
                if principal.secrets.len() == known.secrets.len() {
                    return Ok(false);
                }
                write(&inner, principal).await.map(|_| true)
            })
            .await
    }

    /// Deletes a principal with its credentials and the roles it was assigned. False when there was none.
    ///
    /// # Errors
    /// The deletion was not stored.
    pub async fn delete_principal(&self, client_id: &str) -> Result<bool, StoreError> {
        let key = client_id.to_ascii_lowercase();
        self.0
            .change(move |inner| async move {
                let state = inner.registry.read();
                let Some(principal) = state.principals.get(&key).cloned() else {
                    return Ok(false);
                };
                let held = state.roles.held_by(&principal.object_id);
                let credentials: Vec<String> =
                    state.credentials_of(&key).map(|one| one.key()).collect();
                let (row, rows, proofs) = (key.clone(), held.clone(), credentials.clone());
                inner
                    .commit(Partition::DIRECTORY, move |txn| {
                        txn.remove(&PRINCIPALS, row.as_str())?;
                        proofs
                            .iter()
                            .try_for_each(|key| txn.remove(&CREDENTIALS, key.as_str()))?;
                        rows.iter()
                            .try_for_each(|one| txn.remove(&ROLE_ASSIGNMENTS, one.key()))
                    })
                    .await?;
                inner.registry.update(|state| {
                    state.principals.remove(&key);
                    for key in &credentials {
                        state.credentials.remove(key);
                    }
                    for one in held.iter() {
                        state.roles.remove(one);
                    }
                });
                Ok(true)
            })
            .await
    }
}

/// Writes a principal in the middle of a change.
async fn write(inner: &Inner, principal: Principal) -> Result<Arc<Principal>, ManageError> {
    let made = principal.secrets.iter();
    if made.filter(|one| !one.is_of_configuration()).count() > MOST_SECRETS {
        let message = format!(
            "A principal has {MOST_SECRETS} secrets at most; delete one before adding another."
        );
        return Err(Invalid::new("secrets", message).into());
    }
    let key = principal.client_id.to_ascii_lowercase();
    let (row, written) = (key.clone(), principal.clone());
    inner
        .commit(Partition::DIRECTORY, move |txn| {
            txn.put(&PRINCIPALS, row.as_str(), &written)
        })
        .await?;
    let principal = Arc::new(principal);
    inner.registry.update(|state| {
        state.principals.insert(key, Arc::clone(&principal));
    });
    Ok(principal)
}

/// Whether a name can stand in a path and in a key.
pub(crate) fn is_word(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=120).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_of_the_first_version_is_read_with_its_one_secret() {
        let row = serde_json::json!({
            "client_id": "3333-AB", "secret": {"salt": "s", "digest": "d"},
            "created": Timestamp::EPOCH,
        });
        let read: Principal = serde_json::from_value(row).unwrap();
        assert_eq!(read.object_id, "3333-AB");
        assert_eq!(read.secrets.len(), 1);
        let again: Principal =
            serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }
}
