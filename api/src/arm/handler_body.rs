//! Destinations that are not webhooks, as clients write and read them.
//!
//! Promise: what GET shows can be sent back with PUT and means the same.
//! Not here: whether the resource has a connection (`grid::connections`).
//! Source: reference event-grid 3.3, 6.

use gridpost_model::subscription::{AzureFunction, Batch, MessageEntity, StorageQueue};
use gridpost_model::{Destination, ResourceId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::destination_body::{MappingBody, Secrets, count, read_attributes, shown_attributes};
use super::objects;
use crate::problem::Refusal;

const NAME: &str = "destination.properties.queueName";
const RESOURCE: &str = "destination.properties.resourceId";

/// What the real service has and we do not, and why.
const MISSING: [(&str, &str); 4] = [
    (
        "HybridConnection",
        "it would need the relay service itself, which is not part of Gridpost; a webhook reaches the same listener",
    ),
    ("MonitorAlert", "there is nothing here that alerts"),
    ("NamespaceTopic", "there are no namespaces yet"),
    ("PartnerDestination", "there are no partners"),
];

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FunctionBody {
    resource_id: Option<String>,
    max_events_per_batch: Option<i64>,
    preferred_batch_size_in_kilobytes: Option<i64>,
    delivery_attribute_mappings: Option<Vec<MappingBody>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EntityBody {
    resource_id: Option<String>,
    delivery_attribute_mappings: Option<Vec<MappingBody>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct QueueBody {
    resource_id: Option<String>,
    queue_name: Option<String>,
    queue_message_time_to_live_in_seconds: Option<i64>,
}

/// Reads a destination of any type but `WebHook`.
pub(super) fn read(endpoint_type: &str, properties: Value) -> Result<Destination, Refusal> {
    if endpoint_type.eq_ignore_ascii_case("StorageQueue") {
        return read_queue(properties);
    }
    if endpoint_type.eq_ignore_ascii_case("AzureFunction") {
        return read_function(properties);
    }
    for (name, kind) in ENTITIES {
        if endpoint_type.eq_ignore_ascii_case(name) {
            return read_entity(properties).map(kind);
        }
    }
    let is_it = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(endpoint_type);
    let message = match MISSING.iter().find(is_it) {
        Some((name, why)) => format!(
            "The destination type '{name}' is not supported by this version of Gridpost: {why}."
        ),
        None => format!(
            "The destination type '{endpoint_type}' is unknown; use 'WebHook', 'AzureFunction', 'StorageQueue', 'ServiceBusQueue', 'ServiceBusTopic' or 'EventHub'."
        ),
    };
    Err(Refusal::invalid_field("destination.endpointType", message))
}

type OfEntity = fn(MessageEntity) -> Destination;

/// Destinations that take messages over AMQP.
const ENTITIES: [(&str, OfEntity); 3] = [
    ("ServiceBusQueue", Destination::ServiceBusQueue),
    ("ServiceBusTopic", Destination::ServiceBusTopic),
    ("EventHub", Destination::EventHub),
];

fn read_entity(properties: Value) -> Result<MessageEntity, Refusal> {
    let body: EntityBody = parsed(properties)?;
    let attributes = body.delivery_attribute_mappings.unwrap_or_default();
    Ok(MessageEntity {
        resource_id: resource(body.resource_id)?,
        attributes: read_attributes(attributes)?,
    })
}

fn read_queue(properties: Value) -> Result<Destination, Refusal> {
    let body: QueueBody = parsed(properties)?;
    let seconds = body.queue_message_time_to_live_in_seconds;
    let time_to_live_seconds = seconds.map(i32::try_from).transpose().map_err(|_| {
        let field = "destination.properties.queueMessageTimeToLiveInSeconds";
        let message = "The time to live of a message is longer than a queue can keep one.";
        Refusal::invalid_field(field, message)
    })?;
    let queue = body.queue_name.filter(|name| !name.is_empty());
    Ok(Destination::StorageQueue(StorageQueue {
        resource_id: resource(body.resource_id)?,
        queue: queue
            .ok_or_else(|| Refusal::invalid_field(NAME, "The name of the queue is missing."))?,
        time_to_live_seconds,
    }))
}

fn read_function(properties: Value) -> Result<Destination, Refusal> {
    let body: FunctionBody = parsed(properties)?;
    let usual = Batch::default();
    let number = |told: Option<i64>, usual| told.map_or(usual, count);
    let attributes = body.delivery_attribute_mappings.unwrap_or_default();
    Ok(Destination::AzureFunction(AzureFunction {
        resource_id: resource(body.resource_id)?,
        batch: Batch {
            max_events: number(body.max_events_per_batch, usual.max_events),
            preferred_kilobytes: number(
                body.preferred_batch_size_in_kilobytes,
                usual.preferred_kilobytes,
            ),
        },
        attributes: read_attributes(attributes)?,
    }))
}

/// The properties of a destination; absent or null ones are all absent.
pub(super) fn parsed<T: for<'de> Deserialize<'de> + Default>(
    properties: Value,
) -> Result<T, Refusal> {
    if properties.is_null() {
        return Ok(T::default());
    }
    objects::from_value(properties)
        .map_err(|error| Refusal::invalid_field("destination.properties", error.to_string()))
}

fn resource(id: Option<String>) -> Result<ResourceId, Refusal> {
    let id = id.unwrap_or_default();
    id.parse().map_err(|_| {
        let message = format!("The resource id '{id}' is not the path of a resource.");
        Refusal::invalid_field(RESOURCE, message)
    })
}

/// What is shown of a destination of any type but `WebHook`.
pub(super) fn shown(destination: &Destination) -> Value {
    let mut properties = json!({"resourceId": destination.shown()});
    if let Destination::StorageQueue(queue) = destination {
        properties["queueName"] = json!(queue.queue);
        if let Some(seconds) = queue.time_to_live_seconds {
            properties["queueMessageTimeToLiveInSeconds"] = json!(seconds);
        }
    }
    if let Destination::AzureFunction(function) = destination {
        properties["maxEventsPerBatch"] = json!(function.batch.max_events);
        properties["preferredBatchSizeInKilobytes"] = json!(function.batch.preferred_kilobytes);
    }
    let attributes = destination.attributes();
    if !attributes.is_empty() {
        properties["deliveryAttributeMappings"] = shown_attributes(attributes, Secrets::Hidden);
    }
    json!({"endpointType": destination.kind(), "properties": properties})
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str =
        "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/acct";

    #[test]
    fn section_3_3_a_storage_queue_is_read_and_shown_as_it_was_written() {
        let properties = json!({
            "resourceId": ACCOUNT, "queueName": "events", "queueMessageTimeToLiveInSeconds": -1,
        });
        let read = read("storagequeue", properties.clone()).unwrap();
        assert_eq!(
            shown(&read),
            json!({"endpointType": "StorageQueue", "properties": properties})
        );
    }

    #[test]
    fn section_3_3_a_function_is_read_and_shown_as_it_was_written() {
        let properties = json!({
            "resourceId": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Web/sites/a/functions/f",
            "maxEventsPerBatch": 10, "preferredBatchSizeInKilobytes": 128,
            "deliveryAttributeMappings": [
                {"name": "X-Key", "type": "Dynamic", "properties": {"sourceField": "data.key"}},
            ],
        });
        let function = read("AzureFunction", properties.clone()).unwrap();
        assert_eq!(
            shown(&function),
            json!({"endpointType": "AzureFunction", "properties": properties})
        );
        let plain = read("azurefunction", json!({"resourceId": "/f"})).unwrap();
        assert_eq!(shown(&plain)["properties"]["maxEventsPerBatch"], 1);
        assert!(read("AzureFunction", json!({})).is_err());
    }

    #[test]
    fn section_3_3_what_takes_messages_is_read_and_shown_as_it_was_written() {
        let properties = json!({
            "resourceId": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ServiceBus/namespaces/n/queues/q",
            "deliveryAttributeMappings": [
                {"name": "SessionId", "type": "Dynamic", "properties": {"sourceField": "data.key"}},
            ],
        });
        for kind in ["ServiceBusQueue", "ServiceBusTopic", "EventHub"] {
            let entity = read(&kind.to_lowercase(), properties.clone()).unwrap();
            assert_eq!(
                shown(&entity),
                json!({"endpointType": kind, "properties": properties})
            );
            assert!(read(kind, json!({})).is_err());
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for properties in [
            Value::Null,
            json!({"queueName": "events"}),
            json!({"resourceId": "acct", "queueName": "events"}),
            json!({"resourceId": ACCOUNT}),
            json!({"resourceId": ACCOUNT, "queueName": "events", "queueMessageTimeToLiveInSeconds": 1_u64 << 40}),
            json!({"resourceId": ACCOUNT, "queueName": "events", "queueMessageTimeToLiveInSeconds": "long"}),
        ] {
            assert!(
                read("StorageQueue", properties.clone()).is_err(),
                "{properties}"
            );
        }
    }

    #[test]
    fn types_that_do_not_exist_here_are_refused_with_the_reason() {
        for kind in [
            "HybridConnection",
            "MonitorAlert",
            "NamespaceTopic",
            "Nonsense",
        ] {
            assert!(read(kind, Value::Null).is_err(), "{kind}");
        }
    }
}
