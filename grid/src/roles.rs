//! Role assignments: who holds which role, and where.
//!
//! Promise: a principal may do what one of its roles allows at a scope that covers the target, and nothing else. Asking
//! reads memory only, and costs as much as the principal has assignments.
//! Not here: what a role allows (`model::role`), which action a call is (`api`).

use std::sync::Arc;

use gridpost_model::role::covers;
use gridpost_model::{Plane, ResourceId, Role, Timestamp};
use gridpost_store::{Partition, StoreError};
use imbl::{HashMap, OrdMap};
use serde::{Deserialize, Serialize};

use crate::Grid;
use crate::manage::{Invalid, ManageError};
use crate::principals::Principal;
use crate::registry::{ROLE_ASSIGNMENTS, folded};

/// How many assignments there are at most, as the service has it for one subscription.
pub const MOST_ASSIGNMENTS: usize = 4_000;

/// The scope above all.
pub const ROOT: &str = "/";

/// A role that a principal holds at a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// Its name, a GUID.
    pub name: String,
    /// Where: `/`, a subscription, a resource group or a resource. No slash at its end.
    pub scope: String,
    /// The principal's object id.
    pub principal_id: String,
    /// The role's GUID.
    pub role: String,
    /// What the one who assigned it said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was assigned.
    pub created: Timestamp,
    /// By whom: an object id.
    pub created_by: String,
}

impl RoleAssignment {
    /// What it is stored by.
    pub(crate) fn key(&self) -> String {
        folded(&self.name)
    }

    /// The role.
    pub fn role(&self) -> Option<&'static Role> {
        Role::find(&self.role)
    }

    /// Its identifier: `{scope}/providers/Microsoft.Authorization/roleAssignments/{name}`.
    pub fn id(&self) -> String {
        let scope = self.scope.trim_end_matches('/');
        format!(
            "{scope}/providers/Microsoft.Authorization/roleAssignments/{}",
            self.name
        )
    }

    fn is_same_grant(&self, other: &Self) -> bool {
        self.scope.eq_ignore_ascii_case(&other.scope)
            && self.principal_id.eq_ignore_ascii_case(&other.principal_id)
            && self.role.eq_ignore_ascii_case(&other.role)
    }
}

/// Why a role is not assigned.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// The principal holds the role there already, by that assignment.
    #[error("The role assignment already exists. The ID of the existing role assignment is {}.", .0.name.replace('-', ""))]
    Exists(Arc<RoleAssignment>),
    /// An assignment of that name says something else; it cannot be changed.
    #[error("Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")]
    Different,
    /// Nobody has that object id.
    #[error("Principal {0} does not exist in the directory.")]
    NoPrincipal(String),
    /// There are [`MOST_ASSIGNMENTS`].
    #[error("The number of role assignments has reached its limit of {MOST_ASSIGNMENTS}.")]
    TooMany,
    /// A value is not acceptable, or nothing was stored.
    #[error(transparent)]
    Refused(#[from] ManageError),
}

impl From<StoreError> for AssignError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// All assignments. Cloning is cheap.
#[derive(Clone, Default)]
pub(crate) struct Roles {
    by_name: OrdMap<String, Arc<RoleAssignment>>,
    /// By the folded object id of who holds them.
    held: HashMap<String, Arc<[Arc<RoleAssignment>]>>,
}

impl Roles {
    pub(crate) fn insert(&mut self, one: &Arc<RoleAssignment>) {
        self.by_name.insert(one.key(), Arc::clone(one));
        self.gather(&one.principal_id);
    }

    pub(crate) fn remove(&mut self, one: &RoleAssignment) {
        self.by_name.remove(&one.key());
        self.gather(&one.principal_id);
    }

    pub(crate) fn held_by(&self, principal_id: &str) -> Arc<[Arc<RoleAssignment>]> {
        let held = self.held.get(&folded(principal_id)).cloned();
        held.unwrap_or_default()
    }

    fn gather(&mut self, principal_id: &str) {
        let is_theirs =
            |one: &&Arc<RoleAssignment>| one.principal_id.eq_ignore_ascii_case(principal_id);
        let all: Arc<[_]> = self.by_name.values().filter(is_theirs).cloned().collect();
        let key = folded(principal_id);
        if all.is_empty() {
            self.held.remove(&key);
        } else {
            self.held.insert(key, all);
        }
    }
}

impl Grid {
    /// Whether a principal, by its object id, may do something to what is at a scope.
    pub fn may(&self, principal_id: &str, plane: Plane, action: &str, scope: &str) -> bool {
        let held = self.0.registry.read().roles.held_by(principal_id);
        held.iter().any(|one| {
            covers(&one.scope, scope) && one.role().is_some_and(|role| role.allows(plane, action))
        })
    }

    /// Whether a principal holds any role anywhere.
    pub fn holds_any_role(&self, principal_id: &str) -> bool {
        let state = self.0.registry.read();
        !state.roles.held_by(principal_id).is_empty()
    }

    /// All role assignments, by name.
    pub fn role_assignments(&self) -> Vec<Arc<RoleAssignment>> {
        let state = self.0.registry.read();
        state.roles.by_name.values().cloned().collect()
    }

    /// A role assignment by its name, in any case.
    pub fn role_assignment(&self, name: &str) -> Option<Arc<RoleAssignment>> {
        let state = self.0.registry.read();
        state.roles.by_name.get(&folded(name)).cloned()
    }

    /// Assigns a role. Assigning what is assigned already under the same name changes nothing.
    ///
    /// # Errors
    /// See [`AssignError`].
    pub async fn assign_role(
        &self,
        wanted: RoleAssignment,
    ) -> Result<Arc<RoleAssignment>, AssignError> {
        let scope = canonical_scope(&wanted.scope).map_err(ManageError::from)?;
        let wanted = RoleAssignment { scope, ..wanted };
        if wanted.role().is_none() {
            let message = format!(
                "The specified role definition with ID '{}' does not exist.",
                wanted.role
            );
            return Err(
                ManageError::from(Invalid::new("properties.roleDefinitionId", message)).into(),
            );
        }
        self.0
            .change(move |inner| async move {
                let state = inner.registry.read();
                if let Some(known) = state.roles.by_name.get(&wanted.key()) {
                    return match known.is_same_grant(&wanted) {
                        true => Ok(Arc::clone(known)),
                        false => Err(AssignError::Different),
                    };
                }
                let is_theirs =
                    |one: &Arc<Principal>| one.object_id.eq_ignore_ascii_case(&wanted.principal_id);
                if !state.principals.values().any(is_theirs) {
                    return Err(AssignError::NoPrincipal(wanted.principal_id));
                }
                let held = state.roles.held_by(&wanted.principal_id);
                if let Some(known) = held.iter().find(|one| one.is_same_grant(&wanted)) {
                    return Err(AssignError::Exists(Arc::clone(known)));
                }
                if state.roles.by_name.len() >= MOST_ASSIGNMENTS {
                    return Err(AssignError::TooMany);
                }
                let written = wanted.clone();
                inner
                    .commit(Partition::DIRECTORY, move |txn| {
                        txn.put(&ROLE_ASSIGNMENTS, written.key(), &written)
                    })
                    .await?;
                let assigned = Arc::new(wanted);
                inner.registry.update(|state| state.roles.insert(&assigned));
                Ok(assigned)
            })
            .await
    }

    /// Takes a role away. Gives back what was assigned; `None` when nothing was.
    ///
    /// # Errors
    /// The change was not stored.
    pub async fn unassign_role(
        &self,
        name: &str,
    ) -> Result<Option<Arc<RoleAssignment>>, StoreError> {
        let key = folded(name);
        let gone = self.unassign_where(move |one| one.key() == key).await?;
        Ok(gone.into_iter().next())
    }

    /// Takes away what was assigned at a scope that is no more, or below it: what is made there under the same name
    /// later is another thing.
    ///
    /// # Errors
    /// The change was not stored.
    pub async fn forget_roles_at(&self, scope: &str) -> Result<(), StoreError> {
        let scope = scope.to_owned();
        let lies_there = |one: &RoleAssignment| covers(&scope, &one.scope);
        // Nearly always nobody was assigned anything there, and nothing has to wait for that.
        if self.role_assignments().iter().any(|one| lies_there(one)) {
            self.unassign_where(move |one| covers(&scope, &one.scope))
                .await?;
        }
        Ok(())
    }

    async fn unassign_where(
        &self,
        is_meant: impl Fn(&RoleAssignment) -> bool + Send + 'static,
    ) -> Result<Vec<Arc<RoleAssignment>>, StoreError> {
        self.0
            .change(move |inner| async move {
                let state = inner.registry.read();
                let all = state.roles.by_name.values();
                let gone: Vec<_> = all.filter(|one| is_meant(one)).cloned().collect();
                drop(state);
                if gone.is_empty() {
                    return Ok(gone);
                }
                let keys: Vec<String> = gone.iter().map(|one| one.key()).collect();
                inner
                    .commit(Partition::DIRECTORY, move |txn| {
                        keys.iter()
                            .try_for_each(|key| txn.remove(&ROLE_ASSIGNMENTS, key))
                    })
                    .await?;
                inner.registry.update(|state| {
                    for one in &gone {
                        state.roles.remove(one);
                    }
                });
                Ok(gone)
            })
            .await
    }
}

/// A scope as it is kept: `/`, or an identifier without a slash at its end.
fn canonical_scope(text: &str) -> Result<String, Invalid> {
    let bare = text.trim_end_matches('/');
    if bare.is_empty() {
        return Ok(ROOT.to_owned());
    }
    let id: Result<ResourceId, _> = bare.parse();
    match id {
        Ok(id) if id.subscription().is_some() => Ok(id.as_str().to_owned()),
        _ => Err(Invalid::new(
            "scope",
            format!(
                "'{text}' is no scope: it is '/', or the id of a subscription, a resource group or a resource."
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_kept_in_one_form() {
        let of = |text| canonical_scope(text).ok();
        assert_eq!(of("/").as_deref(), Some("/"));
        assert_eq!(of("/subscriptions/S/").as_deref(), Some("/subscriptions/S"));
        for wrong in ["subscriptions/s", "/x/y", "//subscriptions/s"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_assignment_is_found_by_who_holds_it_until_it_is_taken_away() {
        let one = Arc::new(RoleAssignment {
            name: "N".into(),
            scope: "/".into(),
            principal_id: "P".into(),
            role: "r".into(),
            description: None,
            created: Timestamp::EPOCH,
            created_by: "me".into(),
        });
        let mut roles = Roles::default();
        roles.insert(&one);
        assert_eq!(roles.held_by("p").len(), 1);
        assert_eq!(
            one.id(),
            "/providers/Microsoft.Authorization/roleAssignments/N"
        );
        roles.remove(&one);
        assert!(roles.held_by("P").is_empty() && roles.held.is_empty());
    }
}
