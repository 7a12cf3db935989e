//! Messages for Service Bus queues, Service Bus topics and event hubs.
//!
//! Promise: a message is one event: the bare object for Service Bus, an array of it for Event Hubs. What webhooks get
//! as headers are its application properties; attributes with the name of a field of the message become that field.
//! It is durable, and delivered once the peer has accepted it.
//! Not here: the connection (`amqp`).
//! Source: reference event-grid 6 and trap 9, 3.3.

use std::sync::Arc;

use bytes::Bytes;
use fe2o3_amqp::types::messaging::annotations::OwnedKey;
use fe2o3_amqp::types::messaging::{
    ApplicationProperties, Data, Header, Message, MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp::types::primitives::{Binary, SimpleValue, Symbol, Value};
use futures_util::future::BoxFuture;
use gridpost_model::Event;
use gridpost_model::event::NotAnEvent;
use gridpost_model::filter::lookup::value_at;
use gridpost_model::subscription::{
    AttributeValue, DeliveryAttribute, DeliverySchema, EventSubscription, MessageEntity,
};
use http::{HeaderMap, StatusCode};

use super::attributes::text;
use super::{Handler, Shipment};
use crate::amqp::Link;
use crate::outbound::{BadUrl, Client, Failure, Response, message_id};
use crate::trace::TRACEPARENT;
use crate::validation::VALUE_BYTES;

/// Tells that an event is delivered once more, and by which replay.
const REPLAY: &str = "gridpost-replay";

/// A node of a peer, and what all messages to it have in common.
pub(crate) struct Entity {
    link: Link,
    form: Form,
}

/// How an event becomes a message.
struct Form {
    name: String,
    schema: DeliverySchema,
    body: Body,
    attributes: Vec<DeliveryAttribute>,
}

/// Whether events go as bare objects or as arrays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Service Bus.
    Object,
    /// Event Hubs.
    Array,
}

impl Entity {
    pub(crate) fn new(
        subscription: &EventSubscription,
        entity: &MessageEntity,
        body: Body,
        client: &Client,
    ) -> Result<Self, BadUrl> {
        let (peer, address) = client.connections().amqp(&entity.resource_id)?;
        let name = format!("{}-{}", subscription.name, subscription.lane.0);
        Ok(Self {
            link: Link::new(client, peer, address, name)?,
            form: Form {
                name: subscription.name.to_uppercase(),
                schema: subscription.delivery_schema,
                body,
                attributes: entity.attributes.clone(),
            },
        })
    }
}

impl Handler for Entity {
    fn send<'a>(&'a self, shipment: Shipment<'a>) -> BoxFuture<'a, Result<Response, Failure>> {
        Box::pin(async move {
            for event in shipment.events {
                let message = || {
                    let message = self.form.message(event, &shipment);
                    message.map_err(|error| Failure::Protocol(error.to_string()))
                };
                Box::pin(self.link.send(&message)).await?;
            }
            // What a queue that took a message over HTTP would answer.
            Ok(Response {
                status: StatusCode::CREATED,
                headers: HeaderMap::new(),
                body: Bytes::new(),
            })
        })
    }
}

impl Form {
    fn message(
        &self,
        event: &Arc<Event>,
        shipment: &Shipment<'_>,
    ) -> Result<Message<Data>, NotAnEvent> {
        let object = event.in_schema(self.schema)?;
        let body = match self.body {
            Body::Object => object.to_vec(),
            Body::Array => [b"[", &object[..], b"]"].concat(),
        };
        let mut properties = Properties::builder()
            .message_id(MessageId::String(message_id(&[event])))
            .content_type(Symbol::from(self.content_type()))
            .build();
        let mut annotations = MessageAnnotations::default();
        let mut own = self.own_properties(event, shipment);
        for attribute in &self.attributes {
            let Some(value) = value_of(attribute, event) else {
                continue;
            };
            let mut annotate = |name: &str, value: String| {
                let key = OwnedKey::Symbol(Symbol::from(name));
                annotations.0.insert(key, Value::String(value));
            };
            match Field::of(&attribute.name) {
                Some(Field::MessageId) => properties.message_id = Some(MessageId::String(value)),
                Some(Field::CorrelationId) => {
                    properties.correlation_id = Some(MessageId::String(value));
                }
                Some(Field::Label) => properties.subject = Some(value),
                Some(Field::To) => properties.to = Some(value),
                Some(Field::ReplyTo) => properties.reply_to = Some(value),
                Some(Field::SessionId) => properties.group_id = Some(value),
                Some(Field::ReplyToSessionId) => properties.reply_to_group_id = Some(value),
                Some(Field::PartitionKey) => annotate("x-opt-partition-key", value),
                Some(Field::ViaPartitionKey) => annotate("x-opt-via-partition-key", value),
                None => {
                    own.0
                        .insert(attribute.name.clone(), SimpleValue::String(value));
                }
            }
        }
        let header = Header {
            durable: true,
            ..Header::default()
        };
        let mut message = Message::builder()
            .header(header)
            .properties(properties)
            .application_properties(own)
            .data(Binary::from(body))
            .build();
        message.message_annotations = (!annotations.0.is_empty()).then_some(annotations);
        Ok(message)
    }

    /// What webhooks get as headers.
    fn own_properties(&self, event: &Event, shipment: &Shipment<'_>) -> ApplicationProperties {
        let cloud = self.schema == DeliverySchema::CloudEvents;
        let text = |text: &str| SimpleValue::String(text.to_owned());
        let mut own = ApplicationProperties::default();
        let mut set = |name: &str, value: SimpleValue| {
            own.0.insert(name.to_owned(), value);
        };
        set("aeg-event-type", text("Notification"));
        set("aeg-subscription-name", text(&self.name));
        set(
            "aeg-delivery-count",
            text(&shipment.attempts_made.to_string()),
        );
        set(
            "aeg-metadata-version",
            text(if cloud { "1.0" } else { "1" }),
        );
        if !cloud {
            set("aeg-data-version", text(&event.data_version));
        }
        set("aeg-output-event-id", text(&event.id));
        if let Some(replay) = &shipment.replay {
            set(REPLAY, text(replay));
        }
        if let Some(trace) = &shipment.trace {
            set(TRACEPARENT, text(trace));
        }
        own
    }

    fn content_type(&self) -> &'static str {
        match self.schema {
            DeliverySchema::CloudEvents => match self.body {
                Body::Object => "application/cloudevents+json",
                Body::Array => "application/cloudevents-batch+json",
            },
            DeliverySchema::EventGrid | DeliverySchema::Custom => "application/json",
        }
    }
}

fn value_of(attribute: &DeliveryAttribute, event: &Event) -> Option<String> {
    match &attribute.value {
        AttributeValue::Static { value, .. } => Some(value.reveal().to_owned()),
        AttributeValue::Dynamic { source_field } => value_at(event, source_field)
            .and_then(text)
            .filter(|text| text.len() <= VALUE_BYTES),
    }
}

/// The fields of a message that attributes can set, by the names of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    MessageId,
    PartitionKey,
    SessionId,
    CorrelationId,
    Label,
    ReplyTo,
    ReplyToSessionId,
    To,
    ViaPartitionKey,
}

impl Field {
    pub(crate) fn of(name: &str) -> Option<Self> {
        const NAMES: [(&str, Field); 9] = [
            ("MessageId", Field::MessageId),
            ("PartitionKey", Field::PartitionKey),
            ("SessionId", Field::SessionId),
            ("CorrelationId", Field::CorrelationId),
            ("Label", Field::Label),
            ("ReplyTo", Field::ReplyTo),
            ("ReplyToSessionId", Field::ReplyToSessionId),
            ("To", Field::To),
            ("ViaPartitionKey", Field::ViaPartitionKey),
        ];
        let found = NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, field)| *field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn form(body: Body, schema: DeliverySchema, attributes: Vec<DeliveryAttribute>) -> Form {
        Form {
            name: "ES1".into(),
            schema,
            body,
            attributes,
        }
    }

    fn message(form: &Form) -> Message<Data> {
        let event = Arc::new(testing::event("x", "s"));
        let shipment = Shipment {
            events: &[],
            attempts_made: 2,
            replay: Some("7".into()),
            trace: Some("00-a-b-01".into()),
        };
        form.message(&event, &shipment).unwrap()
    }

    #[test]
    fn section_6_service_bus_gets_the_bare_object_and_the_names_of_headers_as_properties() {
        let message = message(&form(Body::Object, DeliverySchema::EventGrid, Vec::new()));
        let event = testing::event("x", "s");
        assert_eq!(message.body.0, &event.json[..]);
        let own: Vec<_> = message
            .application_properties
            .unwrap()
            .0
            .into_iter()
            .collect();
        let pair = |name: &str, value: &str| (name.to_owned(), SimpleValue::String(value.into()));
        assert_eq!(
            own,
            [
                pair("aeg-event-type", "Notification"),
                pair("aeg-subscription-name", "ES1"),
                pair("aeg-delivery-count", "2"),
                pair("aeg-metadata-version", "1"),
                pair("aeg-data-version", &event.data_version),
                pair("aeg-output-event-id", &event.id),
                pair("gridpost-replay", "7"),
                pair("traceparent", "00-a-b-01"),
            ]
        );
        let properties = message.properties.unwrap();
        assert_eq!(properties.content_type, Some("application/json".into()));
        let id = MessageId::String(message_id(&[&event]));
        assert_eq!(properties.message_id, Some(id));
        assert!(message.header.unwrap().durable);
        assert!(message.message_annotations.is_none());
    }

    #[test]
    fn section_6_event_hubs_get_an_array() {
        let event = testing::event("x", "s");
        let plain = message(&form(Body::Array, DeliverySchema::EventGrid, Vec::new()));
        assert_eq!(plain.body.0, [b"[", &event.json[..], b"]"].concat());
        let cloud = form(Body::Array, DeliverySchema::CloudEvents, Vec::new());
        assert_eq!(cloud.content_type(), "application/cloudevents-batch+json");
    }

    #[test]
    fn section_6_attributes_with_the_name_of_a_field_set_it() {
        let attributes = vec![
            DeliveryAttribute::fixed("PartitionKey", "p"),
            DeliveryAttribute::fixed("sessionid", "s"),
            DeliveryAttribute::fixed("Label", "l"),
            DeliveryAttribute::fixed("CorrelationId", "c"),
            DeliveryAttribute::fixed("Other", "o"),
            DeliveryAttribute::taken("Absent", "data.absent"),
            DeliveryAttribute::taken("MessageId", "id"),
        ];
        let message = message(&form(Body::Object, DeliverySchema::EventGrid, attributes));
        let properties = message.properties.unwrap();
        assert_eq!(properties.group_id.as_deref(), Some("s"));
        assert_eq!(properties.subject.as_deref(), Some("l"));
        assert_eq!(
            properties.correlation_id,
            Some(MessageId::String("c".into()))
        );
        let id = testing::event("x", "s").id.to_string();
        assert_eq!(properties.message_id, Some(MessageId::String(id)));
        let key = OwnedKey::Symbol("x-opt-partition-key".into());
        let annotations = message.message_annotations.unwrap();
        assert_eq!(annotations.0.get(&key), Some(&Value::String("p".into())));
        let own = message.application_properties.unwrap().0;
        assert_eq!(own.get("Other"), Some(&SimpleValue::String("o".into())));
        assert!(!own.contains_key("Absent") && !own.contains_key("PartitionKey"));
    }
}
