//! `Microsoft.EventGrid/topics`.
//!
//! Promise: PUT answers 201 whether or not the topic existed, because the Python client takes nothing else.
//! Not here: the properties it shares with domains (`ingress_body`).
//! Source: reference management 5 and 5.1, event-grid 3.2.

use std::sync::Arc;

use gridpost_grid::scope::Scope;
use gridpost_grid::topics::{Topic, TopicPatch, TopicSpec};
use gridpost_model::ResourceId;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::envelope::{Tags, Tracked};
use super::ingress_body::{self, Identity, IngressBody};
use super::{Answer, Call, empty, json, lists, ok};
use crate::problem::Refusal;

/// The type of a topic.
pub(super) const RESOURCE_TYPE: &str = "Microsoft.EventGrid/topics";

/// Routes below `topics`, but for event subscriptions.
pub(super) async fn route(call: &Call<'_>) -> Answer {
    let words = call.address.words();
    let one = || topic_id(call, &call.address.names[1]);
    match (call.method(), &words[..]) {
        (&Method::GET, ["topics"]) => {
            let scope = call
                .address
                .list_scope()
                .ok_or_else(|| call.unknown_type())?;
            lists::answer(call, all(call, &scope))
        }
        (&Method::GET, ["topics", _]) => ok(shown(call, &*found(call, &one()?)?)),
        (&Method::PUT, ["topics", _]) => put(call, one()?).await,
        (&Method::PATCH, ["topics", _]) => patch(call, &one()?).await,
        (&Method::DELETE, ["topics", _]) => {
            call.parts.grid.delete_topic(&one()?).await?;
            empty(StatusCode::NO_CONTENT)
        }
        (&Method::POST, ["topics", _, "listkeys"]) => {
            ok(ingress_body::keys(&found(call, &one()?)?.ingress.keys))
        }
        (&Method::POST, ["topics", _, "regeneratekey"]) => regenerate_key(call, &one()?).await,
        (
            _,
            [
                "topics",
                _,
                "privateendpointconnections" | "privatelinkresources",
            ],
        ) => lists::of_private_links(call),
        (_, ["topics", _, "eventsubscriptions"]) => super::event_subscriptions::route(call).await,
        (_, ["topics", ..]) if words.len() < 3 => Err(call.not_allowed()),
        _ => Err(call.unknown_type()),
    }
}

/// The id of the topic of that name in the group of the path.
pub(super) fn topic_id(call: &Call<'_>, name: &str) -> Result<ResourceId, Refusal> {
    let id = call.address.resource("Microsoft.EventGrid", "topics", name);
    id.ok_or_else(|| call.unknown_type())
}

fn found(call: &Call<'_>, id: &ResourceId) -> Result<Arc<Topic>, Refusal> {
    call.parts
        .grid
        .topic(id)
        .ok_or_else(|| Refusal::resource_not_found(id))
}

/// The topics of a scope, as they are listed.
pub(super) fn all(call: &Call<'_>, scope: &Scope) -> Vec<Value> {
    call.parts
        .grid
        .topics(scope)
        .iter()
        .map(|topic| shown(call, topic))
        .collect()
}

#[derive(Deserialize)]
struct TopicBody {
    location: Option<String>,
    tags: Option<Tags>,
    identity: Option<Identity>,
    #[serde(default)]
    properties: Option<IngressBody>,
}

async fn put(call: &Call<'_>, id: ResourceId) -> Answer {
    let group = call.require_group(&id)?;
    let body: TopicBody = call.body()?;
    ingress_body::check_identity(body.identity.as_ref())?;
    let spec = TopicSpec {
        ingress: body.properties.unwrap_or_default().into_spec()?,
        // `az` leaves it out when nobody names one.
        location: body.location.unwrap_or_else(|| group.location.clone()),
        tags: body.tags.unwrap_or_default(),
    };
    let (topic, _) = call.parts.grid.put_topic(id, spec).await?;
    Ok(json(StatusCode::CREATED, shown(call, &topic)))
}

async fn patch(call: &Call<'_>, id: &ResourceId) -> Answer {
    let body: TopicBody = call.body()?;
    ingress_body::check_identity(body.identity.as_ref())?;
    let patch = TopicPatch {
        tags: body.tags,
        ingress: body.properties.unwrap_or_default().into_patch()?,
    };
    ok(shown(call, &*call.parts.grid.patch_topic(id, patch).await?))
}

fn shown(call: &Call<'_>, topic: &Topic) -> Value {
    let mut properties = ingress_body::shown(call, &topic.ingress, "topics", topic.id.name());
    properties["metricResourceId"] = topic.metric_id.clone().into();
    let tracked = Tracked::new(
        &topic.id,
        RESOURCE_TYPE,
        (&topic.location, &topic.tags),
        (topic.created, topic.updated),
        properties,
    );
    ingress_body::complete(tracked.shown())
}

async fn regenerate_key(call: &Call<'_>, id: &ResourceId) -> Answer {
    found(call, id)?;
    let which = ingress_body::which_key(call)?;
    let topic = call.parts.grid.regenerate_topic_key(id, which).await?;
    ok(ingress_body::keys(&topic.ingress.keys))
}
