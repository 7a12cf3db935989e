//! `Microsoft.EventGrid/topics` and `Microsoft.EventGrid/domains`.
//!
//! Promise: PUT answers 201 whether or not the resource existed, because the Python client takes nothing else.
//! Not here: their properties (`ingress_body`), the topics of a domain (`domain_topics`), event subscriptions
//! (`event_subscriptions`).
//! Source: reference management 5 and 5.1, event-grid 2.8 and 3.2.

use std::sync::Arc;

use gridpost_grid::domain_topics::Automation;
use gridpost_grid::entrances::{Entrance, EntrancePatch, EntranceSpec};
use gridpost_grid::intake::IntakeKind;
use gridpost_grid::scope::Scope;
use gridpost_model::ResourceId;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::envelope::{self, Tags, Tracked};
use super::ingress_body::{self, Identity, IngressBody};
use super::{Answer, Call, domain_topics, empty, event_subscriptions, json, lists, ok};
use crate::problem::Refusal;

/// The type of a topic or a domain.
pub(super) fn resource_type(kind: IntakeKind) -> &'static str {
    match kind {
        IntakeKind::Topic => "Microsoft.EventGrid/topics",
        IntakeKind::Domain => "Microsoft.EventGrid/domains",
    }
}

/// The last word of the type, which is also the first of the endpoint's path.
fn word(kind: IntakeKind) -> &'static str {
    match kind {
        IntakeKind::Topic => "topics",
        IntakeKind::Domain => "domains",
    }
}

/// Routes below `topics` or `domains`.
pub(super) async fn route(call: &Call, kind: IntakeKind) -> Answer {
    let words = call.address.words();
    let one = || id(call, kind, &call.address.names[1]);
    match (call.method(), &words[1..]) {
        (_, [_, "eventsubscriptions", ..]) => event_subscriptions::route(call).await,
        (_, [_, "topics", ..]) if kind == IntakeKind::Domain => domain_topics::route(call).await,
        (&Method::GET, []) => {
            let scope = call.address.list_scope();
            let scope = scope.ok_or_else(|| call.unknown_type())?;
            lists::answer(call, all(call, kind, &scope))
        }
        (&Method::GET, [_]) => ok(shown(call, &*found(call, &one()?)?)),
        (&Method::PUT, [_]) => put(call, kind, one()?).await,
        (&Method::PATCH, [_]) => patch(call, &one()?).await,
        (&Method::DELETE, [_]) => {
            call.parts.grid.delete_entrance(&one()?).await?;
            empty(StatusCode::NO_CONTENT)
        }
        (&Method::POST, [_, "listkeys"]) => {
            ok(ingress_body::keys(&found(call, &one()?)?.ingress.keys))
        }
        (&Method::POST, [_, "regeneratekey"]) => regenerate_key(call, &one()?).await,
        (
            _,
            [
                _,
                "privateendpointconnections" | "privatelinkresources",
                below @ ..,
            ],
        ) => lists::of_private_links(call, below),
        (_, [] | [_]) => Err(call.not_allowed()),
        _ => Err(call.unknown_type()),
    }
}

/// The id of the topic or domain of that name in the group of the path.
pub(super) fn id(call: &Call, kind: IntakeKind, name: &str) -> Result<ResourceId, Refusal> {
    let id = call
        .address
        .resource("Microsoft.EventGrid", word(kind), name);
    id.ok_or_else(|| call.unknown_type())
}

/// The topic or domain of that id.
pub(super) fn found(call: &Call, id: &ResourceId) -> Result<Arc<Entrance>, Refusal> {
    let found = call.parts.grid.entrance(id);
    found.ok_or_else(|| Refusal::resource_not_found(id))
}

/// The topics or the domains of a scope, as they are listed.
pub(super) fn all(call: &Call, kind: IntakeKind, scope: &Scope) -> Vec<Value> {
    let all = call.parts.grid.entrances(kind, scope);
    all.iter().map(|one| shown(call, one)).collect()
}

#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "envelope::read_location")]
    location: Option<String>,
    #[serde(default, deserialize_with = "envelope::read_tags")]
    tags: Option<Tags>,
    identity: Option<Identity>,
    #[serde(default)]
    properties: Option<IngressBody>,
}

async fn put(call: &Call, kind: IntakeKind, id: ResourceId) -> Answer {
    let in_group = call.require_group(&id)?;
    let body: Body = call.body()?;
    ingress_body::check_identity(body.identity.as_ref())?;
    let properties = body.properties.unwrap_or_default();
    let spec = EntranceSpec {
        automation: match kind {
            IntakeKind::Topic => None,
            IntakeKind::Domain => Some(automation(&properties)),
        },
        ingress: properties.into_spec()?,
        // `az` leaves it out when nobody names one.
        location: body
            .location
            .unwrap_or_else(|| in_group.group.location.clone()),
        tags: body.tags.unwrap_or_default(),
    };
    let (entrance, _) = call.parts.grid.put_entrance(id, spec).await?;
    Ok(json(StatusCode::CREATED, shown(call, &entrance)))
}

/// What a put says of it; what is absent takes its default.
fn automation(properties: &IngressBody) -> Automation {
    let mut automation = Automation::default();
    properties.automation().apply(&mut automation);
    automation
}

async fn patch(call: &Call, id: &ResourceId) -> Answer {
    let body: Body = call.body()?;
    ingress_body::check_identity(body.identity.as_ref())?;
    let properties = body.properties.unwrap_or_default();
    let patch = EntrancePatch {
        tags: body.tags,
        automation: properties.automation(),
        ingress: properties.into_patch()?,
    };
    let entrance = call.parts.grid.patch_entrance(id, patch).await?;
    ok(shown(call, &entrance))
}

async fn regenerate_key(call: &Call, id: &ResourceId) -> Answer {
    found(call, id)?;
    let which = ingress_body::which_key(call)?;
    let entrance = call.parts.grid.regenerate_key(id, which).await?;
    ok(ingress_body::keys(&entrance.ingress.keys))
}

fn shown(call: &Call, one: &Entrance) -> Value {
    let mut properties = ingress_body::shown(call, &one.ingress, word(one.kind()), one.id.name());
    if let Some(automation) = one.automation {
        properties["autoCreateTopicWithFirstSubscription"] =
            automation.create_with_first_subscription.into();
        properties["autoDeleteTopicWithLastSubscription"] =
            automation.delete_with_last_subscription.into();
    }
    properties["metricResourceId"] = one.metric_id.clone().into();
    let tracked = Tracked::new(
        &one.id,
        resource_type(one.kind()),
        (&one.location, &one.tags),
        (one.created, one.updated),
        properties,
    );
    ingress_body::complete(tracked.shown())
}
