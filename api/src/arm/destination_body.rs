//! Destinations as clients write and read them: webhooks, and the delivery attributes of every kind.
//!
//! Promise: what GET shows can be sent back with PATCH and changes nothing; a secret goes out by the calls that are
//! made for it only (`getFullUrl`, `getDeliveryAttributes`), and our own signing secret by none.
//! Not here: what other kinds have beside attributes (`handler_body`), what is allowed (`grid::validation`).
//! Source: reference event-grid 3.3, management 5.1.

use gridpost_grid::manage::Change;
use gridpost_grid::subscriptions::WebHookPatch;
use gridpost_model::subscription::{AttributeValue, DeliveryAttribute, WebHook};
use gridpost_model::{Destination, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

use super::handler_body;
use super::subscription_body::told;
use crate::problem::Refusal;

const ATTRIBUTES: &str = "destination.properties.deliveryAttributeMappings";

/// `destination`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DestinationBody {
    endpoint_type: Option<String>,
    #[serde(default)]
    properties: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WebHookBody {
    endpoint_url: Option<String>,
    max_events_per_batch: Option<i64>,
    preferred_batch_size_in_kilobytes: Option<i64>,
    #[serde(deserialize_with = "told")]
    azure_active_directory_tenant_id: Option<Option<String>>,
    #[serde(deserialize_with = "told")]
    azure_active_directory_application_id_or_uri: Option<Option<String>>,
    #[serde(deserialize_with = "told")]
    delivery_attribute_mappings: Option<Option<Vec<MappingBody>>>,
    #[serde(deserialize_with = "told")]
    gridpost_signing_secret: Option<Option<String>>,
}

/// One entry of `deliveryAttributeMappings`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MappingBody {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    properties: MappingProperties,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MappingProperties {
    value: Option<String>,
    is_secret: Option<bool>,
    source_field: Option<String>,
}

/// What a body says of the destination.
pub(super) enum Said {
    /// Some or all of a webhook.
    WebHook(WebHookPatch),
    /// All of another kind.
    Other(Destination),
}

impl DestinationBody {
    pub(super) fn read(self) -> Result<Said, Refusal> {
        let kind = self.endpoint_type.unwrap_or_default();
        if !kind.eq_ignore_ascii_case("WebHook") {
            return handler_body::read(&kind, self.properties).map(Said::Other);
        }
        let hook: WebHookBody = handler_body::parsed(self.properties)?;
        let attributes = match hook.delivery_attribute_mappings {
            None => Change::Keep,
            Some(None) => Change::Clear,
            Some(Some(all)) => Change::Set(read_attributes(all)?),
        };
        let url = hook.endpoint_url.filter(|url| !url.is_empty());
        Ok(Said::WebHook(WebHookPatch {
            url: url.map(Secret::new),
            max_events: hook.max_events_per_batch.map(count),
            preferred_kilobytes: hook.preferred_batch_size_in_kilobytes.map(count),
            attributes,
            tenant: filled(hook.azure_active_directory_tenant_id, |text| text),
            application: filled(hook.azure_active_directory_application_id_or_uri, |text| {
                text
            }),
            signing: filled(hook.gridpost_signing_secret, Secret::new),
        }))
    }
}

/// A number as the grid takes it; one that is out of any range stays out of range.
pub(super) fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// An empty text says that there is none, as `null` does.
fn filled<T>(told: Option<Option<String>>, make: impl FnOnce(String) -> T) -> Change<T> {
    match told {
        None => Change::Keep,
        Some(Some(text)) if !text.is_empty() => Change::Set(make(text)),
        Some(_) => Change::Clear,
    }
}

/// Reads delivery attributes, of a destination of any kind.
pub(super) fn read_attributes(all: Vec<MappingBody>) -> Result<Vec<DeliveryAttribute>, Refusal> {
    all.into_iter().map(MappingBody::read).collect()
}

impl MappingBody {
    fn read(self) -> Result<DeliveryAttribute, Refusal> {
        let kind = self.kind.unwrap_or_default();
        let properties = self.properties;
        let value = if kind.eq_ignore_ascii_case("Static") {
            AttributeValue::Static {
                value: Secret::new(properties.value.unwrap_or_default()),
                is_secret: properties.is_secret.unwrap_or(false),
            }
        } else if kind.eq_ignore_ascii_case("Dynamic") {
            AttributeValue::Dynamic {
                source_field: properties.source_field.unwrap_or_default(),
            }
        } else {
            let message = format!(
                "The type '{kind}' of a delivery attribute is unknown; use 'Static' or 'Dynamic'."
            );
            return Err(Refusal::invalid_field(ATTRIBUTES, message));
        };
        Ok(DeliveryAttribute {
            name: self.name.unwrap_or_default(),
            value,
        })
    }
}

/// Whether secret values of delivery attributes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrets {
    /// They are `null`.
    Hidden,
    /// They are shown.
    Shown,
}

/// Delivery attributes, as they were written.
pub(super) fn shown_attributes(all: &[DeliveryAttribute], secrets: Secrets) -> Value {
    let shown = |one: &DeliveryAttribute| match &one.value {
        AttributeValue::Static { value, is_secret } => {
            let hidden = *is_secret && secrets == Secrets::Hidden;
            let value = (!hidden).then(|| value.reveal());
            json!({
                "name": one.name, "type": "Static",
                "properties": {"value": value, "isSecret": is_secret},
            })
        }
        AttributeValue::Dynamic { source_field } => json!({
            "name": one.name, "type": "Dynamic", "properties": {"sourceField": source_field},
        }),
    };
    all.iter().map(shown).collect()
}

/// What GET shows of a destination.
pub(super) fn shown(destination: &Destination) -> Value {
    match destination.webhook() {
        Some(hook) => shown_webhook(hook),
        None => handler_body::shown(destination),
    }
}

/// The query of a webhook's URL is a secret; what stands before it is shown.
fn shown_webhook(hook: &WebHook) -> Value {
    let mut properties = json!({
        "endpointBaseUrl": hook.base_url(),
        "maxEventsPerBatch": hook.batch.max_events,
        "preferredBatchSizeInKilobytes": hook.batch.preferred_kilobytes,
    });
    if let Some(entra) = &hook.entra {
        properties["azureActiveDirectoryTenantId"] = json!(entra.tenant);
        properties["azureActiveDirectoryApplicationIdOrUri"] = json!(entra.application);
    }
    if !hook.attributes.is_empty() {
        let attributes = shown_attributes(&hook.attributes, Secrets::Hidden);
        properties["deliveryAttributeMappings"] = attributes;
    }
    json!({"endpointType": "WebHook", "properties": properties})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: &Value) -> Result<WebHookPatch, Refusal> {
        let body = json!({"endpointType": "WebHook", "properties": properties});
        match serde_json::from_value::<DestinationBody>(body)
            .unwrap()
            .read()?
        {
            Said::WebHook(patch) => Ok(patch),
            Said::Other(other) => panic!("{other:?}"),
        }
    }

    fn written() -> Value {
        json!({
            "endpointUrl": "https://h/x?code=1", "maxEventsPerBatch": 10,
            "preferredBatchSizeInKilobytes": 128,
            "azureActiveDirectoryTenantId": "t", "azureActiveDirectoryApplicationIdOrUri": "api://a",
            "deliveryAttributeMappings": [
                {"name": "X-A", "type": "Static", "properties": {"value": "v1", "isSecret": true}},
                {"name": "X-B", "type": "Dynamic", "properties": {"sourceField": "data.x"}},
                {"name": "X-C", "type": "static", "properties": {"value": "v3"}},
            ],
            "gridpostSigningSecret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        })
    }

    #[test]
    fn section_3_3_a_webhook_is_shown_as_it_was_written_without_its_secrets() {
        let hook = read(&written()).unwrap().whole();
        assert_eq!(hook.url.reveal(), "https://h/x?code=1");
        assert_eq!(
            hook.signing.as_ref().unwrap().reveal(),
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        );
        let mut expected = written();
        let properties = expected.as_object_mut().unwrap();
        properties.remove("endpointUrl");
        properties.remove("gridpostSigningSecret");
        properties.insert("endpointBaseUrl".into(), json!("https://h/x"));
        expected["deliveryAttributeMappings"][0]["properties"]["value"] = Value::Null;
        expected["deliveryAttributeMappings"][2]["type"] = json!("Static");
        expected["deliveryAttributeMappings"][2]["properties"]["isSecret"] = json!(false);
        let destination = Destination::WebHook(hook.clone());
        assert_eq!(shown(&destination)["properties"], expected);
        let told = shown_attributes(destination.attributes(), Secrets::Shown);
        assert_eq!(told[0]["properties"]["value"], "v1");
        assert_eq!(told.as_array().unwrap().len(), 3);
    }

    #[test]
    fn what_is_absent_stays_and_null_or_nothing_removes() {
        let nothing = read(&json!({"endpointBaseUrl": "https://h/x"})).unwrap();
        assert_eq!(nothing, WebHookPatch::default());
        let removed = read(&json!({
            "azureActiveDirectoryTenantId": "", "azureActiveDirectoryApplicationIdOrUri": null,
            "deliveryAttributeMappings": null, "gridpostSigningSecret": null,
        }))
        .unwrap();
        assert_eq!(
            removed,
            WebHookPatch {
                tenant: Change::Clear,
                application: Change::Clear,
                attributes: Change::Clear,
                signing: Change::Clear,
                ..WebHookPatch::default()
            }
        );
    }

    #[test]
    fn numbers_beyond_any_range_stay_so() {
        let patch = read(&json!({
            "maxEventsPerBatch": -1, "preferredBatchSizeInKilobytes": 1_u64 << 40,
        }))
        .unwrap();
        assert_eq!(patch.max_events, Some(0));
        assert_eq!(patch.preferred_kilobytes, Some(u32::MAX));
    }

    #[test]
    fn an_attribute_of_no_known_type_is_refused() {
        for mapping in [json!({"name": "X"}), json!({"name": "X", "type": "Magic"})] {
            let refusal = read(&json!({"deliveryAttributeMappings": [mapping]})).unwrap_err();
            assert_eq!(refusal.target(), Some(ATTRIBUTES));
        }
        assert!(read(&json!({"deliveryAttributeMappings": [1]})).is_err());
    }
}
