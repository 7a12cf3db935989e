//! Event subscriptions: who is told, how, and for how long we try.
//!
//! Source: reference event-grid 3.3, 5.2, 5.3.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Filter, ResourceId, Secret, Timestamp};

/// The number of one subscription's queue. Given once, never used again, small enough to stand in every journal record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(pub u64);

/// An event subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventSubscription {
    /// Its name, as first written; compared without case within its source.
    pub name: String,
    /// `topic`: the resource whose events it receives (a communication resource, a custom topic).
    pub source: ResourceId,
    /// Its queue.
    pub lane: LaneId,
    /// Where events go.
    pub destination: Destination,
    /// Which events go there.
    pub filter: Filter,
    /// `labels`: free text without meaning to us.
    #[serde(default)]
    pub labels: Vec<String>,
    /// `expirationTimeUtc`: when it retires.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// `eventDeliverySchema`.
    pub delivery_schema: DeliverySchema,
    /// `retryPolicy`.
    pub retry_policy: RetryPolicy,
    /// `deadLetterDestination`, when one is configured.
    #[serde(default)]
    pub dead_letter: Option<DeadLetterDestination>,
    /// `provisioningState`.
    pub state: ProvisioningState,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// Where events go. All but webhooks name a resource of the cloud; the configuration says where that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// An HTTP endpoint.
    WebHook(WebHook),
    /// A function, through the Event Grid webhook of its runtime.
    AzureFunction(AzureFunction),
    /// A queue of a storage account.
    StorageQueue(StorageQueue),
    /// A Service Bus queue.
    ServiceBusQueue(MessageEntity),
    /// A Service Bus topic.
    ServiceBusTopic(MessageEntity),
    /// An event hub.
    EventHub(MessageEntity),
}

impl Destination {
    /// The webhook, when it is one.
    pub fn webhook(&self) -> Option<&WebHook> {
        match self {
            Self::WebHook(hook) => Some(hook),
            _ => None,
        }
    }

    /// `deliveryAttributeMappings`.
    pub fn attributes(&self) -> &[DeliveryAttribute] {
        match self {
            Self::WebHook(hook) => &hook.attributes,
            Self::AzureFunction(function) => &function.attributes,
            Self::ServiceBusQueue(entity)
            | Self::ServiceBusTopic(entity)
            | Self::EventHub(entity) => &entity.attributes,
            Self::StorageQueue(_) => &[],
        }
    }

    /// The same, to be changed; `None` for what takes none.
    pub fn attributes_mut(&mut self) -> Option<&mut Vec<DeliveryAttribute>> {
        match self {
            Self::WebHook(hook) => Some(&mut hook.attributes),
            Self::AzureFunction(function) => Some(&mut function.attributes),
            Self::ServiceBusQueue(entity)
            | Self::ServiceBusTopic(entity)
            | Self::EventHub(entity) => Some(&mut entity.attributes),
            Self::StorageQueue(_) => None,
        }
    }

    /// `endpointType`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::WebHook(_) => "WebHook",
            Self::AzureFunction(_) => "AzureFunction",
            Self::StorageQueue(_) => "StorageQueue",
            Self::ServiceBusQueue(_) => "ServiceBusQueue",
            Self::ServiceBusTopic(_) => "ServiceBusTopic",
            Self::EventHub(_) => "EventHub",
        }
    }

    /// Where it leads, safe to show: the URL without its query, or the resource.
    pub fn shown(&self) -> &str {
        match self {
            Self::WebHook(hook) => hook.base_url(),
            Self::AzureFunction(function) => function.resource_id.as_str(),
            Self::StorageQueue(queue) => queue.resource_id.as_str(),
            Self::ServiceBusQueue(entity)
            | Self::ServiceBusTopic(entity)
            | Self::EventHub(entity) => entity.resource_id.as_str(),
        }
    }
}

/// A function. Source: reference event-grid 3.3, 6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AzureFunction {
    /// `resourceId`: `…/Microsoft.Web/sites/{app}/functions/{function}`.
    pub resource_id: ResourceId,
    /// `maxEventsPerBatch` and `preferredBatchSizeInKilobytes`.
    #[serde(default)]
    pub batch: Batch,
    /// `deliveryAttributeMappings`.
    #[serde(default)]
    pub attributes: Vec<DeliveryAttribute>,
}

/// A queue of a storage account. Source: reference event-grid 3.3, 6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageQueue {
    /// `resourceId`: the storage account.
    pub resource_id: ResourceId,
    /// `queueName`.
    pub queue: String,
    /// `queueMessageTimeToLiveInSeconds`: positive, or -1 for messages that never expire. The service's default of
    /// seven days when nothing was said.
    #[serde(default)]
    pub time_to_live_seconds: Option<i32>,
}

/// A queue, topic or hub that takes messages over AMQP. Source: reference event-grid 3.3, 6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageEntity {
    /// `resourceId`: the queue, topic or hub.
    pub resource_id: ResourceId,
    /// `deliveryAttributeMappings`: properties of the message beside our own.
    #[serde(default)]
    pub attributes: Vec<DeliveryAttribute>,
}

/// An HTTP endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebHook {
    /// `endpointUrl`, whole. Its query string is a secret of the endpoint.
    pub url: Secret,
    /// `maxEventsPerBatch` and `preferredBatchSizeInKilobytes`.
    #[serde(default)]
    pub batch: Batch,
    /// `deliveryAttributeMappings`: headers beside our own. At most ten.
    #[serde(default)]
    pub attributes: Vec<DeliveryAttribute>,
    /// `azureActiveDirectoryTenantId` and `azureActiveDirectoryApplicationIdOrUri`: requests carry a token for it.
    #[serde(default)]
    pub entra: Option<Entra>,
    /// `gridpostSigningSecret`, ours alone: requests are signed by the rules of standard-webhooks.
    #[serde(default)]
    pub signing: Option<Secret>,
    /// Events per minute that the endpoint allowed when it was asked. Source: reference event-grid 4.2.
    #[serde(default)]
    pub allowed_rate: Option<u32>,
}

/// How many events go together in one request. Source: reference event-grid 3.3, 5.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// `maxEventsPerBatch`: 1 to 5000, never exceeded. 1: no batches.
    pub max_events: u32,
    /// `preferredBatchSizeInKilobytes`: 1 to 1024. One larger event goes alone.
    pub preferred_kilobytes: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            max_events: 1,
            preferred_kilobytes: 64,
        }
    }
}

impl Batch {
    /// The bytes that the events of a batch should not exceed.
    pub fn preferred_bytes(self) -> usize {
        usize::try_from(self.preferred_kilobytes).map_or(usize::MAX, |kilobytes| kilobytes << 10)
    }
}

/// An entry of `deliveryAttributeMappings`: a header, or a property of a message, beside our own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAttribute {
    /// `name`, as it was written.
    pub name: String,
    /// What it carries.
    pub value: AttributeValue,
}

impl DeliveryAttribute {
    /// One that carries this text, for all to see.
    pub fn fixed(name: &str, value: &str) -> Self {
        Self::same(name, value, false)
    }

    /// One that carries this text, which is not shown again.
    pub fn secret(name: &str, value: &str) -> Self {
        Self::same(name, value, true)
    }

    fn same(name: &str, value: &str, is_secret: bool) -> Self {
        let value = Secret::new(value);
        Self {
            name: name.into(),
            value: AttributeValue::Static { value, is_secret },
        }
    }

    /// One that carries what each event has at this path.
    pub fn taken(name: &str, source_field: &str) -> Self {
        let source_field = source_field.into();
        Self {
            name: name.into(),
            value: AttributeValue::Dynamic { source_field },
        }
    }
}

/// What a delivery attribute carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeValue {
    /// `Static`: always the same text.
    Static {
        /// `value`.
        value: Secret,
        /// `isSecret`: never shown again.
        is_secret: bool,
    },
    /// `Dynamic`: taken from each event.
    Dynamic {
        /// `sourceField`: a path into the event, as filters write it.
        source_field: String,
    },
}

/// The application that an Entra-protected endpoint expects tokens for. Source: reference event-grid 5.8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entra {
    /// `azureActiveDirectoryTenantId`.
    pub tenant: String,
    /// `azureActiveDirectoryApplicationIdOrUri`.
    pub application: String,
}

impl WebHook {
    /// An endpoint that takes one event at a time and asks for nothing more.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url),
            ..Self::default()
        }
    }

    /// `endpointBaseUrl`: the URL without its query, safe to show.
    pub fn base_url(&self) -> &str {
        self.url
            .reveal()
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
    }
}

/// `eventDeliverySchema`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliverySchema {
    /// `EventGridSchema`.
    EventGrid,
    /// `CloudEventSchemaV1_0`.
    CloudEvents,
    /// `CustomInputSchema`.
    Custom,
}

/// How long and how often a delivery is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// `maxDeliveryAttempts`: 1 to 30.
    pub max_attempts: u32,
    /// `eventTimeToLiveInMinutes`: 1 to 1440.
    pub time_to_live_minutes: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 30,
            time_to_live_minutes: 1440,
        }
    }
}

impl RetryPolicy {
    /// How long after publishing a delivery may still be tried.
    pub fn time_to_live(&self) -> Duration {
        Duration::from_secs(u64::from(self.time_to_live_minutes) * 60)
    }
}

/// `deadLetterDestination`: a blob container. Kept and shown; we keep dead letters ourselves in any case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterDestination {
    /// `resourceId`: the storage account.
    pub resource_id: String,
    /// `blobContainerName`.
    pub container: String,
}

/// `provisioningState`, with exactly the data of that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProvisioningState {
    /// Delivering.
    Succeeded,
    /// The endpoint answered the handshake without the code: somebody has to visit the validation URL in time.
    AwaitingManualAction {
        /// What the visitor must bring.
        token: Secret,
        /// The code that was sent, should the endpoint answer it on another attempt.
        code: Secret,
        /// The end of the window.
        until: Timestamp,
    },
    /// The window passed; the subscription has to be created again.
    Failed,
}
