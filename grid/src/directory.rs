//! Resource groups, and the principals who may sign in.
//!
//! Promise: a principal's secret is kept only as a salted hash; it cannot be shown again.
//! Not here: tokens (`api`), what a principal may do (everything, for now).

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost_model::{Chance, ResourceId, Secret, Timestamp};
use gridpost_store::{Partition, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Grid;
use crate::intake::IntakeKind;
use crate::manage::{Created, Invalid, ManageError};
use crate::registry::{GROUPS, PRINCIPALS};
use crate::scope::Scope;

/// A resource group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceGroup {
    /// `/subscriptions/{s}/resourceGroups/{name}`.
    pub id: ResourceId,
    /// `location`.
    pub location: String,
    /// `tags`.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// Somebody who signs in with a client id and a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// `client_id`, `appid`.
    pub client_id: String,
    /// What its secret hashes to.
    pub secret: SecretHash,
    /// When it was written down.
    pub created: Timestamp,
}

/// A secret that can be recognised but not shown.
///
/// Our secrets are random and long, so one round of SHA-256 with a salt is enough: there is nothing to guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretHash {
    salt: String,
    // A `Secret`, because it compares in constant time and prints as dots.
    digest: Secret,
}

impl SecretHash {
    /// Hashes a secret with a fresh salt.
    pub fn of(secret: &Secret, chance: &dyn Chance) -> Self {
        let mut salt = [0; 16];
        chance.fill(&mut salt);
        let salt = BASE64_STANDARD.encode(salt);
        let digest = digest(&salt, secret);
        Self { salt, digest }
    }

    /// Whether `offered` is the secret.
    pub fn accepts(&self, offered: &Secret) -> bool {
        self.digest == digest(&self.salt, offered)
    }
}

fn digest(salt: &str, secret: &Secret) -> Secret {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(secret.reveal());
    Secret::new(BASE64_STANDARD.encode(hasher.finalize()))
}

impl Grid {
    /// Creates a resource group, or changes its tags.
    ///
    /// # Errors
    /// The name is not allowed, the group exists in another location, or the change was not stored.
    pub async fn put_resource_group(
        &self,
        id: ResourceId,
        location: String,
        tags: BTreeMap<String, String>,
    ) -> Result<(Arc<ResourceGroup>, Created), ManageError> {
        check_group_name(id.name())?;
        let now = self.0.settings.clock.now();
        self.0
            .change(move |inner| async move {
                let known = inner.registry.read().groups.get(&id).cloned();
                let (id, created, outcome) = match known {
                    None => (id, now, Created::New),
                    Some(known) if !same_location(&known.location, &location) => {
                        return Err(ManageError::Conflict(format!(
                            "Invalid resource group location '{location}'. The Resource group already exists in location '{}'.",
                            known.location
                        )));
                    }
                    Some(known) => (known.id.clone(), known.created, Created::Updated),
                };
                let group = ResourceGroup { id, location, tags, created, updated: now };
                let written = group.clone();
                inner
                    .commit(Partition::DIRECTORY, move |txn| {
                        txn.put(&GROUPS, written.id.key(), &written)
                    })
                    .await?;
                let group = Arc::new(group);
                inner.registry.update(|state| {
                    state.groups.insert(group.id.clone(), Arc::clone(&group));
                });
                Ok((group, outcome))
            })
            .await
    }

    /// One resource group.
    pub fn resource_group(&self, id: &ResourceId) -> Option<Arc<ResourceGroup>> {
        self.0.registry.read().groups.get(id).cloned()
    }

    /// The resource groups of a scope, by name.
    pub fn resource_groups(&self, scope: &Scope) -> Vec<Arc<ResourceGroup>> {
        let state = self.0.registry.read();
        state
            .groups
            .values()
            .filter(|group| scope.holds(&group.id))
            .cloned()
            .collect()
    }

    /// Deletes a group with the topics, system topics and event subscriptions in it. False when there was none.
    ///
    /// # Errors
    /// A deletion was not stored; what was deleted before it stays deleted.
    pub async fn delete_resource_group(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let scope = Scope::ResourceGroup {
            subscription: id.subscription().unwrap_or_default().to_owned(),
            group: id.name().to_owned(),
        };
        for kind in [IntakeKind::Topic, IntakeKind::Domain] {
            for one in self.entrances(kind, &scope) {
                self.delete_entrance(&one.id).await?;
            }
        }
        for topic in self.system_topics(&scope) {
            self.delete_system_topic(&topic.id).await?;
        }
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                if inner.registry.read().groups.get(&id).is_none() {
                    return Ok(false);
                }
                let key = id.clone();
                inner
                    .commit(Partition::DIRECTORY, move |txn| {
                        txn.remove(&GROUPS, key.key())
                    })
                    .await?;
                inner.registry.update(|state| {
                    state.groups.remove(&id);
                });
                Ok(true)
            })
            .await
    }

    /// A principal by its client id, in any case.
    pub fn principal(&self, client_id: &str) -> Option<Arc<Principal>> {
        self.0
            .registry
            .read()
            .principals
            .get(&client_id.to_ascii_lowercase())
            .cloned()
    }

    /// Writes a principal down, or gives it another secret.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn put_principal(
        &self,
        client_id: &str,
        secret: SecretHash,
    ) -> Result<Arc<Principal>, StoreError> {
        let created = self.0.settings.clock.now();
        let principal = Principal {
            client_id: client_id.to_owned(),
            secret,
            created,
        };
        self.0
            .change(move |inner| async move {
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
            })
            .await
    }
}

fn check_group_name(name: &str) -> Result<(), Invalid> {
    let well_formed = (1..=90).contains(&name.chars().count())
        && !name.ends_with('.')
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || "-_().".contains(c));
    if well_formed {
        return Ok(());
    }
    Err(Invalid::new(
        "resourceGroupName",
        format!(
            "The provided resource group name '{name}' has these invalid characters or is not 1 to 90 letters, digits, '-', '_', '(', ')' or '.', or ends with a period."
        ),
    ))
}

/// Locations compare without case and spaces: `West Europe` is `westeurope`.
pub(crate) fn same_location(one: &str, other: &str) -> bool {
    let folded = |text: &str| text.replace(' ', "").to_ascii_lowercase();
    folded(one) == folded(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sevens;

    impl Chance for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_hash_knows_its_secret_and_no_other() {
        let hash = SecretHash::of(&Secret::new("open sesame"), &Sevens);
        assert!(hash.accepts(&Secret::new("open sesame")));
        assert!(!hash.accepts(&Secret::new("open sesam")));
    }

    #[test]
    fn a_hash_is_read_back_as_it_was_written() {
        let hash = SecretHash::of(&Secret::new("s"), &Sevens);
        let text = serde_json::to_string(&hash).unwrap();
        assert!(
            serde_json::from_str::<SecretHash>(&text)
                .unwrap()
                .accepts(&Secret::new("s"))
        );
        assert!(!format!("{hash:?}").contains(hash.digest.reveal()));
    }

    #[test]
    fn locations_compare_without_case_and_spaces() {
        assert!(same_location("West Europe", "westeurope"));
        assert!(!same_location("local", "global"));
    }

    #[test]
    fn group_names_follow_resource_manager() {
        assert!(check_group_name("rg-1_(a).b").is_ok());
        for name in ["", "ends.", "a/b", "a b", &"x".repeat(91)] {
            assert!(check_group_name(name).is_err(), "{name:?}");
        }
    }
}
