//! Event subscriptions: on a resource as an extension, below a topic or a system topic, and in lists.
//!
//! Promise: a subscription is kept once and echoed in the form it was asked for. The URL's query is shown by
//! `getFullUrl` only. PUT and PATCH answer 201, DELETE 204, because the Python client takes nothing else.
//! Not here: how bodies are read (`subscription_body`), what is allowed in them (`grid`).
//! Source: reference management 5 and 5.1, event-grid 3.1 to 3.3.

use std::sync::Arc;

use axum::response::Response;
use gridpost_grid::intake::IntakeKind;
use gridpost_grid::manage::Change;
use gridpost_grid::scope::Scope;
use gridpost_grid::subscriptions::Source;
use gridpost_model::ResourceId;
use gridpost_model::event_type::COMMUNICATION_TOPIC_TYPE;
use gridpost_model::filter::TopicKind;
use gridpost_model::subscription::{
    DeadLetterDestination, DeliverySchema, Destination, EventSubscription, ProvisioningState,
};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::destination_body::{self, Secrets};
use super::envelope::system_data;
use super::subscription_body::{self, PatchBody, PutBody};
use super::{
    Answer, Call, domain_topics, empty, entrances, filter_body, json, lists, ok, system_topics,
};
use crate::problem::Refusal;

/// The topic type of custom topics, as lists by topic type name it.
const CUSTOM_TOPIC_TYPE: &str = "Microsoft.EventGrid.Topics";
/// The topic type of domains and of their topics.
const DOMAIN_TOPIC_TYPE: &str = "Microsoft.EventGrid.Domains";

/// Routes that speak of event subscriptions.
pub(super) async fn route(call: &Call) -> Answer {
    let names = &call.address.names;
    match call.address.words()[..] {
        ["eventsubscriptions"] => match call.address.list_scope() {
            Some(scope) => list_scope(call, &scope, |_| true),
            None => list_of(call, &Place::extension(call)?),
        },
        ["topictypes", topic_type, "eventsubscriptions"] => {
            list_scope(call, &whole(call)?, |one| is_of_type(call, one, topic_type))
        }
        ["locations", location, "eventsubscriptions"] => {
            list_scope(call, &whole(call)?, |one| is_in(call, one, location))
        }
        [
            "locations",
            location,
            "topictypes",
            topic_type,
            "eventsubscriptions",
        ] => list_scope(call, &whole(call)?, |one| {
            is_in(call, one, location) && is_of_type(call, one, topic_type)
        }),
        ["eventsubscriptions", _] => one(call, Place::extension(call), &names[1], None).await,
        ["eventsubscriptions", _, action] => {
            one(call, Place::extension(call), &names[1], Some(action)).await
        }
        ["domains", _, "topics", _, ref rest @ ..] => below(call, rest, 4).await,
        ["topics" | "domains" | "systemtopics", _, ref rest @ ..] => below(call, rest, 2).await,
        _ => Err(call.unknown_type()),
    }
}

/// The routes below a topic, whose own path has `depth` segments; `rest` is what follows it.
async fn below(call: &Call, rest: &[&str], depth: usize) -> Answer {
    let place = Place::nested(call);
    let name = call.address.names.get(depth + 1);
    match (rest, name) {
        (["eventsubscriptions"], _) => list_of(call, &place?),
        (["eventsubscriptions", _], Some(name)) => one(call, place, name, None).await,
        (["eventsubscriptions", _, action], Some(name)) => {
            one(call, place, name, Some(action)).await
        }
        _ => Err(call.unknown_type()),
    }
}

/// The resource that a path hangs subscriptions on, and how it spells them.
struct Place {
    source: Source,
    /// The source, or the topic that stands for it: what the subscription's own id begins with.
    parent: ResourceId,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    /// `{resource}/providers/Microsoft.EventGrid/eventSubscriptions/{name}`.
    Extension,
    /// `{topic}/eventSubscriptions/{name}`, and the topic's type.
    Nested(&'static str),
}

impl Place {
    fn extension(call: &Call) -> Result<Self, Refusal> {
        let scope = call
            .address
            .scope
            .as_ref()
            .ok_or_else(|| call.unknown_type())?;
        if scope.resource_type().is_none() {
            let what = "An event subscription on a subscription or a resource group";
            return Err(Refusal::not_implemented(what));
        }
        Self::at(call, scope, Form::Extension)
    }

    fn nested(call: &Call) -> Result<Self, Refusal> {
        let names = &call.address.names;
        let entrance = |kind| -> Result<_, Refusal> {
            let id = entrances::id(call, kind, &names[1])?;
            Ok((id, entrances::resource_type(kind)))
        };
        let (id, resource_type) = match call.address.words()[..] {
            ["domains", _, "topics", _, ..] => (
                domain_topics::id(call, &names[1], &names[3])?,
                domain_topics::RESOURCE_TYPE,
            ),
            ["topics", ..] => entrance(IntakeKind::Topic)?,
            ["domains", ..] => entrance(IntakeKind::Domain)?,
            _ => (
                system_topics::topic_id(call, &names[1])?,
                system_topics::RESOURCE_TYPE,
            ),
        };
        Self::at(call, &id, Form::Nested(resource_type))
    }

    /// The place at an id that must exist; everything is spelled as it was first written.
    fn at(call: &Call, id: &ResourceId, form: Form) -> Result<Self, Refusal> {
        let (parent, source, kind) = if let Some(topic) = call.parts.grid.system_topic(id) {
            (
                topic.id.clone(),
                topic.source.clone(),
                TopicKind::Communication,
            )
        } else if let Some(Source { id, kind }) = call.parts.grid.source(id) {
            (id.clone(), id, kind)
        } else if let Some(service) = call.parts.comms.resource(id) {
            (
                service.id.clone(),
                service.id.clone(),
                TopicKind::Communication,
            )
        } else {
            return Err(Refusal::resource_not_found(id));
        };
        Ok(Self {
            source: Source { id: source, kind },
            parent,
            form,
        })
    }

    fn id_of(&self, name: &str) -> String {
        match self.form {
            Form::Extension => extension_id(&self.parent, name),
            Form::Nested(_) => format!("{}/eventSubscriptions/{name}", self.parent),
        }
    }

    fn resource_type(&self) -> String {
        match self.form {
            Form::Extension => EXTENSION_TYPE.to_owned(),
            Form::Nested(topic_type) => format!("{topic_type}/eventSubscriptions"),
        }
    }

    fn shown(&self, one: &EventSubscription) -> Value {
        shown(one, &self.id_of(&one.name), &self.resource_type())
    }

    fn not_found(&self, name: &str) -> Refusal {
        match self.id_of(name).parse() {
            Ok(id) => Refusal::resource_not_found(&id),
            Err(_) => Refusal::no_route(name),
        }
    }
}

const EXTENSION_TYPE: &str = "Microsoft.EventGrid/eventSubscriptions";

fn extension_id(parent: &ResourceId, name: &str) -> String {
    format!("{parent}/providers/Microsoft.EventGrid/eventSubscriptions/{name}")
}

async fn one(
    call: &Call,
    place: Result<Place, Refusal>,
    name: &str,
    action: Option<&str>,
) -> Answer {
    let place = &match place {
        // Subscriptions go with their resource: what is to be deleted is deleted.
        Err(refusal) if refusal.is_not_found() && *call.method() == Method::DELETE => {
            return empty(StatusCode::NO_CONTENT);
        }
        other => other?,
    };
    match (call.method(), action) {
        (&Method::GET, None) => Ok(shown_as(StatusCode::OK, place, &*found(call, place, name)?)),
        (&Method::PUT, None) => put(call, place, name).await,
        (&Method::PATCH, None) => patch(call, place, name).await,
        (&Method::DELETE, None) => {
            call.parts
                .grid
                .delete_event_subscription(&place.source.id, name)
                .await?;
            empty(StatusCode::NO_CONTENT)
        }
        (&Method::POST, Some("getfullurl")) => {
            let one = found(call, place, name)?;
            // Other kinds have no URL; the service answers with nothing in it.
            let url = one.destination.webhook().map(|hook| hook.url.reveal());
            ok(json!({"endpointUrl": url}))
        }
        (&Method::POST, Some("getdeliveryattributes")) => {
            let one = found(call, place, name)?;
            let all = one.destination.attributes();
            ok(json!({"value": destination_body::shown_attributes(all, Secrets::Shown)}))
        }
        _ => Err(call.not_allowed()),
    }
}

fn found(call: &Call, place: &Place, name: &str) -> Result<Arc<EventSubscription>, Refusal> {
    let found = call.parts.grid.event_subscription(&place.source.id, name);
    found.ok_or_else(|| place.not_found(name))
}

async fn put(call: &Call, place: &Place, name: &str) -> Answer {
    let schema = call.parts.grid.usual_delivery_schema(&place.source.id);
    let spec = call.body::<PutBody>()?.into_spec(schema)?;
    require_handlers(call, Some(&spec.destination), spec.dead_letter.as_ref())?;
    let (made, _) = call
        .parts
        .grid
        .put_event_subscription(&place.source, name, spec)
        .await?;
    require_source(call, place).await?;
    Ok(shown_as(StatusCode::CREATED, place, &made))
}

/// A destination that is named by its resource id, and where dead letters go, are written to, so each needs a say in
/// that resource. Who guards a webhook is its own endpoint, which has to agree.
/// Source: "Permissions when subscribing to events" of the service.
fn require_handlers(
    call: &Call,
    destination: Option<&Destination>,
    dead_letter: Option<&DeadLetterDestination>,
) -> Result<(), Refusal> {
    let destination = destination
        .filter(|one| one.webhook().is_none())
        .map(Destination::shown);
    let dead_letter = dead_letter.map(|one| one.resource_id.as_str());
    for id in destination.into_iter().chain(dead_letter) {
        // What is no resource id is refused for that.
        let Ok(id) = id.parse::<ResourceId>() else {
            continue;
        };
        let kind = id.resource_type();
        let kind = kind.as_deref().unwrap_or("Microsoft.Resources/resources");
        call.require(&format!("{kind}/write"), id.as_str())?;
    }
    Ok(())
}

/// The communication resource may have gone while the endpoint was asked; then nothing is left on it.
async fn require_source(call: &Call, place: &Place) -> Result<(), Refusal> {
    let source = &place.source;
    if source.kind != TopicKind::Communication || call.parts.comms.resource(&source.id).is_some() {
        return Ok(());
    }
    call.parts.grid.remove_source(&source.id).await?;
    Err(Refusal::resource_not_found(&source.id))
}

async fn patch(call: &Call, place: &Place, name: &str) -> Answer {
    found(call, place, name)?;
    let patch = call.body::<PatchBody>()?.into_patch()?;
    let dead_letter = match &patch.dead_letter {
        Change::Set(dead_letter) => Some(dead_letter),
        Change::Keep | Change::Clear => None,
    };
    require_handlers(call, patch.destination.as_ref(), dead_letter)?;
    let changed = call
        .parts
        .grid
        .patch_event_subscription(&place.source.id, name, patch)
        .await?;
    Ok(shown_as(StatusCode::CREATED, place, &changed))
}

/// While a visitor is awaited clients ask again, after 30 s unless they are told otherwise (reference management 4.1).
fn shown_as(status: StatusCode, place: &Place, one: &EventSubscription) -> Response {
    let mut response = json(status, place.shown(one));
    if let ProvisioningState::AwaitingManualAction { .. } = one.state {
        let soon = HeaderValue::from_static("2");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
    }
    response
}

fn list_of(call: &Call, place: &Place) -> Answer {
    require_get(call)?;
    let all = call
        .parts
        .grid
        .event_subscriptions(Some(&place.source.id), &Scope::Everywhere);
    lists::answer_some(call, all, |one| &one.name, |one| place.shown(&one))
}

fn list_scope(call: &Call, scope: &Scope, wanted: impl Fn(&EventSubscription) -> bool) -> Answer {
    require_get(call)?;
    let all = call.parts.grid.event_subscriptions(None, scope);
    let all = all.into_iter().filter(|one| wanted(one)).collect();
    lists::answer_some(
        call,
        all,
        |one: &Arc<EventSubscription>| &one.name,
        |one| shown(&one, &extension_id(&one.source, &one.name), EXTENSION_TYPE),
    )
}

fn require_get(call: &Call) -> Result<(), Refusal> {
    if *call.method() == Method::GET {
        Ok(())
    } else {
        Err(call.not_allowed())
    }
}

fn whole(call: &Call) -> Result<Scope, Refusal> {
    call.address.list_scope().ok_or_else(|| call.unknown_type())
}

fn is_of_type(call: &Call, one: &EventSubscription, topic_type: &str) -> bool {
    let entrance = call.parts.grid.entrance_of(&one.source);
    let own = match entrance.map(|entrance| entrance.kind()) {
        Some(IntakeKind::Topic) => CUSTOM_TOPIC_TYPE,
        Some(IntakeKind::Domain) => DOMAIN_TOPIC_TYPE,
        None => COMMUNICATION_TOPIC_TYPE,
    };
    own.eq_ignore_ascii_case(topic_type)
}

/// Subscriptions of a global source are in every location, because `az` does not ask for `global` with a topic type.
fn is_in(call: &Call, one: &EventSubscription, location: &str) -> bool {
    let plain = |text: &str| text.replace(' ', "").to_ascii_lowercase();
    let is_here = |own: &str| plain(own) == plain(location);
    let entrance = call.parts.grid.entrance_of(&one.source);
    entrance.is_none_or(|entrance| is_here(&entrance.location))
}

fn shown(one: &EventSubscription, id: &str, resource_type: &str) -> Value {
    let mut properties = json!({
        "topic": one.source,
        "provisioningState": state_name(&one.state),
        "destination": destination_body::shown(&one.destination),
        "filter": filter_body::shown(&one.filter),
        "labels": one.labels,
        "eventDeliverySchema": schema_name(one.delivery_schema),
        "retryPolicy": {
            "maxDeliveryAttempts": one.retry_policy.max_attempts,
            "eventTimeToLiveInMinutes": one.retry_policy.time_to_live_minutes,
        },
    });
    if let Some(expires) = one.expires {
        properties["expirationTimeUtc"] = json!(expires);
    }
    if let Some(target) = &one.dead_letter {
        properties["deadLetterDestination"] = json!({
            "endpointType": "StorageBlob",
            "properties": {
                "resourceId": target.resource_id, "blobContainerName": target.container,
            },
        });
    }
    json!({
        "id": id, "name": one.name, "type": resource_type,
        "systemData": system_data(one.created, one.updated), "properties": properties,
    })
}

fn state_name(state: &ProvisioningState) -> &'static str {
    match state {
        ProvisioningState::Succeeded => "Succeeded",
        ProvisioningState::AwaitingManualAction { .. } => "AwaitingManualAction",
        ProvisioningState::Failed => "Failed",
    }
}

fn schema_name(schema: DeliverySchema) -> &'static str {
    let known = subscription_body::SCHEMAS
        .iter()
        .find(|(_, known)| *known == schema);
    known.map_or("EventGridSchema", |(name, _)| name)
}
