//! Role assignments: who holds which role, and where.
//!
//! Promise: a principal may do what one of its roles allows at a scope that covers the target, and nothing else. Asking
//! reads memory only, and costs as much as the principal has assignments. What was assigned at something goes before it
//! does, whichever way it goes, so that what is made there later under the same name is opened to nobody.
//! Not here: what a role allows (`model::role`), which action a call is (`api`).

use std::sync::Arc;

use gridpost_model::role::covers;
use gridpost_model::{Plane, ResourceId, Role, Timestamp};
use gridpost_store::{Partition, StoreError};
use imbl::{HashMap, OrdMap};
use serde::{Deserialize, Serialize};

use crate::manage::{Created, Invalid, ManageError};
use crate::principals::Principal;
use crate::registry::{ROLE_ASSIGNMENTS, folded};
use crate::{Grid, Inner};

/// How many assignments there are at most, as the service has it for one subscription.
pub const MOST_ASSIGNMENTS: usize = 4_000;

/// How many characters a description has at most. All assignments are kept in memory, which this keeps below 40 MB.
pub const MOST_DESCRIPTION_CHARS: usize = 2_048;

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
    /// The role's GUID. It may be the role's name in what is to be assigned.
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
            && self.role() == other.role()
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

    /// Assigns a role, and tells whether that is new. Assigning what is assigned already under the same name changes
    /// nothing.
    ///
    /// # Errors
    /// See [`AssignError`].
    pub async fn assign_role(
        &self,
        wanted: RoleAssignment,
    ) -> Result<(Arc<RoleAssignment>, Created), AssignError> {
        let wanted = canonical(wanted).map_err(ManageError::from)?;
        self.0
            .change(move |inner| async move {
                let state = inner.registry.read();
                if let Some(known) = state.roles.by_name.get(&wanted.key()) {
                    return match known.is_same_grant(&wanted) {
                        true => Ok((Arc::clone(known), Created::Updated)),
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
                Ok((assigned, Created::New))
            })
            .await
    }

    /// Takes away the assignment of that name at that scope. Gives back what was assigned; `None` when nothing was.
    ///
    /// # Errors
    /// The change was not stored.
    pub async fn unassign_role(
        &self,
        scope: &str,
        name: &str,
    ) -> Result<Option<Arc<RoleAssignment>>, StoreError> {
        let (key, scope) = (folded(name), scope.to_owned());
        let is_it =
            move |one: &RoleAssignment| one.key() == key && one.scope.eq_ignore_ascii_case(&scope);
        let gone = self
            .0
            .change(move |inner| async move { unassign(&inner, is_it).await })
            .await?;
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
            self.0
                .change(move |inner| async move { forget_at(&inner, &[scope]).await })
                .await?;
        }
        Ok(())
    }
}

/// Takes away what was assigned at scopes that are about to go, or below them. Only inside a change, and before they go:
/// after a crash in between, nobody holds too much.
pub(crate) async fn forget_at(inner: &Arc<Inner>, scopes: &[String]) -> Result<(), StoreError> {
    let lies_there = |one: &RoleAssignment| scopes.iter().any(|at| covers(at, &one.scope));
    unassign(inner, lies_there).await.map(drop)
}

/// Every way in which the path of an event subscription is written: on its source or on the system topic that stands for
/// it, and as an extension or below it.
pub(crate) fn paths_of_subscription(parents: &[&ResourceId], name: &str) -> Vec<String> {
    let forms = ["eventSubscriptions", EXTENSIONS];
    parents
        .iter()
        .flat_map(|parent| forms.map(|form| format!("{parent}/{form}/{name}")))
        .collect()
}

/// What event subscriptions on a resource lie below.
pub(crate) const EXTENSIONS: &str = "providers/Microsoft.EventGrid/eventSubscriptions";

/// Takes assignments away. Only inside a change.
async fn unassign(
    inner: &Arc<Inner>,
    is_meant: impl Fn(&RoleAssignment) -> bool,
) -> Result<Vec<Arc<RoleAssignment>>, StoreError> {
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
}

/// An assignment as it is kept: its scope in one form, its role by its GUID.
fn canonical(wanted: RoleAssignment) -> Result<RoleAssignment, Invalid> {
    let scope = canonical_scope(&wanted.scope)?;
    let role = wanted.role().ok_or_else(|| {
        let message = format!(
            "The specified role definition with ID '{}' does not exist.",
            wanted.role
        );
        Invalid::new("properties.roleDefinitionId", message)
    })?;
    let length = wanted
        .description
        .as_deref()
        .map_or(0, |text| text.chars().count());
    if MOST_DESCRIPTION_CHARS < length {
        let message = format!("A description has at most {MOST_DESCRIPTION_CHARS} characters.");
        return Err(Invalid::new("properties.description", message));
    }
    let role = role.id.to_owned();
    Ok(RoleAssignment {
        scope,
        role,
        ..wanted
    })
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
