//! `Microsoft.EventGrid/domains` and the topics in them.
//!
//! Promise: PUT answers 201 whether or not the resource existed, because the Python client takes nothing else. The PUT
//! of a domain topic has no body.
//! Not here: the properties domains share with topics (`ingress_body`), event subscriptions (`event_subscriptions`).
//! Source: reference management 5 and 5.1, event-grid 2.8 and 3.2.

use std::sync::Arc;

use gridpost_grid::domain_topics::DomainTopic;
use gridpost_grid::domains::{Automation, Domain, DomainPatch, DomainSpec};
use gridpost_grid::scope::Scope;
use gridpost_model::ResourceId;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::envelope::{Tags, Tracked, system_data};
use super::ingress_body::{self, Identity, IngressBody};
use super::{Answer, Call, empty, json, lists, ok};
use crate::problem::Refusal;

/// The type of a domain.
pub(super) const RESOURCE_TYPE: &str = "Microsoft.EventGrid/domains";
/// The type of a topic of a domain.
pub(super) const TOPIC_TYPE: &str = "Microsoft.EventGrid/domains/topics";

/// Routes below `domains`, but for event subscriptions.
pub(super) async fn route(call: &Call<'_>) -> Answer {
    let words = call.address.words();
    let subscriptions = match &words[..] {
        ["domains", _, "topics", _, rest @ ..] | ["domains", _, rest @ ..] => rest.first(),
        _ => None,
    };
    if subscriptions == Some(&"eventsubscriptions") {
        return super::event_subscriptions::route(call).await;
    }
    let names = &call.address.names;
    let one = || domain_id(call, &names[1]);
    let topic = || domain_topic_id(call, &names[1], &names[3]);
    let grid = &call.parts.grid;
    match (call.method(), &words[..]) {
        (&Method::GET, ["domains"]) => {
            let scope = call
                .address
                .list_scope()
                .ok_or_else(|| call.unknown_type())?;
            lists::answer(call, all(call, &scope))
        }
        (&Method::GET, ["domains", _]) => ok(shown(call, &*found(call, &one()?)?)),
        (&Method::PUT, ["domains", _]) => put(call, one()?).await,
        (&Method::PATCH, ["domains", _]) => patch(call, &one()?).await,
        (&Method::DELETE, ["domains", _]) => {
            grid.delete_domain(&one()?).await?;
            empty(StatusCode::NO_CONTENT)
        }
        (&Method::POST, ["domains", _, "listkeys"]) => {
            ok(ingress_body::keys(&found(call, &one()?)?.ingress.keys))
        }
        (&Method::POST, ["domains", _, "regeneratekey"]) => regenerate_key(call, &one()?).await,
        (
            _,
            [
                "domains",
                _,
                "privateendpointconnections" | "privatelinkresources",
            ],
        ) => lists::of_private_links(call),
        (&Method::GET, ["domains", _, "topics"]) => {
            let domain = found(call, &one()?)?;
            let topics = grid.domain_topics(&domain.id);
            lists::answer_some(
                call,
                topics,
                |topic| topic.id.name(),
                |one| shown_topic(&one),
            )
        }
        (&Method::GET, ["domains", _, "topics", _]) => {
            let id = topic()?;
            let found = grid.domain_topic(&id);
            ok(shown_topic(
                &*found.ok_or_else(|| Refusal::resource_not_found(&id))?,
            ))
        }
        (&Method::PUT, ["domains", _, "topics", _]) => {
            let (topic, _) = grid.put_domain_topic(topic()?).await?;
            Ok(json(StatusCode::CREATED, shown_topic(&topic)))
        }
        (&Method::DELETE, ["domains", _, "topics", _]) => {
            grid.delete_domain_topic(&topic()?).await?;
            empty(StatusCode::NO_CONTENT)
        }
        (_, ["domains"] | ["domains", _] | ["domains", _, "topics"])
        | (_, ["domains", _, "topics", _]) => Err(call.not_allowed()),
        _ => Err(call.unknown_type()),
    }
}

/// The id of the domain of that name in the group of the path.
pub(super) fn domain_id(call: &Call<'_>, name: &str) -> Result<ResourceId, Refusal> {
    let id = call
        .address
        .resource("Microsoft.EventGrid", "domains", name);
    id.ok_or_else(|| call.unknown_type())
}

/// The id of a topic of a domain.
pub(super) fn domain_topic_id(
    call: &Call<'_>,
    domain: &str,
    name: &str,
) -> Result<ResourceId, Refusal> {
    let id = domain_id(call, domain)?.join(&format!("topics/{name}"));
    id.map_err(|_| call.unknown_type())
}

fn found(call: &Call<'_>, id: &ResourceId) -> Result<Arc<Domain>, Refusal> {
    call.parts
        .grid
        .domain(id)
        .ok_or_else(|| Refusal::resource_not_found(id))
}

/// The domains of a scope, as they are listed.
pub(super) fn all(call: &Call<'_>, scope: &Scope) -> Vec<Value> {
    let all = call.parts.grid.domains(scope);
    all.iter().map(|domain| shown(call, domain)).collect()
}

#[derive(Deserialize)]
struct DomainBody {
    location: Option<String>,
    tags: Option<Tags>,
    identity: Option<Identity>,
    #[serde(default)]
    properties: Option<Properties>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    auto_create_topic_with_first_subscription: Option<bool>,
    auto_delete_topic_with_last_subscription: Option<bool>,
    #[serde(flatten)]
    ingress: IngressBody,
}

async fn put(call: &Call<'_>, id: ResourceId) -> Answer {
    let group = call.require_group(&id)?;
    let body: DomainBody = call.body()?;
    ingress_body::check_identity(body.identity.as_ref())?;
    let properties = body.properties.unwrap_or_default();
    let default = Automation::default();
    let automation = Automation {
        create_with_first_subscription: properties
            .auto_create_topic_with_first_subscription
            .unwrap_or(default.create_with_first_subscription),
        delete_with_last_subscription: properties
            .auto_delete_topic_with_last_subscription
            .unwrap_or(default.delete_with_last_subscription),
    };
    let spec = DomainSpec {
        ingress: properties.ingress.into_spec()?,
        automation,
        // `az` leaves it out when nobody names one.
        location: body.location.unwrap_or_else(|| group.location.clone()),
        tags: body.tags.unwrap_or_default(),
    };
    let (domain, _) = call.parts.grid.put_domain(id, spec).await?;
    Ok(json(StatusCode::CREATED, shown(call, &domain)))
}

async fn patch(call: &Call<'_>, id: &ResourceId) -> Answer {
    let body: DomainBody = call.body()?;
    ingress_body::check_identity(body.identity.as_ref())?;
    let properties = body.properties.unwrap_or_default();
    let patch = DomainPatch {
        tags: body.tags,
        create_with_first_subscription: properties.auto_create_topic_with_first_subscription,
        delete_with_last_subscription: properties.auto_delete_topic_with_last_subscription,
        ingress: properties.ingress.into_patch()?,
    };
    let domain = call.parts.grid.patch_domain(id, patch).await?;
    ok(shown(call, &domain))
}

async fn regenerate_key(call: &Call<'_>, id: &ResourceId) -> Answer {
    found(call, id)?;
    let which = ingress_body::which_key(call)?;
    let domain = call.parts.grid.regenerate_domain_key(id, which).await?;
    ok(ingress_body::keys(&domain.ingress.keys))
}

fn shown(call: &Call<'_>, domain: &Domain) -> Value {
    let mut properties = ingress_body::shown(call, &domain.ingress, "domains", domain.id.name());
    let automation = domain.automation;
    properties["autoCreateTopicWithFirstSubscription"] =
        automation.create_with_first_subscription.into();
    properties["autoDeleteTopicWithLastSubscription"] =
        automation.delete_with_last_subscription.into();
    properties["metricResourceId"] = domain.metric_id.clone().into();
    let tracked = Tracked::new(
        &domain.id,
        RESOURCE_TYPE,
        (&domain.location, &domain.tags),
        (domain.created, domain.updated),
        properties,
    );
    ingress_body::complete(tracked.shown())
}

fn shown_topic(topic: &DomainTopic) -> Value {
    json!({
        "id": topic.id, "name": topic.id.name(), "type": TOPIC_TYPE,
        "systemData": system_data(topic.created, topic.updated),
        "properties": {"provisioningState": "Succeeded"},
    })
}
