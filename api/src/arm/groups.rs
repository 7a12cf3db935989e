//! Tenants, subscriptions, locations and resource groups.
//!
//! Promise: deleting a group deletes what is in it before the answer is given, and nothing is made in it meanwhile.
//! Not here: the list of what is in them (`resources`).
//! Source: reference management 3.

use gridpost_grid::directory::{InGroup, NotEntered, ResourceGroup};
use gridpost_grid::manage::Created;
use gridpost_grid::scope::Scope;
use gridpost_model::ResourceId;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::envelope::{self, Tags};
use super::resources::{self, Wanted};
use super::{Answer, Call, empty, json, lists, ok, providers};
use crate::problem::Refusal;

/// The one place where everything is.
pub(super) const LOCATION: &str = "local";

/// The groups a path may end in, below `/subscriptions/{s}`.
pub(super) async fn route(call: &Call) -> Answer {
    let names = &call.address.names;
    match (call.method(), &call.address.words()[..]) {
        (&Method::GET, ["tenants"]) => ok(json!({"value": [tenant(call)]})),
        (&Method::GET, ["providers"]) => providers::list(call),
        (&Method::GET, ["subscriptions"]) => subscriptions(call),
        (&Method::GET, ["subscriptions", _]) => ok(subscription(call)),
        (&Method::GET, ["subscriptions", _, "locations"]) => ok(json!({"value": [location(call)]})),
        (&Method::GET, ["subscriptions", _, "providers"]) => providers::list(call),
        (&Method::GET, ["subscriptions", _, "resources"]) => resources::list(call, None),
        (&Method::GET, ["subscriptions", _, "resourcegroups"]) => list(call),
        (_, ["subscriptions", _, "resourcegroups", _]) => group(call, &names[3]).await,
        (&Method::GET, ["subscriptions", _, "resourcegroups", _, "resources"]) => {
            resources::list(call, Some(&names[3]))
        }
        _ => Err(call.unknown_type()),
    }
}

fn tenant(call: &Call) -> Value {
    let id = &call.parts.tenant.tenant_id;
    json!({
        "id": format!("/tenants/{id}"), "tenantId": id, "countryCode": "US",
        "displayName": "Local", "domains": ["localhost"], "tenantCategory": "Home",
        "defaultDomain": "localhost", "tenantType": "AAD",
    })
}

/// Whoever holds no role is told of none.
fn subscriptions(call: &Call) -> Answer {
    let all: Vec<Value> = call
        .holds_any_role()
        .then(|| subscription(call))
        .into_iter()
        .collect();
    ok(json!({"count": {"type": "Total", "value": all.len()}, "value": all}))
}

fn subscription(call: &Call) -> Value {
    let tenant = &call.parts.tenant;
    json!({
        "id": format!("/subscriptions/{}", tenant.subscription_id),
        "authorizationSource": "RoleBased", "managedByTenants": [],
        "subscriptionId": tenant.subscription_id, "tenantId": tenant.tenant_id,
        "displayName": "Local Subscription", "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Local_2026-01-01", "quotaId": "Local_2026-01-01",
            "spendingLimit": "Off",
        },
    })
}

fn location(call: &Call) -> Value {
    json!({
        "id": format!("/subscriptions/{}/locations/{LOCATION}", call.parts.tenant.subscription_id),
        "name": LOCATION, "type": "Region", "displayName": "Local",
        "regionalDisplayName": "Local",
        "metadata": {
            "regionType": "Physical", "regionCategory": "Recommended", "geography": "Local",
            "longitude": "0", "latitude": "0", "physicalLocation": "Local", "pairedRegion": [],
        },
    })
}

async fn group(call: &Call, name: &str) -> Answer {
    let id = group_id(call, name)?;
    let found = call.parts.grid.resource_group(&id);
    match *call.method() {
        Method::PUT => put(call, id).await,
        Method::DELETE => delete(call, &id).await,
        Method::HEAD if found.is_some() => empty(StatusCode::NO_CONTENT),
        Method::HEAD => empty(StatusCode::NOT_FOUND),
        Method::GET => ok(shown(
            &*found.ok_or_else(|| Refusal::group_not_found(name))?,
        )),
        Method::PATCH => patch(call, &*found.ok_or_else(|| Refusal::group_not_found(name))?).await,
        _ => Err(call.not_allowed()),
    }
}

fn group_id(call: &Call, name: &str) -> Result<ResourceId, Refusal> {
    let subscription = &call.parts.tenant.subscription_id;
    let text = format!("/subscriptions/{subscription}/resourceGroups/{name}");
    text.parse().map_err(|_| Refusal::group_not_found(name))
}

#[derive(Deserialize)]
struct GroupBody {
    #[serde(default, deserialize_with = "envelope::read_location")]
    location: Option<String>,
    #[serde(default, deserialize_with = "envelope::read_tags")]
    tags: Option<Tags>,
}

/// Keeps a group from going while something is made in it.
pub(super) fn enter(call: &Call, id: &ResourceId) -> Result<InGroup, Refusal> {
    call.parts.grid.enter_group(id).map_err(|why| match why {
        NotEntered::Missing => Refusal::group_not_found(id.name()),
        NotEntered::Going => {
            let name = id.name();
            let message = format!(
                "The resource group '{name}' is in deprovisioning state and cannot perform this operation."
            );
            Refusal::new(StatusCode::CONFLICT, "ResourceGroupBeingDeleted", message)
        }
    })
}

async fn put(call: &Call, id: ResourceId) -> Answer {
    let _in_group = match call.parts.grid.resource_group(&id) {
        Some(_) => Some(enter(call, &id)?),
        None => None,
    };
    let body: GroupBody = call.body()?;
    let location = body
        .location
        .filter(|location| !location.is_empty())
        .ok_or_else(|| {
            let message = "The location property is required for this definition.";
            Refusal::new(StatusCode::BAD_REQUEST, "LocationRequired", message)
        })?;
    let tags = body.tags.unwrap_or_default();
    let (group, created) = call
        .parts
        .grid
        .put_resource_group(id, location, tags)
        .await?;
    let status = match created {
        Created::New => StatusCode::CREATED,
        Created::Updated => StatusCode::OK,
    };
    Ok(json(status, shown(&group)))
}

async fn patch(call: &Call, group: &ResourceGroup) -> Answer {
    let _in_group = enter(call, &group.id)?;
    let body: GroupBody = call.body()?;
    let patched = call.parts.grid.patch_resource_group(&group.id, body.tags);
    ok(shown(&*patched.await?))
}

/// Everything inside goes first, so a deletion cut short can be asked for again.
async fn delete(call: &Call, id: &ResourceId) -> Answer {
    let _closed = call.parts.grid.close_group(id).await;
    if call.parts.grid.resource_group(id).is_none() {
        return Err(Refusal::group_not_found(id.name()));
    }
    let scope = Scope::ResourceGroup {
        subscription: call.parts.tenant.subscription_id.clone(),
        group: id.name().to_owned(),
    };
    call.parts.comms.delete_in(&scope).await?;
    call.parts.grid.delete_resource_group(id).await?;
    empty(StatusCode::OK)
}

fn list(call: &Call) -> Answer {
    let scope = Scope::Subscription(call.parts.tenant.subscription_id.clone());
    let groups = call.parts.grid.resource_groups(&scope);
    let wanted = Wanted::of(call)?;
    let shown = groups.iter().map(|group| shown(group));
    lists::page(call, shown.filter(|one| wanted.holds(one)).collect())
}

fn shown(group: &ResourceGroup) -> Value {
    json!({
        "id": group.id, "name": group.id.name(), "type": "Microsoft.Resources/resourceGroups",
        "location": group.location, "tags": group.tags,
        "properties": {"provisioningState": "Succeeded"},
    })
}
