//! Resource groups.
//!
//! Promise: a group's name and place stay as they were first written; what is in it goes before it does, and nothing is
//! made in a group that is going, if whoever makes it has entered the group and whoever deletes it has closed it.
//! Not here: who may do what to them (`principals`, `roles`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gridpost_model::{ResourceId, Timestamp};
use gridpost_store::{Partition, StoreError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::intake::IntakeKind;
use crate::manage::{Created, Invalid, ManageError};
use crate::registry::GROUPS;
use crate::scope::Scope;
use crate::{Grid, Inner, roles};

/// How many groups there are at most, as the service has it for one subscription.
pub const MOST_GROUPS: usize = 980;

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

/// The doors of the groups that somebody is in, by folded id: those who make something in one keep it open together, and
/// who deletes it closes it alone.
#[derive(Default)]
pub(crate) struct Doors(Mutex<HashMap<String, Arc<RwLock<()>>>>);

impl Doors {
    fn of(&self, id: &ResourceId) -> Arc<RwLock<()>> {
        let mut all = self.0.lock();
        // Who holds one is in it, or waits for it; the others need not be remembered.
        all.retain(|_, door| Arc::strong_count(door) > 1);
        Arc::clone(all.entry(id.key().to_owned()).or_default())
    }
}

/// Keeps a group from going for as long as it is held.
#[must_use = "the group may go as soon as this is dropped"]
#[derive(Debug)]
pub struct InGroup {
    /// The group.
    pub group: Arc<ResourceGroup>,
    _open: OwnedRwLockReadGuard<()>,
}

/// Keeps a group to whoever deletes it.
#[must_use = "others may enter as soon as this is dropped"]
#[derive(Debug)]
pub struct ClosedGroup {
    _closed: OwnedRwLockWriteGuard<()>,
}

/// Why a group was not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEntered {
    /// There is none.
    Missing,
    /// It is being deleted.
    Going,
}

impl Grid {
    /// Enters a group, to make something in it.
    ///
    /// # Errors
    /// There is no such group, or it is being deleted.
    pub fn enter_group(&self, id: &ResourceId) -> Result<InGroup, NotEntered> {
        // It is looked for inside: it may have gone on the way.
        let open = self.0.doors.of(id).try_read_owned();
        let group = self.resource_group(id).ok_or(NotEntered::Missing)?;
        let open = open.map_err(|_| NotEntered::Going)?;
        Ok(InGroup { group, _open: open })
    }

    /// Closes a group, to delete what is in it: waits for those who are, and lets nobody in.
    pub async fn close_group(&self, id: &ResourceId) -> ClosedGroup {
        let closed = self.0.doors.of(id).write_owned().await;
        ClosedGroup { _closed: closed }
    }

    /// Creates a resource group, or changes its tags.
    ///
    /// # Errors
    /// The name is not allowed, the group exists in another location, there are [`MOST_GROUPS`], or the change was not
    /// stored.
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
                let state = inner.registry.read();
                let known = state.groups.get(&id).cloned();
                let (id, created, outcome) = match known {
                    None if MOST_GROUPS <= state.groups.len() => {
                        let message = format!("There are {MOST_GROUPS} resource groups already.");
                        return Err(ManageError::Conflict(message));
                    }
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
                Ok((inner.keep_group(group).await?, outcome))
            })
            .await
    }

    /// Replaces the tags of a group.
    ///
    /// # Errors
    /// There is no such group, or the change was not stored.
    pub async fn patch_resource_group(
        &self,
        id: &ResourceId,
        tags: Option<BTreeMap<String, String>>,
    ) -> Result<Arc<ResourceGroup>, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let known = inner.registry.read().groups.get(&id).cloned();
                let mut group = ResourceGroup::clone(&*known.ok_or(ManageError::NotFound(id))?);
                group.tags = tags.unwrap_or(group.tags);
                group.updated = inner.settings.clock.now();
                Ok(inner.keep_group(group).await?)
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

    /// Deletes a group with the topics, system topics and event subscriptions in it, and the roles assigned in it. False
    /// when there was none. Whoever asks has closed it.
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

impl Inner {
    async fn keep_group(&self, group: ResourceGroup) -> Result<Arc<ResourceGroup>, StoreError> {
        let group = Arc::new(group);
        let written = Arc::clone(&group);
        self.commit(Partition::DIRECTORY, move |txn| {
            txn.put(&GROUPS, written.id.key(), &*written)
        })
        .await?;
        self.registry.update(|state| {
            state.groups.insert(group.id.clone(), Arc::clone(&group));
        });
        Ok(group)
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
    fn the_doors_of_groups_that_nobody_is_in_are_not_remembered() {
        let doors = Doors::default();
        let id = |name: &str| -> ResourceId {
            format!("/subscriptions/s/resourceGroups/{name}")
                .parse()
                .unwrap()
        };
        let entered = doors.of(&id("a")).try_read_owned().unwrap();
        assert!(doors.of(&id("A")).try_write_owned().is_err());
        assert!(doors.of(&id("b")).try_write_owned().is_ok());
        drop(entered);
        assert!(doors.of(&id("a")).try_write_owned().is_ok());
        assert_eq!(doors.0.lock().len(), 1);
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
