//! `Microsoft.EventGrid/topics`.
//!
//! Promise: PUT answers 201 whether or not the topic existed, because the Python client takes nothing else. What
//! would change who may reach a topic is refused rather than ignored.
//! Source: reference management 5 and 5.1, event-grid 3.2.

use std::sync::Arc;

use gridpost_grid::intake::{IngressPatch, IngressSpec};
use gridpost_grid::scope::Scope;
use gridpost_grid::topics::{Topic, TopicPatch, TopicSpec};
use gridpost_model::mapping::InputSchema;
use gridpost_model::{ResourceId, WhichKey};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::envelope::{Tags, Tracked};
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
        (&Method::POST, ["topics", _, "listkeys"]) => ok(keys(&*found(call, &one()?)?)),
        (&Method::POST, ["topics", _, "regeneratekey"]) => regenerate_key(call, &one()?).await,
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
    properties: Properties,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    input_schema: Option<String>,
    input_schema_mapping: Option<Value>,
    public_network_access: Option<String>,
    inbound_ip_rules: Option<Vec<Value>>,
    disable_local_auth: Option<bool>,
}

impl TopicBody {
    fn check(&self) -> Result<(), Refusal> {
        let identity = self
            .identity
            .as_ref()
            .and_then(|identity| identity.kind.as_deref());
        if identity.is_some_and(|kind| !kind.eq_ignore_ascii_case("None")) {
            return Err(Refusal::not_supported_field("identity"));
        }
        let properties = &self.properties;
        let access = properties.public_network_access.as_deref();
        if access.is_some_and(|access| !access.eq_ignore_ascii_case("Enabled")) {
            return Err(Refusal::not_supported_field(
                "properties.publicNetworkAccess",
            ));
        }
        if properties
            .inbound_ip_rules
            .as_ref()
            .is_some_and(|rules| !rules.is_empty())
        {
            return Err(Refusal::not_supported_field("properties.inboundIpRules"));
        }
        if properties.input_schema_mapping.is_some() {
            return Err(Refusal::not_supported_field(
                "properties.inputSchemaMapping",
            ));
        }
        Ok(())
    }

    fn input_schema(&self) -> Result<InputSchema, Refusal> {
        let Some(text) = &self.properties.input_schema else {
            return Ok(InputSchema::EventGrid);
        };
        let known = [
            ("EventGridSchema", InputSchema::EventGrid),
            ("CloudEventSchemaV1_0", InputSchema::CloudEvents),
            ("CustomEventSchema", InputSchema::Custom(None)),
        ];
        let found = known
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, schema)| schema).ok_or_else(|| {
            let message = format!("The input schema '{text}' is unknown; use 'EventGridSchema'.");
            Refusal::invalid_field("properties.inputSchema", message)
        })
    }
}

async fn put(call: &Call<'_>, id: ResourceId) -> Answer {
    let group = call.require_group(&id)?;
    let body: TopicBody = call.body()?;
    body.check()?;
    let spec = TopicSpec {
        ingress: IngressSpec {
            input: Some(body.input_schema()?),
            disable_local_auth: body.properties.disable_local_auth.unwrap_or(false),
            ..IngressSpec::default()
        },
        // `az` leaves it out when nobody names one.
        location: body.location.unwrap_or_else(|| group.location.clone()),
        tags: body.tags.unwrap_or_default(),
    };
    let (topic, _) = call.parts.grid.put_topic(id, spec).await?;
    Ok(json(StatusCode::CREATED, shown(call, &topic)))
}

async fn patch(call: &Call<'_>, id: &ResourceId) -> Answer {
    let body: TopicBody = call.body()?;
    body.check()?;
    let patch = TopicPatch {
        tags: body.tags,
        ingress: IngressPatch {
            disable_local_auth: body.properties.disable_local_auth,
            ..IngressPatch::default()
        },
    };
    ok(shown(call, &*call.parts.grid.patch_topic(id, patch).await?))
}

fn shown(call: &Call<'_>, topic: &Topic) -> Value {
    let properties = json!({
        "provisioningState": "Succeeded",
        // Host names per topic do not resolve everywhere; a path always does.
        "endpoint": format!("{}/topics/{}/api/events", call.base, topic.id.name()),
        "inputSchema": schema_name(&topic.ingress.input),
        "publicNetworkAccess": "Enabled", "minimumTlsVersionAllowed": "1.2",
        "disableLocalAuth": topic.ingress.disable_local_auth,
    });
    let mut shown = Tracked::new(
        &topic.id,
        RESOURCE_TYPE,
        (&topic.location, &topic.tags),
        (topic.created, topic.updated),
        properties,
    )
    .shown();
    shown["sku"] = json!({"name": "Basic"});
    shown["kind"] = "Azure".into();
    shown["identity"] = json!({"type": "None"});
    shown
}

fn schema_name(schema: &InputSchema) -> &'static str {
    match schema {
        InputSchema::EventGrid => "EventGridSchema",
        InputSchema::CloudEvents => "CloudEventSchemaV1_0",
        InputSchema::Custom(_) => "CustomEventSchema",
    }
}

fn keys(topic: &Topic) -> Value {
    json!({"key1": topic.ingress.keys.first.reveal(), "key2": topic.ingress.keys.second.reveal()})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegenerateBody {
    key_name: Option<String>,
}

async fn regenerate_key(call: &Call<'_>, id: &ResourceId) -> Answer {
    found(call, id)?;
    let body: RegenerateBody = call.body()?;
    let which = match body.key_name.as_deref() {
        Some(text) if text.eq_ignore_ascii_case("key1") => WhichKey::First,
        Some(text) if text.eq_ignore_ascii_case("key2") => WhichKey::Second,
        _ => {
            let message = "The property 'keyName' must be 'key1' or 'key2'.";
            return Err(Refusal::invalid_field("keyName", message));
        }
    };
    ok(keys(
        &*call.parts.grid.regenerate_topic_key(id, which).await?,
    ))
}
