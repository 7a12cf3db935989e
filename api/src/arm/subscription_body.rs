//! What a client writes of an event subscription.
//!
//! Promise: PUT is nested below `properties`, PATCH is flat; in both an absent key is told from `null`. Enum values
//! compare without case. What would change deliveries and is not supported is refused by its name, never ignored.
//! Source: reference management 5.1, event-grid 3.3 and traps 1 and 23.

use gridpost_grid::manage::Change;
use gridpost_grid::subscriptions::{
    RetryPolicyPatch, SubscriptionPatch, SubscriptionSpec, WebHookPatch,
};
use gridpost_model::subscription::{DeadLetterDestination, DeliverySchema};
use gridpost_model::{Destination, Filter, RetryPolicy, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::destination_body::{DestinationBody, Said};
use super::filter_body::FilterBody;
use crate::problem::Refusal;

/// `eventDeliverySchema` and what it means.
pub(super) const SCHEMAS: [(&str, DeliverySchema); 3] = [
    ("EventGridSchema", DeliverySchema::EventGrid),
    ("CloudEventSchemaV1_0", DeliverySchema::CloudEvents),
    ("CustomInputSchema", DeliverySchema::Custom),
];

/// The body of PUT.
#[derive(Deserialize)]
pub(super) struct PutBody {
    #[serde(default)]
    properties: Properties,
}

/// The body of PATCH.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct PatchBody(Properties);

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    destination: Option<DestinationBody>,
    delivery_with_resource_identity: Option<Value>,
    filter: Option<FilterBody>,
    labels: Option<Vec<String>>,
    #[serde(deserialize_with = "told")]
    expiration_time_utc: Option<Option<String>>,
    event_delivery_schema: Option<String>,
    retry_policy: Option<RetryPolicyBody>,
    #[serde(deserialize_with = "told")]
    dead_letter_destination: Option<Option<DeadLetterBody>>,
    dead_letter_with_resource_identity: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RetryPolicyBody {
    max_delivery_attempts: Option<u32>,
    event_time_to_live_in_minutes: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetterBody {
    endpoint_type: Option<String>,
    #[serde(default)]
    properties: StorageBlob,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StorageBlob {
    resource_id: Option<String>,
    blob_container_name: Option<String>,
}

/// Tells `null` (`Some(None)`) from a key that is not there (`None`).
pub(super) fn told<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl PutBody {
    /// What the grid is asked for; what is not said takes its default. `schema` is that of the source's events.
    pub(super) fn into_spec(self, schema: DeliverySchema) -> Result<SubscriptionSpec, Refusal> {
        let patch = PatchBody(self.properties).into_patch()?;
        let webhook = patch.webhook.map(WebHookPatch::whole);
        let webhook = webhook.filter(|hook| !hook.url.reveal().is_empty());
        let destination = patch.destination.or(webhook.map(Destination::WebHook));
        let destination = destination.ok_or_else(|| {
            let message = "The destination of an event subscription needs an endpoint URL.";
            Refusal::invalid_field("destination.properties.endpointUrl", message)
        })?;
        let mut filter = Filter::default();
        patch.filter.apply(&mut filter);
        let (policy, default) = (patch.retry_policy, RetryPolicy::default());
        let minutes = policy
            .time_to_live_minutes
            .unwrap_or(default.time_to_live_minutes);
        Ok(SubscriptionSpec {
            destination,
            filter,
            labels: patch.labels.unwrap_or_default(),
            expires: given(patch.expires),
            delivery_schema: patch.delivery_schema.unwrap_or(schema),
            retry_policy: RetryPolicy {
                max_attempts: policy.max_attempts.unwrap_or(default.max_attempts),
                time_to_live_minutes: minutes,
            },
            dead_letter: given(patch.dead_letter),
        })
    }
}

impl PatchBody {
    /// What the grid is asked to change.
    pub(super) fn into_patch(self) -> Result<SubscriptionPatch, Refusal> {
        let body = self.0;
        refuse_given(
            "deliveryWithResourceIdentity",
            body.delivery_with_resource_identity.as_ref(),
        )?;
        refuse_given(
            "deadLetterWithResourceIdentity",
            body.dead_letter_with_resource_identity.as_ref(),
        )?;
        let (destination, webhook) = match body.destination.map(DestinationBody::read) {
            None => (None, None),
            Some(Ok(Said::WebHook(patch))) => (None, Some(patch)),
            Some(Ok(Said::Other(whole))) => (Some(whole), None),
            Some(Err(refusal)) => return Err(refusal),
        };
        let policy = body.retry_policy.unwrap_or_default();
        Ok(SubscriptionPatch {
            destination,
            webhook,
            filter: body.filter.unwrap_or_default().read()?,
            labels: body.labels,
            expires: change(body.expiration_time_utc, |text| read_time(&text))?,
            delivery_schema: body
                .event_delivery_schema
                .as_deref()
                .map(read_schema)
                .transpose()?,
            retry_policy: RetryPolicyPatch {
                max_attempts: policy.max_delivery_attempts,
                time_to_live_minutes: policy.event_time_to_live_in_minutes,
            },
            dead_letter: change(body.dead_letter_destination, DeadLetterBody::read)?,
        })
    }
}

fn given<T>(change: Change<T>) -> Option<T> {
    match change {
        Change::Set(value) => Some(value),
        Change::Keep | Change::Clear => None,
    }
}

fn change<A, B>(
    told: Option<Option<A>>,
    read: impl FnOnce(A) -> Result<B, Refusal>,
) -> Result<Change<B>, Refusal> {
    Ok(match told {
        None => Change::Keep,
        Some(None) => Change::Clear,
        Some(Some(value)) => Change::Set(read(value)?),
    })
}

fn refuse_given(field: &str, value: Option<&Value>) -> Result<(), Refusal> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(Refusal::not_supported_field(field)),
    }
}

fn read_time(text: &str) -> Result<Timestamp, Refusal> {
    let message = "Invalid expiration time.";
    text.parse()
        .map_err(|_| Refusal::invalid_field("expirationTimeUtc", message))
}

fn read_schema(text: &str) -> Result<DeliverySchema, Refusal> {
    let found = SCHEMAS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, schema)| *schema).ok_or_else(|| {
        let message = format!("The event delivery schema '{text}' is unknown.");
        Refusal::invalid_field("eventDeliverySchema", message)
    })
}

impl DeadLetterBody {
    fn read(self) -> Result<DeadLetterDestination, Refusal> {
        if self
            .endpoint_type
            .is_some_and(|kind| !kind.eq_ignore_ascii_case("StorageBlob"))
        {
            let message = "The dead-letter destination must be of type 'StorageBlob'.";
            return Err(Refusal::invalid_field(
                "deadLetterDestination.endpointType",
                message,
            ));
        }
        Ok(DeadLetterDestination {
            resource_id: self.properties.resource_id.unwrap_or_default(),
            container: self.properties.blob_container_name.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::objects;
    use super::*;

    fn put(properties: &Value) -> Result<SubscriptionSpec, Refusal> {
        serde_json::from_value::<PutBody>(json!({"properties": properties}))
            .unwrap()
            .into_spec(DeliverySchema::EventGrid)
    }

    fn patch(body: Value) -> Result<SubscriptionPatch, Refusal> {
        serde_json::from_value::<PatchBody>(body)
            .unwrap()
            .into_patch()
    }

    fn hook() -> Value {
        json!({"endpointType": "webhook", "properties": {"endpointUrl": "https://h/x?code=1"}})
    }

    #[test]
    fn an_array_is_no_retry_policy() {
        let read = |policy| {
            let body = json!({"properties": {"retryPolicy": policy}});
            objects::from_value::<PutBody>(body).is_ok()
        };
        assert!(read(json!({"maxDeliveryAttempts": 5})));
        assert!(read(Value::Null));
        assert!(!read(json!([5, 10])));
        assert!(!read(json!({"maxDeliveryAttempts": "5"})));
    }

    #[test]
    fn management_5_1_what_az_sends_is_understood() {
        let spec = put(&json!({
            "destination": hook(),
            "filter": {
                "includedEventTypes": ["Microsoft.Communication.SMSReceived"],
                "subjectBeginsWith": "phonenumber/1555", "isSubjectCaseSensitive": false,
            },
            "labels": ["l1"], "expirationTimeUtc": "2030-01-01T00:00:00.000Z",
            "eventDeliverySchema": "cloudeventschemav1_0",
            "retryPolicy": {"maxDeliveryAttempts": 5, "eventTimeToLiveInMinutes": 60},
            "deadLetterDestination": {
                "endpointType": "StorageBlob",
                "properties": {"resourceId": "/sa", "blobContainerName": "dl"},
            },
            "somethingNew": {"a": 1},
        }))
        .unwrap();
        assert_eq!(spec.filter.subject_begins_with, "phonenumber/1555");
        assert_eq!(spec.filter.included_event_types.unwrap().len(), 1);
        assert_eq!(spec.delivery_schema, DeliverySchema::CloudEvents);
        assert_eq!(
            spec.retry_policy,
            RetryPolicy {
                max_attempts: 5,
                time_to_live_minutes: 60
            }
        );
        assert_eq!(spec.dead_letter.unwrap().container, "dl");
        assert_eq!(spec.expires.unwrap().to_string(), "2030-01-01T00:00:00Z");
    }

    #[test]
    fn a_body_that_says_little_takes_defaults() {
        let spec = put(&json!({"destination": hook(), "expirationTimeUtc": null})).unwrap();
        assert_eq!(spec.retry_policy, RetryPolicy::default());
        assert_eq!(spec.delivery_schema, DeliverySchema::EventGrid);
        assert_eq!(spec.filter, Filter::default());
        assert_eq!(spec.expires, None);
    }

    #[test]
    fn trap_1_a_patch_is_flat_and_tells_null_from_absent() {
        let change =
            patch(json!({"filter": {"includedEventTypes": null}, "labels": ["x"]})).unwrap();
        assert_eq!(change.filter.included_event_types, Change::Clear);
        assert_eq!(change.filter.subject_begins_with, None);
        assert_eq!(change.expires, Change::Keep);
        assert_eq!(change.labels, Some(vec!["x".to_owned()]));
        let nothing = patch(json!({"properties": {"labels": ["x"]}})).unwrap();
        assert_eq!(nothing.labels, None);
    }

    #[test]
    fn what_get_showed_can_be_sent_back() {
        let shown = json!({
            "endpointType": "WebHook",
            "properties": {"endpointBaseUrl": "https://h/x", "maxEventsPerBatch": 1},
        });
        let patched = patch(json!({"destination": shown})).unwrap();
        assert!(patched.destination.is_none());
        assert_eq!(patched.webhook.unwrap().url, None);
        assert!(put(&json!({"destination": shown})).is_err());
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let with = |more: Value| {
            let mut destination = hook();
            let properties = destination["properties"].as_object_mut().unwrap();
            properties.extend(more.as_object().unwrap().clone());
            json!({"destination": destination})
        };
        let table = [
            (
                with(json!({"deliveryAttributeMappings": [{"name": "X"}]})),
                "destination.properties.deliveryAttributeMappings",
            ),
            (
                json!({"destination": {"endpointType": "HybridConnection"}}),
                "destination.endpointType",
            ),
            (
                json!({"destination": {"endpointType": "Pigeon"}}),
                "destination.endpointType",
            ),
            (
                json!({"destination": hook(), "eventDeliverySchema": "x"}),
                "eventDeliverySchema",
            ),
            (
                json!({"destination": hook(), "expirationTimeUtc": "soon"}),
                "expirationTimeUtc",
            ),
            (
                json!({"deliveryWithResourceIdentity": {"identity": {}}}),
                "deliveryWithResourceIdentity",
            ),
            (json!({}), "destination.properties.endpointUrl"),
        ];
        for (properties, field) in table {
            let refusal = put(&properties).unwrap_err();
            assert_eq!(refusal.target(), Some(field), "{properties}");
        }
    }

    #[test]
    fn empty_lists_of_what_is_not_supported_do_no_harm() {
        let spec = put(&json!({
            "destination": {"endpointType": "WebHook", "properties": {
                "endpointUrl": "https://h", "maxEventsPerBatch": 1,
                "preferredBatchSizeInKilobytes": 64, "deliveryAttributeMappings": [],
                "azureActiveDirectoryTenantId": null,
            }},
            "filter": {"advancedFilters": [], "enableAdvancedFilteringOnArrays": true},
        }));
        assert!(spec.is_ok());
    }
}
