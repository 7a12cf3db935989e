//! `Microsoft.Communication/communicationServices`.
//!
//! Not here: what is below `emailServices` (`email`).
//! Source: reference management 6.

use gridpost_comms::mail::MailKind;
use gridpost_comms::resources::{
    CommunicationService, Links, RESOURCE_TYPE, ServicePatch, ServiceSpec,
};
use gridpost_grid::manage::Created;
use gridpost_grid::scope::Scope;
use gridpost_model::{AccessKey, ResourceId, Secret, WhichKey};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::envelope::{self, Tags, Tracked};
use super::{Answer, Call, email, empty, json, lists, ok, operations};
use crate::problem::Refusal;

/// Routes below the namespace.
pub(super) async fn route(call: &Call) -> Answer {
    if let Some(kind) = email::kind_of(call) {
        return email::route(call, kind).await;
    }
    let words = call.address.words();
    let one = || resource_id(call, &call.address.names[1]);
    match (call.method(), &words[..]) {
        (&Method::GET, ["communicationservices"]) => {
            let scope = call
                .address
                .list_scope()
                .ok_or_else(|| call.unknown_type())?;
            lists::answer(call, all(call, &scope))
        }
        (&Method::GET, ["communicationservices", _]) => ok(shown(&*found(call, &one()?)?)),
        (&Method::PUT, ["communicationservices", _]) => put(call, one()?).await,
        (&Method::PATCH, ["communicationservices", _]) => patch(call, &one()?).await,
        (&Method::DELETE, ["communicationservices", _]) => delete(call, &one()?).await,
        (&Method::POST, ["communicationservices", _, "listkeys"]) => {
            ok(keys(call, &*found(call, &one()?)?))
        }
        (&Method::POST, ["communicationservices", _, "regeneratekey"]) => {
            regenerate_key(call, &one()?).await
        }
        (&Method::POST, ["communicationservices", _, "linknotificationhub"]) => {
            link_hub(call, &one()?).await
        }
        (&Method::POST, ["checknameavailability"]) => check_name(call),
        // A list of names, not an object: there is no such service here that could know any.
        (&Method::POST, ["listverifiedexchangeonlinedomains"]) => ok(json!([])),
        (&Method::GET, ["operations"]) => operations::list(call),
        (&Method::GET, ["locations", _, "operationstatuses", _]) => email::operation(call),
        (_, ["communicationservices" | "checknameavailability", ..]) if words.len() < 3 => {
            Err(call.not_allowed())
        }
        _ => Err(call.unknown_type()),
    }
}

fn resource_id(call: &Call, name: &str) -> Result<ResourceId, Refusal> {
    let id = call
        .address
        .resource("Microsoft.Communication", "communicationServices", name);
    id.ok_or_else(|| call.unknown_type())
}

fn found(call: &Call, id: &ResourceId) -> Result<std::sync::Arc<CommunicationService>, Refusal> {
    call.parts
        .comms
        .resource(id)
        .ok_or_else(|| Refusal::resource_not_found(id))
}

/// The resources of a scope, as they are listed.
pub(super) fn all(call: &Call, scope: &Scope) -> Vec<Value> {
    call.parts
        .comms
        .resources(scope)
        .iter()
        .map(|service| shown(service))
        .collect()
}

#[derive(Deserialize)]
struct ServiceBody {
    #[serde(default, deserialize_with = "envelope::read_location")]
    location: Option<String>,
    #[serde(default, deserialize_with = "envelope::read_tags")]
    tags: Option<Tags>,
    #[serde(default)]
    properties: Properties,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    #[serde(deserialize_with = "envelope::read_location")]
    data_location: Option<String>,
    linked_domains: Option<Vec<String>>,
    public_network_access: Option<String>,
    disable_local_auth: Option<bool>,
}

impl Properties {
    /// The canonical spelling; what would close the network is refused rather than ignored.
    fn network_access(&self) -> Result<Option<String>, Refusal> {
        match self.public_network_access.as_deref() {
            None => Ok(None),
            Some(given) if given.eq_ignore_ascii_case("Enabled") => Ok(Some("Enabled".into())),
            Some(_) => Err(Refusal::invalid_field(
                "properties.publicNetworkAccess",
                "Only the value 'Enabled' of 'publicNetworkAccess' is supported by this version of Gridpost.",
            )),
        }
    }
}

async fn put(call: &Call, id: ResourceId) -> Answer {
    let _in_group = call.require_group(&id)?;
    let body: ServiceBody = call.body()?;
    let public_network_access = body.properties.network_access()?;
    let data_location = body.properties.data_location.filter(|one| !one.is_empty());
    let data_location = data_location.ok_or_else(|| {
        let message = "The property 'dataLocation' is required.";
        Refusal::invalid_field("properties.dataLocation", message)
    })?;
    let linked_domains = links(call, &id, body.properties.linked_domains)?;
    let spec = ServiceSpec {
        location: body.location.unwrap_or_else(|| "global".to_owned()),
        data_location,
        tags: body.tags.unwrap_or_default(),
        disable_local_auth: body.properties.disable_local_auth,
        public_network_access,
        linked_domains,
    };
    let (service, created) = call.parts.comms.put_resource(id, spec).await?;
    let status = match created {
        Created::New => StatusCode::CREATED,
        Created::Updated => StatusCode::OK,
    };
    Ok(json(status, shown(&service)))
}

async fn patch(call: &Call, id: &ResourceId) -> Answer {
    let body: ServiceBody = call.body()?;
    let public_network_access = body.properties.network_access()?;
    let patch = ServicePatch {
        tags: body.tags,
        disable_local_auth: body.properties.disable_local_auth,
        public_network_access,
        linked_domains: links(call, id, body.properties.linked_domains)?,
    };
    ok(shown(&*call.parts.comms.patch_resource(id, patch).await?))
}

/// Linking a domain lends its name to the resource, so that it needs a say in the domain, which may lie in another group;
/// leaving it linked does not.
fn links(
    call: &Call,
    id: &ResourceId,
    asked: Option<Vec<String>>,
) -> Result<Option<Links>, Refusal> {
    let Some(domains) = asked else {
        return Ok(None);
    };
    let before = call.parts.comms.resource(id);
    let is_linked = |id: &str| {
        let mut before = before.iter().flat_map(|service| &service.linked_domains);
        before.any(|one| one.eq_ignore_ascii_case(id))
    };
    let new = domains.iter().filter(|id| !is_linked(id));
    let granted: Vec<String> = new.cloned().collect();
    for id in &granted {
        call.require("Microsoft.Communication/emailServices/domains/write", id)?;
    }
    Ok(Some(Links { domains, granted }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HubBody {
    resource_id: Option<String>,
    connection_string: Option<Secret>,
}

/// As much as is kept of a hub's id: more than the longest there can be.
const MOST_HUB_ID_BYTES: usize = 1_024;

/// Which hub it is, is written down; its connection string is not, because nothing is sent there.
async fn link_hub(call: &Call, id: &ResourceId) -> Answer {
    let body: HubBody = call.body()?;
    let hub = body.resource_id.filter(|hub| !hub.is_empty());
    if hub
        .as_ref()
        .is_some_and(|hub| MOST_HUB_ID_BYTES < hub.len())
    {
        let message = format!("A resource id has at most {MOST_HUB_ID_BYTES} bytes.");
        return Err(Refusal::invalid_field("resourceId", message));
    }
    let (Some(hub), Some(_)) = (hub, body.connection_string) else {
        let message = "The properties 'resourceId' and 'connectionString' are required.";
        return Err(Refusal::invalid_field("resourceId", message));
    };
    let service = call.parts.comms.link_notification_hub(id, hub).await?;
    ok(json!({"resourceId": service.notification_hub_id}))
}

/// 200 when it is gone now, 204 when there was none.
async fn delete(call: &Call, id: &ResourceId) -> Answer {
    let existed = call.parts.comms.delete_resource(id).await?;
    empty(if existed {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    })
}

fn shown(service: &CommunicationService) -> Value {
    let mut properties = json!({
        "provisioningState": "Succeeded", "hostName": service.host_name,
        "dataLocation": service.data_location, "immutableResourceId": service.immutable_id,
        "linkedDomains": service.linked_domains, "version": "v1",
        "publicNetworkAccess": service.public_network_access,
        "disableLocalAuth": service.disable_local_auth,
    });
    if let Some(hub) = &service.notification_hub_id {
        properties["notificationHubId"] = json!(hub);
    }
    Tracked::new(
        &service.id,
        RESOURCE_TYPE,
        (&service.location, &service.tags),
        (service.created, service.updated),
        properties,
    )
    .shown()
}

/// Connection strings name the address that the asking client dialled, which is the one it can reach.
fn keys(call: &Call, service: &CommunicationService) -> Value {
    let connect = |key: &AccessKey| format!("endpoint={}/;accesskey={}", call.base, key.reveal());
    let [first, second] = service.keys.both();
    json!({
        "primaryKey": first.reveal(), "primaryConnectionString": connect(first),
        "secondaryKey": second.reveal(), "secondaryConnectionString": connect(second),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegenerateBody {
    key_type: Option<String>,
}

async fn regenerate_key(call: &Call, id: &ResourceId) -> Answer {
    found(call, id)?;
    let body: RegenerateBody = call.body()?;
    let which = match body.key_type.as_deref() {
        Some(text) if text.eq_ignore_ascii_case("Primary") => WhichKey::First,
        Some(text) if text.eq_ignore_ascii_case("Secondary") => WhichKey::Second,
        _ => {
            let message = "The property 'keyType' must be 'Primary' or 'Secondary'.";
            return Err(Refusal::invalid_field("keyType", message));
        }
    };
    let service = call.parts.comms.regenerate_key(id, which).await?;
    ok(keys(call, &service))
}

#[derive(Deserialize)]
struct NameBody {
    name: Option<String>,
    #[serde(rename = "type")]
    resource_type: Option<String>,
}

/// Names are taken everywhere, whatever the resource group.
fn check_name(call: &Call) -> Answer {
    let body: NameBody = call.body()?;
    let kind = body.resource_type.as_deref().unwrap_or(RESOURCE_TYPE);
    let email = MailKind::Service.resource_type();
    let is_email = kind.eq_ignore_ascii_case(email);
    if !is_email && !kind.eq_ignore_ascii_case(RESOURCE_TYPE) {
        let message = format!("The property 'type' must be '{RESOURCE_TYPE}' or '{email}'.");
        return Err(Refusal::invalid_field("type", message));
    }
    let name = body.name.unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !(1..=63).contains(&name.len()) || !name.chars().all(fits) {
        return ok(json!({
            "nameAvailable": false, "reason": "Invalid",
            "message": "A resource name has 1 to 63 letters, digits, '-' and '_'.",
        }));
    }
    let comms = &call.parts.comms;
    let is_it = |id: &ResourceId| id.name().eq_ignore_ascii_case(&name);
    let is_taken = match is_email {
        true => {
            let all = comms.mail_in(&Scope::Everywhere, MailKind::Service);
            all.iter().any(|service| is_it(&service.id))
        }
        false => comms
            .all_resources()
            .iter()
            .any(|service| is_it(&service.id)),
    };
    if is_taken {
        return ok(json!({
            "nameAvailable": false, "reason": "AlreadyExists",
            "message": format!("The name '{name}' is already in use."),
        }));
    }
    ok(json!({"nameAvailable": true}))
}
