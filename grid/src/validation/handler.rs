//! What may be written into a destination that is not a webhook.
//!
//! Promise: what passes can be sent to as far as the configuration knows: its resource has a connection, and the
//! connection leads where we may dial to.
//! Source: reference event-grid 3.3, 6; "Naming Queues and Metadata" of the storage service.

use gridpost_model::subscription::{
    AttributeValue, DeadLetterDestination, Destination, MessageEntity, StorageQueue,
};
use gridpost_model::{ResourceId, subscription::AzureFunction};

use super::webhook;
use crate::connections::NotConfigured;
use crate::destination::message::Field;
use crate::manage::Invalid;
use crate::outbound::Client;

const RESOURCE: &str = "destination.properties.resourceId";
const ACCOUNT: &str = "deadLetterDestination.properties.resourceId";

/// The longest life of a message that the queue takes as a number.
const LONGEST_LIFE: i32 = i32::MAX;

/// Checks a destination of any kind but a webhook.
pub(super) fn check(destination: &Destination, client: &Client) -> Result<(), Invalid> {
    match destination {
        Destination::StorageQueue(queue) => check_queue(queue, client),
        Destination::AzureFunction(function) => check_function(function, client),
        Destination::ServiceBusQueue(entity)
        | Destination::ServiceBusTopic(entity)
        | Destination::EventHub(entity) => check_entity(destination.kind(), entity, client),
        Destination::WebHook(hook) => webhook::check(hook),
    }
}

fn check_entity(kind: &str, entity: &MessageEntity, client: &Client) -> Result<(), Invalid> {
    let wanted = match kind {
        "ServiceBusQueue" => "Microsoft.ServiceBus/namespaces/queues",
        "ServiceBusTopic" => "Microsoft.ServiceBus/namespaces/topics",
        _ => "Microsoft.EventHub/namespaces/eventhubs",
    };
    if !entity.resource_id.is_of_type(wanted) {
        let message =
            format!("A destination of the type '{kind}' needs the resource id of a {wanted}.");
        return Err(Invalid::new(RESOURCE, message));
    }
    check_fields(entity)?;
    let (peer, _) = known(client.connections().amqp(&entity.resource_id), RESOURCE)?;
    reachable(&peer.url(), RESOURCE, client)
}

/// Attributes that set fields of the message have rules of their own. Source: reference event-grid 6.
fn check_fields(entity: &MessageEntity) -> Result<(), Invalid> {
    let all = &entity.attributes;
    webhook::check_attributes(all)?;
    let refused = |message: &str| {
        let field = "destination.properties.deliveryAttributeMappings";
        Err(Invalid::new(field, message))
    };
    let find = |field: Field| all.iter().find(|one| Field::of(&one.name) == Some(field));
    if let Some(id) = find(Field::MessageId) {
        if matches!(id.value, AttributeValue::Static { .. }) {
            return refused("The delivery attribute 'MessageId' must be dynamic.");
        }
        if find(Field::SessionId).is_some() {
            return refused(
                "Only one of the delivery attributes 'SessionId' and 'MessageId' can be set.",
            );
        }
    }
    Ok(())
}

fn check_queue(queue: &StorageQueue, client: &Client) -> Result<(), Invalid> {
    if !is_storage_name(&queue.queue) {
        return Err(Invalid::new(
            "destination.properties.queueName",
            format!("'{}' is not the name of a queue.", queue.queue),
        ));
    }
    if let Some(seconds) = queue.time_to_live_seconds
        && seconds != -1
        && !(1..=LONGEST_LIFE).contains(&seconds)
    {
        return Err(Invalid::new(
            "destination.properties.queueMessageTimeToLiveInSeconds",
            "The time to live of a message must be positive, or -1 for messages that never expire.",
        ));
    }
    let account = known(client.connections().storage(&queue.resource_id), RESOURCE)?;
    reachable(account.queues(), RESOURCE, client)
}

fn check_function(function: &AzureFunction, client: &Client) -> Result<(), Invalid> {
    webhook::check_batch(function.batch)?;
    webhook::check_headers(&function.attributes)?;
    let url = known(client.connections().function(function), RESOURCE)?;
    reachable(url.reveal(), RESOURCE, client)
}

/// Checks where dead letters shall go. As with any destination, the configuration has to know the account.
pub(super) fn check_dead_letter(
    target: &DeadLetterDestination,
    client: &Client,
) -> Result<(), Invalid> {
    if target.resource_id.is_empty() {
        let message = "The resource id of the storage account is missing.";
        return Err(Invalid::new(ACCOUNT, message));
    }
    if !is_storage_name(&target.container) {
        return Err(Invalid::new(
            "deadLetterDestination.properties.blobContainerName",
            format!(
                "'{}' is not the name of a blob container.",
                target.container
            ),
        ));
    }
    let id: ResourceId = target.resource_id.parse().map_err(|_| {
        let message = format!("'{}' is not a resource id.", target.resource_id);
        Invalid::new(ACCOUNT, message)
    })?;
    let account = known(client.connections().storage(&id), ACCOUNT)?;
    reachable(account.blobs(), ACCOUNT, client)
}

fn known<T>(found: Result<T, NotConfigured>, field: &'static str) -> Result<T, Invalid> {
    found.map_err(|error| Invalid::new(field, format!("The destination cannot be used: {error}.")))
}

fn reachable(url: &str, field: &'static str, client: &Client) -> Result<(), Invalid> {
    let found = client.endpoint(url);
    found.map(drop).map_err(|error| {
        let message =
            format!("The destination cannot be used: in its configured connection {error}.");
        Invalid::new(field, message)
    })
}

/// Containers and queues have the same rules.
fn is_storage_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gridpost_model::Timestamp;

    use super::*;
    use crate::connections::Connections;
    use crate::outbound::{Reach, Settings};
    use crate::storage::StorageAccount;
    use crate::testing;

    const KNOWN: &str =
        "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/acct";

    fn client(loopback: bool) -> Client {
        let account = StorageAccount::from_connection_string("UseDevelopmentStorage=true").unwrap();
        let settings = Settings {
            reach: Reach {
                loopback,
                ..Reach::default()
            },
            plain_http: true,
            connections: Connections {
                storage: [(KNOWN.parse().unwrap(), Arc::new(account))].into(),
                ..Connections::default()
            },
            ..Settings::default()
        };
        Client::new(&settings, Arc::new(testing::StoppedClock(Timestamp::EPOCH))).unwrap()
    }

    fn queue(account: &str, name: &str, seconds: Option<i32>) -> Destination {
        Destination::StorageQueue(StorageQueue {
            resource_id: account.parse().unwrap(),
            queue: name.into(),
            time_to_live_seconds: seconds,
        })
    }

    fn field(destination: &Destination) -> Option<&'static str> {
        check(destination, &client(true))
            .err()
            .map(|invalid| invalid.field)
    }

    #[test]
    fn section_3_3_the_properties_of_a_storage_queue() {
        assert_eq!(field(&queue(KNOWN, "events", None)), None);
        assert_eq!(field(&queue(KNOWN, "events", Some(-1))), None);
        assert_eq!(field(&queue(KNOWN, "events", Some(3600))), None);
        for seconds in [0, -2] {
            assert_eq!(
                field(&queue(KNOWN, "events", Some(seconds))),
                Some("destination.properties.queueMessageTimeToLiveInSeconds")
            );
        }
        for name in ["", "ab", "Upper", "-x-", "a--b"] {
            assert_eq!(
                field(&queue(KNOWN, name, None)),
                Some("destination.properties.queueName"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_resource_without_a_connection_is_refused_with_the_name_of_the_setting() {
        let refused = check(&queue("/other", "events", None), &client(true)).unwrap_err();
        assert_eq!(refused.field, RESOURCE);
        assert!(
            refused.message.contains("[[handlers.storage]]")
                && refused.message.contains("'/other'"),
            "{}",
            refused.message
        );
        let function = Destination::AzureFunction(AzureFunction {
            resource_id: "/f".parse().unwrap(),
            batch: gridpost_model::subscription::Batch::default(),
            attributes: Vec::new(),
        });
        let refused = check(&function, &client(true)).unwrap_err();
        assert!(
            refused.message.contains("[[handlers.function]]"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn a_connection_leads_only_where_webhooks_may_lead() {
        let refused = check(&queue(KNOWN, "events", None), &client(false)).unwrap_err();
        assert!(refused.message.contains("loopback"), "{}", refused.message);
    }

    #[test]
    fn section_5_7_a_dead_letter_destination_is_a_blob_container() {
        let check = |account: &str, container: &str| {
            let target = DeadLetterDestination {
                resource_id: account.into(),
                container: container.into(),
            };
            check_dead_letter(&target, &client(true)).is_ok()
        };
        assert!(check(KNOWN, "lost-events"));
        assert!(!check("", "lost-events") && !check("elsewhere", "lost-events"));
        for name in ["", "ab", "Upper", "-x-", "a--b"] {
            assert!(!check(KNOWN, name), "{name}");
        }
    }

    #[test]
    fn a_dead_letter_destination_whose_account_is_not_configured_names_the_setting() {
        let target = DeadLetterDestination {
            resource_id: "/elsewhere".into(),
            container: "lost-events".into(),
        };
        let refused = check_dead_letter(&target, &client(true)).unwrap_err();
        assert!(
            refused.message.contains("handlers.storage"),
            "{}",
            refused.message
        );
    }
}
