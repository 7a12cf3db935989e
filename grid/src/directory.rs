//! Resource groups.
//!
//! Promise: a group's name and place stay as they were first written; what is in it goes before it does.
//! Not here: who may do what to them (`principals`, `roles`).

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_model::{ResourceId, Timestamp};
use gridpost_store::Partition;
use serde::{Deserialize, Serialize};

use crate::intake::IntakeKind;
use crate::manage::{Created, Invalid, ManageError};
use crate::registry::GROUPS;
use crate::scope::Scope;
use crate::{Grid, roles};

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
                // Also what was assigned at what was never there.
                roles::forget_at(&inner, &[id.to_string()]).await?;
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
