//! The operations that roles speak of, as each provider lists them.
//!
//! Source: reference management 5.1.

use serde_json::{Value, json};

use super::{Answer, Call, ok, providers};

/// `/providers/{namespace}/operations`.
pub(super) fn list(call: &Call) -> Answer {
    let namespace = call.address.namespace.as_deref().unwrap_or_default();
    let Some((namespace, types)) = providers::types_of(namespace) else {
        return Err(call.unknown_type());
    };
    let all = types.iter().flat_map(|kind| {
        let verbs: &[&str] = match *kind {
            "topicTypes" | "extensionTopics" => &["read"],
            _ => &["read", "write", "delete"],
        };
        verbs.iter().map(|verb| shown(namespace, kind, verb))
    });
    let with_keys: &[&str] = &["topics", "domains", "communicationServices"];
    let keys = types
        .iter()
        .filter(|kind| with_keys.contains(kind))
        .flat_map(|kind| {
            ["listKeys/action", "regenerateKey/action"].map(|verb| shown(namespace, kind, verb))
        });
    ok(json!({"value": all.chain(keys).collect::<Vec<_>>()}))
}

fn shown(namespace: &str, kind: &str, verb: &str) -> Value {
    let name = format!("{namespace}/{kind}/{verb}");
    json!({
        "name": name, "origin": "UserAndSystem", "isDataAction": false,
        "display": {
            "provider": namespace, "resource": kind, "operation": verb,
            "description": format!("Allows {verb} of {kind}"),
        },
    })
}
