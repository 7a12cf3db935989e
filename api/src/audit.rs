//! What is written into the audit log.
//!
//! Promise: every change through Resource Manager or our own REST leaves a row, and so does every look at keys and every
//! call that a role refused; the row is kept before the answer is given. No secret is in it: of what was sent, values
//! that may be secret are shown as dots, and of addresses only the host. That a row could not be kept does not undo what
//! was done; it is logged.
//! Not here: how rows are kept and found (`grid::audit`). Sending events, texts and messages is no change, and leaves none.

use gridpost_grid::audit::Entry;
use http::{HeaderMap, StatusCode, request};
use serde_json::{Map, Value};

use crate::Parts;
use crate::auth::{Principal, machine};
use crate::origin::Caller;

/// Who it was when nobody had to say: a program of this machine, in the development profile.
const LOCAL: &str = "local caller";

/// How long a text of a client may be in a row.
const TEXT_LIMIT: usize = 128;

/// How much of a request is kept in a row; more is left out as a whole.
const REQUEST_LIMIT: usize = 4 * 1024;

/// What stands for a secret.
const DOTS: &str = "•••";

/// What is known of a call before it is answered.
pub(crate) struct Note {
    principal: String,
    object_id: Option<String>,
    address: Option<String>,
    action: String,
    scope: String,
    correlation_id: String,
    command: Option<String>,
    request: Option<Value>,
}

impl Note {
    /// A note of a call. `principal` is `None` where nobody had to say who they are.
    pub(crate) fn of(
        parts: &Parts,
        head: &request::Parts,
        principal: Option<&Principal>,
        action: String,
        scope: String,
        body: &[u8],
    ) -> Self {
        let (who, object_id) = match principal {
            None => (LOCAL.to_owned(), None),
            Some(principal) if machine::is(principal) => (machine::NAME.to_owned(), None),
            Some(principal) => (
                principal.client_id.clone(),
                Some(principal.object_id.clone()),
            ),
        };
        let caller = head.extensions.get::<Caller>();
        let correlation_id = text(&head.headers, "x-ms-correlation-request-id")
            .or_else(|| text(&head.headers, "x-ms-client-request-id"));
        Self {
            principal: who,
            object_id,
            address: caller.map(|caller| caller.address.to_canonical().to_string()),
            action,
            scope,
            correlation_id: correlation_id.unwrap_or_else(|| parts.chance.uuid()),
            command: text(&head.headers, "commandname"),
            request: shown(body),
        }
    }

    /// Writes the row.
    pub(crate) async fn write(self, parts: &Parts, status: StatusCode, code: Option<&str>) {
        let entry = Entry {
            at: parts.clock.now(),
            principal: self.principal,
            object_id: self.object_id,
            address: self.address,
            action: self.action,
            scope: self.scope,
            status: status.as_u16(),
            code: code.map(str::to_owned),
            correlation_id: self.correlation_id,
            command: self.command,
            request: self.request,
        };
        if let Err(error) = parts.grid.write_audit(entry).await {
            tracing::warn!("a row of the audit log was not stored: {error}");
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.chars().take(TEXT_LIMIT).collect())
}

/// What was sent, as it may be kept.
fn shown(body: &[u8]) -> Option<Value> {
    if body.is_empty() {
        return None;
    }
    let Ok(mut value) = serde_json::from_slice(body) else {
        return Some("not JSON".into());
    };
    mask(&mut value);
    match serde_json::to_string(&value) {
        Ok(text) if text.len() <= REQUEST_LIMIT => Some(value),
        _ => Some("too long to be kept".into()),
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => mask_fields(fields),
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) => mask_address(text),
        _ => (),
    }
}

fn mask_fields(fields: &mut Map<String, Value>) {
    // A delivery attribute: its value goes into a header of each delivery, and is often what opens the endpoint.
    let is_attribute = fields.get("type").is_some_and(|kind| {
        kind.as_str()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("static"))
    });
    for (name, value) in fields.iter_mut() {
        if may_be_secret(name) {
            *value = DOTS.into();
        } else if is_attribute && name == "properties" {
            if let Some(value) = value.get_mut("value") {
                *value = DOTS.into();
            }
        } else {
            mask(value);
        }
    }
}

/// Whether a field of this name may hold what opens something. A name more costs a little insight, one less a secret.
fn may_be_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // Which of two keys is made anew is a number, and `key` of a filter the name of a field.
    let is_plain = matches!(&*name, "keyname" | "keytype" | "key" | "keys");
    !is_plain
        && [
            "secret",
            "password",
            "token",
            "signature",
            "connectionstring",
            "key",
            "credential",
        ]
        .iter()
        .any(|word| name.contains(word))
}

/// Of an address only the host is kept: people put secrets into paths and queries.
fn mask_address(text: &mut String) {
    let Some((scheme, rest)) = text.split_once("://") else {
        return;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let is_all = rest.len() == host.len();
    *text = match is_all {
        true => format!("{scheme}://{host}"),
        false => format!("{scheme}://{host}/{DOTS}"),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(body: &Value) -> Value {
        shown(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_may_be_secret_is_shown_as_dots() {
        let body = json!({"properties": {
            "destination": {"endpointType": "WebHook", "properties": {
                "endpointUrl": "https://user:pw@hook.example:8443/services/T0/B1?code=s3cret",
                "gridpostSigningSecret": "whsec_s3cret",
                "deliveryAttributeMappings": [
                    {"name": "X-A", "type": "Static", "properties": {"value": "s3cret", "isSecret": true}},
                    {"name": "X-B", "type": "Dynamic", "properties": {"sourceField": "data.x"}},
                ],
            }},
            "filter": {"advancedFilters": [{"operatorType": "StringIn", "key": "data.From", "values": ["15"]}]},
        }});
        let kept = kept(&body);
        assert!(!kept.to_string().contains("s3cret"), "{kept}");
        let properties = &kept["properties"]["destination"]["properties"];
        assert_eq!(properties["endpointUrl"], "https://hook.example:8443/•••");
        let attributes = &properties["deliveryAttributeMappings"];
        assert_eq!(attributes[0]["name"], "X-A");
        assert_eq!(attributes[1]["properties"]["sourceField"], "data.x");
        let filter = &kept["properties"]["filter"]["advancedFilters"][0];
        assert_eq!(filter["key"], "data.From");
    }

    #[test]
    fn names_that_may_hold_a_secret_are_known() {
        for name in [
            "clientSecret",
            "PASSWORD",
            "primaryKey",
            "sasToken",
            "connectionString",
        ] {
            assert!(may_be_secret(name), "{name}");
        }
        for name in ["keyName", "keyType", "key", "location", "displayName"] {
            assert!(!may_be_secret(name), "{name}");
        }
    }

    #[test]
    fn an_address_without_more_stays_as_it_is() {
        assert_eq!(
            kept(&json!(["https://hook.example"])),
            json!(["https://hook.example"])
        );
        assert_eq!(kept(&json!("/subscriptions/s")), json!("/subscriptions/s"));
    }

    #[test]
    fn what_is_long_or_no_json_is_left_out() {
        assert_eq!(shown(b""), None);
        assert_eq!(shown(b"secret"), Some("not JSON".into()));
        assert_eq!(kept(&json!("x".repeat(5_000))), "too long to be kept");
    }
}
