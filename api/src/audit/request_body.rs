//! What of a request may stand in the audit log.
//!
//! Promise: a value is kept only where a list allows it, and of an address only the host; everything else is dots. So a
//! field that nobody thought of, or that somebody put in a wrong place, costs a little insight and never a secret.

use serde_json::{Map, Value};

/// How much of a request is kept in a row; more is left out as a whole.
const REQUEST_LIMIT: usize = 2 * 1024;

/// How long a kept value is at most: as long as the id of a resource.
const VALUE_LIMIT: usize = 512;

/// How long the name of a field or tag is at most.
const NAME_LIMIT: usize = 128;

/// What stands for everything that is not kept.
const DOTS: &str = "•••";

/// The fields whose values are kept, by their way through the body; a list is where its elements are. Never texts of
/// people, filter values, phone numbers, and nothing that opens anything.
const KEPT: &[&str] = &[
    // Every resource.
    "location",
    "kind",
    "sku.name",
    "identity.type",
    // Communication and email resources.
    "properties.dataLocation",
    "properties.linkedDomains",
    "properties.disableLocalAuth",
    "properties.publicNetworkAccess",
    "properties.domainManagement",
    "properties.userEngagementTracking",
    "verificationType",
    "keyType",
    "keyName",
    // Topics, domains and system topics.
    "properties.source",
    "properties.topicType",
    "properties.inputSchema",
    "properties.inputSchemaMapping.inputSchemaMappingType",
    "properties.minimumTlsVersionAllowed",
    "properties.dataResidencyBoundary",
    "properties.inboundIpRules.action",
    "properties.inboundIpRules.ipMask",
    "properties.autoCreateTopicWithFirstSubscription",
    "properties.autoDeleteTopicWithLastSubscription",
    // Event subscriptions.
    "properties.eventDeliverySchema",
    "properties.expirationTimeUtc",
    "properties.retryPolicy.maxDeliveryAttempts",
    "properties.retryPolicy.eventTimeToLiveInMinutes",
    "properties.filter.includedEventTypes",
    "properties.filter.isSubjectCaseSensitive",
    "properties.filter.enableAdvancedFilteringOnArrays",
    "properties.filter.advancedFilters.operatorType",
    "properties.filter.advancedFilters.key",
    "properties.destination.endpointType",
    "properties.destination.properties.resourceId",
    "properties.destination.properties.queueName",
    "properties.destination.properties.queueMessageTimeToLiveInSeconds",
    "properties.destination.properties.maxEventsPerBatch",
    "properties.destination.properties.preferredBatchSizeInKilobytes",
    "properties.destination.properties.minimumTlsVersionAllowed",
    "properties.destination.properties.azureActiveDirectoryTenantId",
    "properties.destination.properties.azureActiveDirectoryApplicationIdOrUri",
    "properties.destination.properties.deliveryAttributeMappings.name",
    "properties.destination.properties.deliveryAttributeMappings.type",
    "properties.destination.properties.deliveryAttributeMappings.properties.isSecret",
    "properties.destination.properties.deliveryAttributeMappings.properties.sourceField",
    "properties.deadLetterDestination.endpointType",
    "properties.deadLetterDestination.properties.resourceId",
    "properties.deadLetterDestination.properties.blobContainerName",
    // Role assignments.
    "properties.roleDefinitionId",
    "properties.principalId",
    "properties.principalType",
    // Our own REST.
    "displayName",
    "expiresIn",
    "by",
    "patience",
    "within",
    "fault",
    "status",
    "delay",
    "host",
    "times",
    "probability",
    "subscription",
    "source",
    "resource",
    "eventType",
    "reason",
    "limit",
    "rate",
    "dryRun",
];

/// The fields that are addresses: their hosts are kept, for people put secrets into paths and queries.
const ADDRESSES: &[&str] = &["properties.destination.properties.endpointUrl", "issuer"];

/// What was sent, as it may be kept.
pub(super) fn shown(body: &[u8]) -> Option<Value> {
    if body.is_empty() {
        return None;
    }
    let Ok(sent) = serde_json::from_slice(body) else {
        return Some("not JSON".into());
    };
    let kept = kept("", sent);
    match serde_json::to_string(&kept) {
        Ok(text) if text.len() <= REQUEST_LIMIT => Some(kept),
        _ => Some("too long to be kept".into()),
    }
}

fn kept(way: &str, value: Value) -> Value {
    let is_in = |ways: &[&str]| ways.iter().any(|one| one.eq_ignore_ascii_case(way));
    match value {
        Value::Null => Value::Null,
        Value::Object(fields) => Value::Object(kept_fields(way, fields)),
        Value::Array(items) => items.into_iter().map(|item| kept(way, item)).collect(),
        Value::String(text) if is_in(ADDRESSES) => host_of(&text).into(),
        // An address that stands where none belongs.
        Value::String(text) if text.contains("://") || text.len() > VALUE_LIMIT => DOTS.into(),
        value if is_in(KEPT) => value,
        _ => DOTS.into(),
    }
}

/// Fields whose names are words, and tags; how many others there are.
fn kept_fields(way: &str, fields: Map<String, Value>) -> Map<String, Value> {
    let are_tags = way.eq_ignore_ascii_case("tags");
    let mut shown = Map::new();
    let mut others = 0;
    for (name, value) in fields {
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphabetic());
        if name.len() > NAME_LIMIT || !(is_word || are_tags) {
            others += 1;
            continue;
        }
        let below = match way {
            "" => name.clone(),
            _ => format!("{way}.{name}"),
        };
        shown.insert(name, kept(&below, value));
    }
    if others > 0 {
        shown.insert(DOTS.to_owned(), others.into());
    }
    shown
}

/// `https://host:port/•••` of an address; dots of what is none.
fn host_of(text: &str) -> String {
    let Ok(address) = url::Url::parse(text) else {
        return DOTS.to_owned();
    };
    let Some(host) = address.host_str().filter(|_| address.has_authority()) else {
        return DOTS.to_owned();
    };
    let port = address.port().map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    let is_all = matches!(address.path(), "" | "/") && address.query().is_none();
    let rest = if is_all { "" } else { "/•••" };
    format!("{}://{host}{port}{rest}", address.scheme())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: &Value) -> Value {
        shown(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_a_list_allows_is_kept_and_nothing_else() {
        let body = json!({
            "location": "local",
            "tags": {"cost centre": "s3cret"},
            "properties": {
                "destination": {"endpointType": "WebHook", "properties": {
                    "endpointUrl": "https://user:s3cret@hook.example:8443/services/s3cret?code=s3cret",
                    "gridpostSigningSecret": "s3cret",
                    "deliveryAttributeMappings": [
                        {"name": "X-A", "type": "Static", "properties": {"value": "s3cret", "isSecret": true}},
                        {"name": "X-B", "type": "Dynamic", "properties": {"sourceField": "data.x"}},
                    ],
                }},
                "filter": {
                    "subjectBeginsWith": "/phonenumber/s3cret",
                    "advancedFilters": [{"operatorType": "StringIn", "key": "data.from", "values": ["s3cret"]}],
                },
                "labels": ["s3cret"],
            },
        });
        let kept = of(&body);
        assert!(!kept.to_string().contains("s3cret"), "{kept}");
        assert_eq!(kept["location"], "local");
        assert_eq!(kept["tags"]["cost centre"], DOTS);
        let properties = &kept["properties"]["destination"]["properties"];
        assert_eq!(properties["endpointUrl"], "https://hook.example:8443/•••");
        let attributes = &properties["deliveryAttributeMappings"];
        assert_eq!(attributes[0]["name"], "X-A");
        assert_eq!(attributes[1]["properties"]["sourceField"], "data.x");
        let filter = &kept["properties"]["filter"]["advancedFilters"][0];
        assert_eq!(filter["key"], "data.from");
        assert_eq!(filter["values"], json!([DOTS]));
    }

    #[test]
    fn what_is_in_a_wrong_place_or_misspelt_is_dots() {
        for body in [
            json!({"certificate": "-----BEGIN PRIVATE KEY-----\ns3cret"}),
            json!({"keys": {"keys": [{"kty": "RSA", "d": "s3cret"}]}}),
            json!({"rules": [{"contains": "s3cret", "reply": "s3cret"}]}),
            json!({"key": "s3cret", "name": "s3cret", "from": "+s3cret", "to": "+s3cret"}),
            json!({"s3cret": 1, "+14255550123": {"location": "x"}}),
            json!({"location": "sb://ns.example;SharedAccessKey=s3cret"}),
            json!({"properties": {"destination": {"endpointUrl": "hook.example/?code=s3cret"}}}),
            json!({"properties": {"destination": {"properties": {"endpointUrl": "hook.example:80/?code=s3cret"}}}}),
            json!({"properties": {"destination": {"properties": {"deliveryAttributeMappings":
                [{"name": "X", "type": "Statics", "properties": {"value": "s3cret"}}]}}}}),
            json!("s3cret"),
            json!(["https://s3cret@hook.example"]),
        ] {
            let kept = of(&body).to_string();
            assert!(!kept.contains("s3cret") && !kept.contains("1425"), "{kept}");
        }
        assert_eq!(of(&json!({"a1": 1, "b2": 2})), json!({DOTS: 2}));
    }

    #[test]
    fn an_address_without_more_stays_as_it_is() {
        assert_eq!(host_of("https://hook.example"), "https://hook.example");
        assert_eq!(
            host_of("https://hook.example/a"),
            "https://hook.example/•••"
        );
        assert_eq!(host_of("mailto:me"), DOTS);
    }

    #[test]
    fn what_is_long_or_no_json_is_left_out() {
        assert_eq!(shown(b""), None);
        assert_eq!(shown(b"secret"), Some("not JSON".into()));
        let long: Vec<_> = (0..1_000).collect();
        assert_eq!(of(&json!(long)), "too long to be kept");
        assert_eq!(of(&json!({"location": "x".repeat(600)}))["location"], DOTS);
    }
}
