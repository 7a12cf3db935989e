//! `Microsoft.EventGrid/systemTopics`.
//!
//! Source: reference management 5 and 5.1, event-grid 2.10.

use std::sync::Arc;

use gridpost_grid::scope::Scope;
use gridpost_grid::system_topics::{SystemTopic, SystemTopicSpec};
use gridpost_model::ResourceId;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::envelope::{self, Tags, Tracked};
use super::{Answer, Call, empty, json, lists, ok};
use crate::problem::Refusal;

/// The type of a system topic.
pub(super) const RESOURCE_TYPE: &str = "Microsoft.EventGrid/systemTopics";

/// Routes below `systemTopics`, but for event subscriptions.
pub(super) async fn route(call: &Call) -> Answer {
    let words = call.address.words();
    let one = || topic_id(call, &call.address.names[1]);
    match (call.method(), &words[..]) {
        (&Method::GET, ["systemtopics"]) => {
            let scope = call
                .address
                .list_scope()
                .ok_or_else(|| call.unknown_type())?;
            lists::answer(call, all(call, &scope))
        }
        (&Method::GET, ["systemtopics", _]) => ok(shown(&*found(call, &one()?)?)),
        (&Method::PUT, ["systemtopics", _]) => put(call, one()?).await,
        (&Method::PATCH, ["systemtopics", _]) => patch(call, &one()?).await,
        (&Method::DELETE, ["systemtopics", _]) => {
            call.parts.grid.delete_system_topic(&one()?).await?;
            empty(StatusCode::NO_CONTENT)
        }
        (_, ["systemtopics", _, "eventsubscriptions"]) => {
            super::event_subscriptions::route(call).await
        }
        (_, ["systemtopics", ..]) if words.len() < 3 => Err(call.not_allowed()),
        _ => Err(call.unknown_type()),
    }
}

/// The id of the system topic of that name in the group of the path.
pub(super) fn topic_id(call: &Call, name: &str) -> Result<ResourceId, Refusal> {
    let id = call
        .address
        .resource("Microsoft.EventGrid", "systemTopics", name);
    id.ok_or_else(|| call.unknown_type())
}

fn found(call: &Call, id: &ResourceId) -> Result<Arc<SystemTopic>, Refusal> {
    call.parts
        .grid
        .system_topic(id)
        .ok_or_else(|| Refusal::resource_not_found(id))
}

/// The system topics of a scope, as they are listed.
pub(super) fn all(call: &Call, scope: &Scope) -> Vec<Value> {
    call.parts
        .grid
        .system_topics(scope)
        .iter()
        .map(|topic| shown(topic))
        .collect()
}

#[derive(Deserialize)]
struct TopicBody {
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
    source: Option<ResourceId>,
    topic_type: Option<String>,
}

async fn put(call: &Call, id: ResourceId) -> Answer {
    let _in_group = call.require_group(&id)?;
    let body: TopicBody = call.body()?;
    let required = |field: &str| {
        let message = format!("The property '{field}' is required.");
        Refusal::invalid_field(&format!("properties.{field}"), message)
    };
    let source = body.properties.source.ok_or_else(|| required("source"))?;
    // It opens the events of its source, which may lie in another group.
    call.require(
        "Microsoft.EventGrid/eventSubscriptions/write",
        source.as_str(),
    )?;
    let service = call.parts.comms.resource(&source);
    let service = service.ok_or_else(|| Refusal::resource_not_found(&source))?;
    let spec = SystemTopicSpec {
        location: body.location.unwrap_or_else(|| service.location.clone()),
        tags: body.tags.unwrap_or_default(),
        // As the resource itself is written, so that events of every form carry one spelling.
        source: service.id.clone(),
        topic_type: body
            .properties
            .topic_type
            .ok_or_else(|| required("topicType"))?,
    };
    let (topic, _) = call.parts.grid.put_system_topic(id, spec).await?;
    Ok(json(StatusCode::CREATED, shown(&topic)))
}

async fn patch(call: &Call, id: &ResourceId) -> Answer {
    let body: TopicBody = call.body()?;
    ok(shown(
        &*call.parts.grid.patch_system_topic(id, body.tags).await?,
    ))
}

fn shown(topic: &SystemTopic) -> Value {
    let properties = json!({
        "provisioningState": "Succeeded", "source": topic.source, "topicType": topic.topic_type,
        "metricResourceId": topic.metric_id,
    });
    Tracked::new(
        &topic.id,
        RESOURCE_TYPE,
        (&topic.location, &topic.tags),
        (topic.created, topic.updated),
        properties,
    )
    .shown()
}
