//! What topics and domains have in common on the wire: the schema of what comes in, access, keys.
//!
//! Promise: values are read in any case and shown in their canonical spelling. What would change who may reach a topic
//! and cannot be done is refused rather than ignored; read-only properties that a client sends back do not matter.
//! Not here: what may be written into each field (`grid::intake`, `grid::access`).
//! Source: reference management 5.1, event-grid 1.3 and 3.3.

use gridpost_grid::access::IpRule;
use gridpost_grid::domain_topics::AutomationPatch;
use gridpost_grid::intake::{Ingress, IngressPatch, IngressSpec, Shown};
use gridpost_model::mapping::{InputSchema, MappedField, Mapping};
use gridpost_model::{KeyPair, WhichKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Call;
use crate::problem::Refusal;

/// `identity`: none can be given, because nothing here issues tokens for one.
#[derive(Deserialize)]
pub(super) struct Identity {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Refuses an identity that is one.
pub(super) fn check_identity(identity: Option<&Identity>) -> Result<(), Refusal> {
    let kind = identity.and_then(|identity| identity.kind.as_deref());
    if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("None")) {
        return Err(Refusal::not_supported_field("identity"));
    }
    Ok(())
}

/// The properties of a topic or a domain.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct IngressBody {
    input_schema: Option<String>,
    input_schema_mapping: Option<MappingBody>,
    public_network_access: Option<String>,
    inbound_ip_rules: Option<Vec<IpRuleBody>>,
    disable_local_auth: Option<bool>,
    minimum_tls_version_allowed: Option<String>,
    data_residency_boundary: Option<String>,
    event_type_info: Option<Value>,
    auto_create_topic_with_first_subscription: Option<bool>,
    auto_delete_topic_with_last_subscription: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IpRuleBody {
    ip_mask: Option<String>,
    action: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MappingBody {
    input_schema_mapping_type: Option<String>,
    properties: MappingProperties,
}

/// Another name would be a field that the publisher believes to be mapped.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct MappingProperties {
    id: Option<FieldBody>,
    topic: Option<FieldBody>,
    event_time: Option<FieldBody>,
    event_type: Option<FieldBody>,
    subject: Option<FieldBody>,
    data_version: Option<FieldBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldBody {
    source_field: Option<String>,
    default_value: Option<String>,
}

impl IngressBody {
    /// When the topics of a domain come and go. A topic says nothing of it.
    pub(super) fn automation(&self) -> AutomationPatch {
        AutomationPatch {
            create_with_first_subscription: self.auto_create_topic_with_first_subscription,
            delete_with_last_subscription: self.auto_delete_topic_with_last_subscription,
        }
    }

    /// What a put says; what is absent takes its default.
    pub(super) fn into_spec(self) -> Result<IngressSpec, Refusal> {
        let (schema, mapping) = (self.input_schema.as_deref(), &self.input_schema_mapping);
        let input = read_input(schema, mapping.as_ref())?;
        let patch = self.into_patch()?;
        let mut spec = IngressSpec {
            input,
            disable_local_auth: patch.disable_local_auth.unwrap_or(false),
            shown: patch.shown,
            ..IngressSpec::default()
        };
        spec.access.public_network = patch.public_network.unwrap_or(true);
        spec.access.inbound_ip_rules = patch.inbound_ip_rules.unwrap_or_default();
        Ok(spec)
    }

    /// What a patch says. The schema is not among what can be patched.
    pub(super) fn into_patch(self) -> Result<IngressPatch, Refusal> {
        let one_of = |text: Option<&str>, field: &'static str, known: &[&'static str]| {
            text.map(|text| canonical(text, field, known)).transpose()
        };
        let public = one_of(
            self.public_network_access.as_deref(),
            "properties.publicNetworkAccess",
            &["Enabled", "Disabled"],
        )?;
        let version = one_of(
            self.minimum_tls_version_allowed.as_deref(),
            "properties.minimumTlsVersionAllowed",
            &["1.0", "1.1", "1.2"],
        )?;
        let residency = one_of(
            self.data_residency_boundary.as_deref(),
            "properties.dataResidencyBoundary",
            &["WithinGeopair", "WithinRegion"],
        )?;
        let mut shown = Shown::new();
        let mut show = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                shown.insert(name.to_owned(), value);
            }
        };
        show(TLS_VERSION, version.map(Value::from));
        show(RESIDENCY, residency.map(Value::from));
        show(EVENT_TYPES, self.event_type_info);
        let rules = self.inbound_ip_rules.map(|rules| {
            let rules = rules.into_iter().map(IpRuleBody::read);
            rules.collect::<Result<Vec<_>, _>>()
        });
        Ok(IngressPatch {
            disable_local_auth: self.disable_local_auth,
            public_network: public.map(|access| access == "Enabled"),
            inbound_ip_rules: rules.transpose()?,
            shown,
        })
    }
}

const TLS_VERSION: &str = "minimumTlsVersionAllowed";
const RESIDENCY: &str = "dataResidencyBoundary";
const EVENT_TYPES: &str = "eventTypeInfo";

fn canonical(
    text: &str,
    field: &'static str,
    known: &[&'static str],
) -> Result<&'static str, Refusal> {
    let found = known.iter().find(|one| one.eq_ignore_ascii_case(text));
    found.copied().ok_or_else(|| {
        let message = format!(
            "The value '{text}' is unknown; use '{}'.",
            known.join("', '")
        );
        Refusal::invalid_field(field, message)
    })
}

impl IpRuleBody {
    fn read(self) -> Result<IpRule, Refusal> {
        let field = "properties.inboundIpRules";
        if let Some(action) = self.action {
            canonical(&action, field, &["Allow"])?;
        }
        let mask = self.ip_mask.unwrap_or_default();
        mask.parse()
            .map_err(|bad: gridpost_grid::access::BadIpMask| {
                Refusal::invalid_field(field, bad.to_string())
            })
    }
}

const SCHEMA: &str = "properties.inputSchema";
const MAPPING: &str = "properties.inputSchemaMapping";

fn read_input(
    schema: Option<&str>,
    mapping: Option<&MappingBody>,
) -> Result<Option<InputSchema>, Refusal> {
    let known = [
        "EventGridSchema",
        "CloudEventSchemaV1_0",
        "CustomEventSchema",
    ];
    let schema = schema.map(|text| canonical(text, SCHEMA, &known));
    let input = match schema.transpose()? {
        Some("CustomEventSchema") => {
            return Ok(Some(InputSchema::Custom(
                mapping.map(MappingBody::read).transpose()?,
            )));
        }
        Some("CloudEventSchemaV1_0") => Some(InputSchema::CloudEvents),
        Some(_) => Some(InputSchema::EventGrid),
        None => None,
    };
    if mapping.is_some() {
        let message = "A mapping needs the input schema 'CustomEventSchema'.";
        return Err(Refusal::invalid_field(MAPPING, message));
    }
    Ok(input)
}

impl MappingBody {
    fn read(&self) -> Result<Mapping, Refusal> {
        if let Some(kind) = &self.input_schema_mapping_type {
            canonical(
                kind,
                "properties.inputSchemaMapping.inputSchemaMappingType",
                &["Json"],
            )?;
        }
        let fields = &self.properties;
        Ok(Mapping {
            id: source_only("id", fields.id.as_ref())?,
            topic: source_only("topic", fields.topic.as_ref())?,
            event_time: source_only("eventTime", fields.event_time.as_ref())?,
            event_type: FieldBody::read(fields.event_type.as_ref()),
            subject: FieldBody::read(fields.subject.as_ref()),
            data_version: FieldBody::read(fields.data_version.as_ref()),
        })
    }
}

/// Only some fields can have a default.
fn source_only(name: &str, field: Option<&FieldBody>) -> Result<Option<String>, Refusal> {
    let Some(field) = field else {
        return Ok(None);
    };
    if field.default_value.is_some() {
        let message = format!("The field '{name}' of a mapping cannot have a default value.");
        return Err(Refusal::invalid_field(MAPPING, message));
    }
    Ok(field.source_field.clone())
}

impl FieldBody {
    fn read(field: Option<&Self>) -> MappedField {
        field.map_or_else(MappedField::default, |field| MappedField {
            source_field: field.source_field.clone(),
            default_value: field.default_value.clone(),
        })
    }
}

/// The properties, as they are shown. `place` is the first word of the endpoint's path.
pub(super) fn shown(call: &Call, ingress: &Ingress, place: &str, name: &str) -> Value {
    let access = match ingress.access.public_network {
        true => "Enabled",
        false => "Disabled",
    };
    let rules = ingress.access.inbound_ip_rules.iter();
    let rules: Vec<Value> = rules
        .map(|rule| json!({"ipMask": rule.mask(), "action": "Allow"}))
        .collect();
    let mut properties = json!({
        "provisioningState": "Succeeded",
        // Host names per topic do not resolve everywhere; a path always does.
        "endpoint": format!("{}/{place}/{name}/api/events", call.base),
        "inputSchema": schema_name(&ingress.input),
        "publicNetworkAccess": access, "inboundIpRules": rules,
        "disableLocalAuth": ingress.disable_local_auth,
        "minimumTlsVersionAllowed": "1.2", "dataResidencyBoundary": "WithinGeopair",
    });
    for (name, value) in &ingress.shown {
        properties[name.as_str()] = value.clone();
    }
    if let InputSchema::Custom(Some(mapping)) = &ingress.input {
        properties["inputSchemaMapping"] = shown_mapping(mapping);
    }
    properties
}

fn schema_name(schema: &InputSchema) -> &'static str {
    match schema {
        InputSchema::EventGrid => "EventGridSchema",
        InputSchema::CloudEvents => "CloudEventSchemaV1_0",
        InputSchema::Custom(_) => "CustomEventSchema",
    }
}

fn shown_mapping(mapping: &Mapping) -> Value {
    let name = |name: &Option<String>| json!({"sourceField": name});
    let field = |field: &MappedField| json!({"sourceField": field.source_field, "defaultValue": field.default_value});
    json!({
        "inputSchemaMappingType": "Json",
        "properties": {
            "id": name(&mapping.id), "topic": name(&mapping.topic),
            "eventTime": name(&mapping.event_time), "eventType": field(&mapping.event_type),
            "subject": field(&mapping.subject), "dataVersion": field(&mapping.data_version),
        },
    })
}

/// Adds what clients expect beside the properties of a topic or a domain.
pub(super) fn complete(mut shown: Value) -> Value {
    shown["sku"] = json!({"name": "Basic"});
    shown["kind"] = "Azure".into();
    shown["identity"] = json!({"type": "None"});
    shown
}

/// `listKeys`.
pub(super) fn keys(pair: &KeyPair) -> Value {
    json!({"key1": pair.first.reveal(), "key2": pair.second.reveal()})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegenerateBody {
    key_name: Option<String>,
}

/// Which key the body of `regenerateKey` means.
pub(super) fn which_key(call: &Call) -> Result<WhichKey, Refusal> {
    let body: RegenerateBody = call.body()?;
    match body.key_name.as_deref() {
        Some(text) if text.eq_ignore_ascii_case("key1") => Ok(WhichKey::First),
        Some(text) if text.eq_ignore_ascii_case("key2") => Ok(WhichKey::Second),
        _ => {
            let message = "The property 'keyName' must be 'key1' or 'key2'.";
            Err(Refusal::invalid_field("keyName", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(properties: Value) -> Result<IngressSpec, Refusal> {
        serde_json::from_value::<IngressBody>(properties)
            .unwrap()
            .into_spec()
    }

    fn refused(properties: Value) -> String {
        let refusal = spec(properties).unwrap_err();
        refusal.target().unwrap_or_default().to_owned()
    }

    #[test]
    fn management_5_1_values_are_read_in_any_case() {
        let spec = spec(json!({
            "inputSchema": "cloudeventschemav1_0", "publicNetworkAccess": "disabled",
            "inboundIpRules": [{"ipMask": "10.0.0.0/8", "action": "allow"}],
            "dataResidencyBoundary": "withinregion",
        }))
        .unwrap();
        assert_eq!(spec.input, Some(InputSchema::CloudEvents));
        assert!(!spec.access.public_network);
        assert_eq!(spec.access.inbound_ip_rules[0].mask(), "10.0.0.0/8");
        assert_eq!(spec.shown["dataResidencyBoundary"], "WithinRegion");
    }

    #[test]
    fn event_grid_1_3_a_mapping_is_shown_as_it_was_read() {
        let mapping = json!({
            "inputSchemaMappingType": "Json",
            "properties": {
                "id": {"sourceField": "number"}, "topic": {"sourceField": null},
                "eventTime": {"sourceField": "at.utc"},
                "eventType": {"sourceField": "kind", "defaultValue": "Shop.Unknown"},
                "subject": {"sourceField": null, "defaultValue": "none"},
                "dataVersion": {"sourceField": null, "defaultValue": null},
            },
        });
        let spec = spec(json!({
            "inputSchema": "CustomEventSchema", "inputSchemaMapping": mapping.clone(),
        }));
        let Some(InputSchema::Custom(Some(read))) = spec.unwrap().input else {
            panic!("no mapping was read");
        };
        assert_eq!(shown_mapping(&read), mapping);
    }

    #[test]
    fn a_field_that_cannot_be_mapped_is_refused() {
        let of = |name: &str| json!({"inputSchemaMapping": {"properties": {name: {"sourceField": "x"}}}});
        assert!(serde_json::from_value::<IngressBody>(of("eventType")).is_ok());
        let error = serde_json::from_value::<IngressBody>(of("foo"));
        assert!(error.err().unwrap().to_string().contains("`foo`"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            (json!({"inputSchema": "Avro"}), SCHEMA),
            (json!({"inputSchemaMapping": {"properties": {}}}), MAPPING),
            (
                json!({"inputSchema": "CustomEventSchema", "inputSchemaMapping": {
                    "properties": {"id": {"sourceField": "id", "defaultValue": "1"}}}}),
                MAPPING,
            ),
            (
                json!({"publicNetworkAccess": "SecuredByPerimeter"}),
                "properties.publicNetworkAccess",
            ),
            (
                json!({"inboundIpRules": [{"ipMask": "10.0.0.0/99"}]}),
                "properties.inboundIpRules",
            ),
            (
                json!({"inboundIpRules": [{"ipMask": "10.0.0.0/8", "action": "Deny"}]}),
                "properties.inboundIpRules",
            ),
            (
                json!({"minimumTlsVersionAllowed": "0.9"}),
                "properties.minimumTlsVersionAllowed",
            ),
        ];
        for (properties, field) in table {
            assert_eq!(refused(properties.clone()), field, "{properties}");
        }
    }
}
