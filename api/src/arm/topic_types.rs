//! What can be subscribed to: topic types, their event types, and the extension topic of a resource.
//!
//! Source: reference management 5.1, event-grid 9.

use gridpost_model::ResourceId;
use gridpost_model::event_type::{self, COMMUNICATION_TOPIC_TYPE, Reach};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, ok};
use crate::problem::Refusal;

/// Routes of the tenant, and the two that hang on a resource.
pub(super) fn route(call: &Call<'_>) -> Answer {
    if *call.method() != Method::GET {
        return Err(call.not_allowed());
    }
    match (&call.address.scope, &call.address.words()[..]) {
        (None, ["topictypes"]) => ok(json!({"value": [communication()]})),
        (None, ["topictypes", name]) => known(name).and_then(|()| ok(communication())),
        (None, ["topictypes", name, "eventtypes"]) => known(name).and_then(|()| ok(event_types())),
        (None, ["operations"]) => ok(json!({"value": []})),
        (Some(scope), ["eventtypes"]) => source(call, scope).and_then(|_| ok(event_types())),
        (Some(scope), ["extensiontopics", "default"]) => extension_topic(call, scope),
        _ => Err(call.unknown_type()),
    }
}

fn known(name: &str) -> Result<(), Refusal> {
    if name.eq_ignore_ascii_case(COMMUNICATION_TOPIC_TYPE) {
        return Ok(());
    }
    let message = format!("The topic type '{name}' was not found.");
    Err(Refusal::new(
        http::StatusCode::NOT_FOUND,
        "ResourceNotFound",
        message,
    ))
}

fn communication() -> Value {
    let parent = "providers/Microsoft.EventGrid/topicTypes";
    json!({
        "id": format!("{parent}/{COMMUNICATION_TOPIC_TYPE}"), "name": COMMUNICATION_TOPIC_TYPE,
        "type": "Microsoft.EventGrid/topicTypes",
        "properties": {
            "provider": "Microsoft.Communication",
            "displayName": "Azure Communication Services",
            "description": "Events of communication resources: SMS, chat, calling, email, job router.",
            "resourceRegionType": "GlobalResource", "provisioningState": "Succeeded",
            "supportedLocations": [],
            "sourceResourceFormat": "/subscriptions/{subscription}/resourceGroups/{resourceGroup}/providers/Microsoft.Communication/CommunicationServices/{name}",
            "supportedScopesForSource": ["Resource"],
            "areRegionalAndGlobalSourcesSupported": false, "additionalEnforcedPermissions": [],
        },
    })
}

fn event_types() -> Value {
    let parent = format!("providers/Microsoft.EventGrid/topicTypes/{COMMUNICATION_TOPIC_TYPE}");
    let all = event_type::COMMUNICATION.iter().map(|(name, reach)| {
        json!({
            "id": format!("{parent}/eventTypes/{name}"), "name": name,
            "type": "Microsoft.EventGrid/topicTypes/eventTypes",
            "properties": {
                "displayName": name.rsplit('.').next(), "description": name, "schemaUrl": "",
                "isInDefaultSet": *reach == Reach::Default,
            },
        })
    });
    json!({"value": all.collect::<Vec<_>>()})
}

/// The communication resource at a scope, as it is written itself.
fn source(call: &Call<'_>, scope: &ResourceId) -> Result<ResourceId, Refusal> {
    let service = call.parts.comms.resource(scope);
    service
        .map(|service| service.id.clone())
        .ok_or_else(|| Refusal::resource_not_found(scope))
}

fn extension_topic(call: &Call<'_>, scope: &ResourceId) -> Answer {
    let source = source(call, scope)?;
    let topic = call.parts.grid.system_topic_of(&source);
    ok(json!({
        "id": format!("{source}/providers/Microsoft.EventGrid/extensionTopics/default"),
        "name": "default", "type": "Microsoft.EventGrid/extensionTopics",
        "properties": {
            "description": "The system topic of this resource.",
            "systemTopic": topic.map(|topic| topic.id.to_string()),
        },
    }))
}
