//! `Microsoft.EventGrid/domains/topics`.
//!
//! Promise: PUT has no body, and answers 201 whether or not the topic existed, because the Python client takes nothing
//! else.
//! Not here: the domain (`entrances`), event subscriptions (`event_subscriptions`).
//! Source: reference management 5 and 5.1, event-grid 2.8.

use gridpost_grid::domain_topics::DomainTopic;
use gridpost_grid::intake::IntakeKind;
use gridpost_model::ResourceId;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::envelope::system_data;
use super::{Answer, Call, empty, entrances, event_subscriptions, json, lists, ok};
use crate::problem::Refusal;

/// The type of a topic of a domain.
pub(super) const RESOURCE_TYPE: &str = "Microsoft.EventGrid/domains/topics";

/// Routes below `domains/{domain}/topics`.
pub(super) async fn route(call: &Call) -> Answer {
    let words = call.address.words();
    let names = &call.address.names;
    let one = || id(call, &names[1], &names[3]);
    let grid = &call.parts.grid;
    match (call.method(), &words[3..]) {
        (_, [_, "eventsubscriptions", ..]) => event_subscriptions::route(call).await,
        (&Method::GET, []) => list(call),
        (&Method::GET, [_]) => {
            let id = one()?;
            let found = grid.domain_topic(&id);
            let found = found.ok_or_else(|| Refusal::resource_not_found(&id))?;
            ok(shown(&found))
        }
        (&Method::PUT, [_]) => {
            let (topic, _) = grid.put_domain_topic(one()?).await?;
            Ok(json(StatusCode::CREATED, shown(&topic)))
        }
        (&Method::DELETE, [_]) => {
            grid.delete_domain_topic(&one()?).await?;
            empty(StatusCode::NO_CONTENT)
        }
        (_, [] | [_]) => Err(call.not_allowed()),
        _ => Err(call.unknown_type()),
    }
}

/// The id of a topic of a domain.
pub(super) fn id(call: &Call, domain: &str, name: &str) -> Result<ResourceId, Refusal> {
    let domain = entrances::id(call, IntakeKind::Domain, domain)?;
    let id = domain.join(&format!("topics/{name}"));
    id.map_err(|_| call.unknown_type())
}

fn list(call: &Call) -> Answer {
    let domain = entrances::id(call, IntakeKind::Domain, &call.address.names[1])?;
    let domain = entrances::found(call, &domain)?;
    let topics = call.parts.grid.domain_topics(&domain.id);
    lists::answer_some(call, topics, |topic| topic.id.name(), |one| shown(&one))
}

fn shown(topic: &DomainTopic) -> Value {
    json!({
        "id": topic.id, "name": topic.id.name(), "type": RESOURCE_TYPE,
        "systemData": system_data(topic.created, topic.updated),
        "properties": {"provisioningState": "Succeeded"},
    })
}
