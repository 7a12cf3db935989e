//! What can be subscribed to: topic types, their event types, and the extension topic of a resource.
//!
//! Source: reference management 5.1, event-grid 9.

use gridpost_model::ResourceId;
use gridpost_model::event_type::{self, COMMUNICATION_TOPIC_TYPE, Reach};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, ok, operations};
use crate::problem::Refusal;

/// Routes of the tenant, and the two that hang on a resource.
pub(super) fn route(call: &Call) -> Answer {
    if *call.method() != Method::GET {
        return Err(call.not_allowed());
    }
    match (&call.address.scope, &call.address.words()[..]) {
        (None, ["topictypes"]) => ok(json!({"value": [communication(), topics(), domains()]})),
        (None, ["topictypes", name]) => ok(topic_type(name)?),
        (None, ["topictypes", name, "eventtypes"]) => {
            let found = topic_type(name)?;
            match found["name"] == COMMUNICATION_TOPIC_TYPE {
                true => ok(event_types()),
                // Nobody but the publishers of one knows.
                false => ok(json!({"value": []})),
            }
        }
        (None, ["operations"]) => operations::list(call),
        (Some(scope), ["eventtypes"]) => {
            source(call, scope)?;
            match call.parts.grid.entrance_of(scope) {
                Some(entrance) => ok(inline_event_types(entrance.ingress.shown.get(INFO))),
                None => ok(event_types()),
            }
        }
        (Some(scope), ["extensiontopics", "default"]) => extension_topic(call, scope),
        _ => Err(call.unknown_type()),
    }
}

fn topic_type(name: &str) -> Result<Value, Refusal> {
    let all = [communication(), topics(), domains()];
    let is_it = |one: &Value| {
        one["name"]
            .as_str()
            .is_some_and(|it| it.eq_ignore_ascii_case(name))
    };
    if let Some(found) = all.into_iter().find(is_it) {
        return Ok(found);
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

fn topics() -> Value {
    own(
        "Topics",
        "Event Grid Topics",
        "Events that publishers send to a custom topic.",
    )
}

fn domains() -> Value {
    own(
        "Domains",
        "Event Grid Domains",
        "Events that publishers send to a domain.",
    )
}

/// A type of our own resources, which take whatever their publishers send.
fn own(kind: &str, shown: &str, description: &str) -> Value {
    let name = format!("Microsoft.EventGrid.{kind}");
    let folded = kind.to_ascii_lowercase();
    json!({
        "id": format!("providers/Microsoft.EventGrid/topicTypes/{name}"), "name": name,
        "type": "Microsoft.EventGrid/topicTypes",
        "properties": {
            "provider": "Microsoft.EventGrid", "displayName": shown, "description": description,
            "resourceRegionType": "RegionalResource", "provisioningState": "Succeeded",
            "supportedLocations": [],
            "sourceResourceFormat": format!("/subscriptions/{{subscription}}/resourceGroups/{{resourceGroup}}/providers/Microsoft.EventGrid/{folded}/{{name}}"),
            "supportedScopesForSource": ["Resource"],
            "areRegionalAndGlobalSourcesSupported": false, "additionalEnforcedPermissions": [],
        },
    })
}

const INFO: &str = "eventTypeInfo";

/// The event types that a topic or a domain was made with, if any.
fn inline_event_types(info: Option<&Value>) -> Value {
    let types = info.and_then(|info| info.get("inlineEventTypes")?.as_object());
    let all = types.into_iter().flatten().map(|(name, about)| {
        let text = |field: &str| about.get(field).and_then(Value::as_str).unwrap_or_default();
        json!({
            "id": format!("providers/Microsoft.EventGrid/eventTypes/{name}"), "name": name,
            "type": "Microsoft.EventGrid/topicTypes/eventTypes",
            "properties": {
                "displayName": text("displayName"), "description": text("description"),
                "schemaUrl": text("dataSchemaUrl"), "isInDefaultSet": true,
            },
        })
    });
    json!({"value": all.collect::<Vec<_>>()})
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

/// The communication resource, the topic or the domain at a scope, as it is written itself.
fn source(call: &Call, scope: &ResourceId) -> Result<ResourceId, Refusal> {
    if let Some(service) = call.parts.comms.resource(scope) {
        return Ok(service.id.clone());
    }
    let source = call.parts.grid.source(scope);
    source
        .map(|source| source.id)
        .ok_or_else(|| Refusal::resource_not_found(scope))
}

fn extension_topic(call: &Call, scope: &ResourceId) -> Answer {
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
