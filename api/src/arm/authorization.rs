//! `Microsoft.Authorization`: role assignments and role definitions.
//!
//! Promise: an assignment is listed at its own scope, below it and above it, as the service does.
//! Not here: what a role allows (`model::role`), who may call what (`access`).
//! Source: what `az role` 2.91 sends and reads.

use gridpost_grid::manage::{Created, ManageError};
use gridpost_grid::roles::{AssignError, ROOT, RoleAssignment};
use gridpost_model::role::{ROLES, covers};
use gridpost_model::{ResourceId, Role};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Call, empty, json, ok};
use crate::problem::Refusal;

/// Routes below the namespace.
pub(super) async fn route(call: &Call) -> Answer {
    let names = &call.address.names;
    match (call.method(), &call.address.words()[..]) {
        (&Method::GET, ["roleassignments"]) => list(call),
        (&Method::GET, ["roleassignments", _]) => ok(shown(call, &*found(call, &names[1])?)),
        (&Method::PUT, ["roleassignments", _]) => put(call, &names[1]).await,
        (&Method::DELETE, ["roleassignments", _]) => delete(call, &names[1]).await,
        (&Method::GET, ["roledefinitions"]) => definitions(call),
        (&Method::GET, ["roledefinitions", name]) => definition(call, name),
        _ => Err(call.unknown_type()),
    }
}

/// Where the call was made.
fn scope(call: &Call) -> &str {
    call.address.scope.as_ref().map_or(ROOT, ResourceId::as_str)
}

/// An assignment is found at the scope it was made at, and nowhere else.
fn found(call: &Call, name: &str) -> Result<std::sync::Arc<RoleAssignment>, Refusal> {
    let found = call.parts.grid.role_assignment(name);
    let here = found.filter(|one| one.scope.eq_ignore_ascii_case(scope(call)));
    here.ok_or_else(|| {
        let message = format!("The role assignment '{name}' is not found.");
        Refusal::new(StatusCode::NOT_FOUND, "RoleAssignmentNotFound", message)
    })
}

#[derive(Deserialize)]
struct Body {
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    role_definition_id: Option<String>,
    principal_id: Option<String>,
    description: Option<String>,
    condition: Option<String>,
}

async fn put(call: &Call, name: &str) -> Answer {
    if !is_guid(name) {
        let message = format!("The role assignment ID '{name}' is not valid. It must be a GUID.");
        let code = "InvalidRoleAssignmentId";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, code, message));
    }
    let in_some = call.address.scope.as_ref();
    let in_some = in_some.filter(|id| id.resource_group().is_some());
    let _in_group = in_some.map(|id| call.require_group(id)).transpose()?;
    let Body { properties } = call.body()?;
    let required = |field: &str, value: Option<String>| {
        value.filter(|value| !value.is_empty()).ok_or_else(|| {
            let message = format!("The property '{field}' is required.");
            Refusal::invalid_field(&format!("properties.{field}"), message)
        })
    };
    if properties.condition.is_some_and(|text| !text.is_empty()) {
        return Err(Refusal::not_supported_field("properties.condition"));
    }
    let role = required("roleDefinitionId", properties.role_definition_id)?;
    let wanted = RoleAssignment {
        name: name.to_owned(),
        scope: scope(call).to_owned(),
        principal_id: required("principalId", properties.principal_id)?,
        role: role.rsplit('/').next().unwrap_or_default().to_owned(),
        description: properties.description,
        created: call.parts.clock.now(),
        created_by: call.principal.object_id.clone(),
    };
    let (assigned, created) = call.parts.grid.assign_role(wanted).await?;
    let status = match created {
        Created::Updated => StatusCode::OK,
        Created::New => StatusCode::CREATED,
    };
    Ok(json(status, shown(call, &assigned)))
}

/// What was taken away is shown once more; that there was nothing is no error.
async fn delete(call: &Call, name: &str) -> Answer {
    let gone = call.parts.grid.unassign_role(scope(call), name).await;
    match gone.map_err(ManageError::from)? {
        Some(gone) => ok(shown(call, &gone)),
        None => empty(StatusCode::NO_CONTENT),
    }
}

fn list(call: &Call) -> Answer {
    let asked = Asked::read(call.query("$filter").as_deref())?;
    let here = scope(call);
    let is_meant = |one: &RoleAssignment| {
        let above = covers(&one.scope, here);
        let below = covers(here, &one.scope) && !asked.at_scope_only;
        let theirs = asked
            .principal
            .as_deref()
            .is_none_or(|who| one.principal_id.eq_ignore_ascii_case(who));
        (above || below) && theirs
    };
    let all = call.parts.grid.role_assignments();
    let meant = all.iter().filter(|one| is_meant(one));
    let meant: Vec<Value> = meant.map(|one| shown(call, one)).collect();
    // There are never more than clients take at once.
    ok(json!({"value": meant}))
}

/// What a list of assignments is asked for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    /// Those at the scope and above it only.
    at_scope_only: bool,
    principal: Option<String>,
}

impl Asked {
    /// `atScope() and principalId eq 'x'`, or `assignedTo('x')`.
    fn read(filter: Option<&str>) -> Result<Self, Refusal> {
        let mut asked = Self::default();
        let clauses = filter.unwrap_or_default().split(" and ").map(str::trim);
        for clause in clauses.filter(|clause| !clause.is_empty()) {
            let folded = clause.to_ascii_lowercase();
            let who = folded
                .strip_prefix("principalid eq '")
                .and_then(|rest| rest.strip_suffix('\''))
                .or_else(|| {
                    let rest = folded.strip_prefix("assignedto('")?;
                    rest.strip_suffix("')")
                });
            match who {
                Some(who) => asked.principal = Some(who.to_owned()),
                None if folded == "atscope()" => asked.at_scope_only = true,
                None => {
                    let message = format!(
                        "The filter '{clause}' is not supported; use atScope(), principalId eq 'id' and assignedTo('id')."
                    );
                    return Err(Refusal::invalid_field("$filter", message));
                }
            }
        }
        Ok(asked)
    }
}

fn definitions(call: &Call) -> Answer {
    let filter = call.query("$filter").unwrap_or_default();
    let mut wanted: Vec<&Role> = ROLES.to_vec();
    for clause in filter.split(" and ").map(str::trim) {
        let folded = clause.to_ascii_lowercase();
        if let Some(rest) = folded.strip_prefix("rolename eq '") {
            let name = rest.trim_end_matches('\'');
            wanted.retain(|role| role.name.eq_ignore_ascii_case(name));
        } else if folded == "type eq 'customrole'" {
            wanted.clear();
        } else if !matches!(
            &*folded,
            "" | "atscope()" | "atscopeandbelow()" | "type eq 'builtinrole'"
        ) {
            let message =
                format!("The filter '{clause}' is not supported; use roleName eq 'name'.");
            return Err(Refusal::invalid_field("$filter", message));
        }
    }
    let shown: Vec<Value> = wanted
        .into_iter()
        .map(|role| shown_role(call, role))
        .collect();
    ok(json!({"value": shown}))
}

fn definition(call: &Call, id: &str) -> Answer {
    let role = ROLES.iter().find(|role| role.id.eq_ignore_ascii_case(id));
    let role = role.ok_or_else(|| {
        let message = format!("The specified role definition with ID '{id}' does not exist.");
        Refusal::new(StatusCode::NOT_FOUND, "RoleDefinitionDoesNotExist", message)
    })?;
    ok(shown_role(call, role))
}

fn role_id(call: &Call, id: &str) -> String {
    let subscription = &call.parts.tenant.subscription_id;
    format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{id}")
}

fn shown_role(call: &Call, role: &Role) -> Value {
    json!({
        "id": role_id(call, role.id), "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name, "type": "BuiltInRole", "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [{
                "actions": role.actions, "notActions": role.not_actions,
                "dataActions": role.data_actions, "notDataActions": [],
            }],
        },
    })
}

fn shown(call: &Call, one: &RoleAssignment) -> Value {
    let role = one.role().map_or(&*one.role, |role| role.id);
    json!({
        "id": one.id(), "name": one.name, "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": role_id(call, role),
            "principalId": one.principal_id, "principalType": "ServicePrincipal",
            "scope": one.scope, "description": one.description,
            "condition": null, "conditionVersion": null,
            "createdOn": one.created, "updatedOn": one.created,
            "createdBy": one.created_by, "updatedBy": one.created_by,
            "delegatedManagedIdentityResourceId": null,
        },
    })
}

fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

impl From<AssignError> for Refusal {
    fn from(error: AssignError) -> Self {
        let message = error.to_string();
        let (status, code) = match error {
            AssignError::Refused(error) => return error.into(),
            AssignError::Exists(_) => (StatusCode::CONFLICT, "RoleAssignmentExists"),
            AssignError::Different => (StatusCode::CONFLICT, "RoleAssignmentUpdateNotPermitted"),
            AssignError::NoPrincipal(_) => (StatusCode::BAD_REQUEST, "PrincipalNotFound"),
            AssignError::TooMany => (StatusCode::CONFLICT, "RoleAssignmentLimitExceeded"),
        };
        Self::new(status, code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_asked_for_as_az_does() {
        let read = |filter| Asked::read(Some(filter)).ok();
        let by = |principal: &str, at_scope_only| {
            Some(Asked {
                at_scope_only,
                principal: Some(principal.to_owned()),
            })
        };
        assert_eq!(Asked::read(None).unwrap(), Asked::default());
        assert_eq!(read("atScope() and assignedTo('X')"), by("x", true));
        assert_eq!(read("principalId eq 'x'"), by("x", false));
        assert_eq!(read("roleName eq 'x'"), None);
    }

    #[test]
    fn a_name_is_a_guid() {
        assert!(is_guid("8e3af657-a8ff-443c-a75c-2fe8c4bcb635"));
        for text in ["", "x", "8e3af657-a8ff-443c-a75c-2fe8c4bcb63g", "8e3af657"] {
            assert!(!is_guid(text), "{text}");
        }
    }
}
