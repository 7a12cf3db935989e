//! The calls that a step needs.
//!
//! Promise: a resource that is there keeps what the file does not tell: its place, its keys, the query of a URL and
//! other secrets.
//! Source: reference management 5.1 (PATCH of an event subscription is flat, everything else is nested).

use http::Method;
use serde_json::{Map, Value, json};

use super::document::Entry;
use super::names::{ENDPOINT_TYPE, ENDPOINT_URL, Kind, Otherwise, SIGNING, USERNAME, VERIFIED};
use super::plan::{Action, Difference, Step, value_of};
use super::same::words;

/// The method and the body; `None` when nothing has to be done.
pub(super) fn call(step: &Step) -> Option<(Method, Option<Value>)> {
    match (&step.action, &step.present) {
        (Action::Nothing, _) => None,
        (Action::Change(differences), Some(present)) => Some(match step.entry.kind {
            Kind::Subscription => (Method::PATCH, Some(flat(&step.entry, differences, present))),
            _ => (
                Method::PUT,
                Some(whole(&step.entry, differences, Some(present))),
            ),
        }),
        _ => Some((
            Method::PUT,
            match step.entry.kind {
                Kind::DomainTopic => None,
                _ => Some(whole(&step.entry, &[], None)),
            },
        )),
    }
}

/// The endpoint that the server asks for its consent before it does a step.
pub(super) fn asked(step: &Step) -> Option<&str> {
    let endpoint = step.entry.text(ENDPOINT_URL)?;
    let asks = match &step.action {
        Action::Nothing => false,
        Action::Create => true,
        Action::Change(differences) => differences
            .iter()
            .any(|one| one.path.starts_with("destination.") || one.path == "eventDeliverySchema"),
    };
    asks.then_some(endpoint)
}

/// Everything that is said, and what shall be again as it is without saying.
fn whole(entry: &Entry, differences: &[Difference], present: Option<&Value>) -> Value {
    let mut body = json!({"properties": {}});
    let told = differences.iter().map(|one| (one.path, &one.wanted));
    for (path, value) in told.chain(entry.said.iter().map(|(path, value)| (*path, value))) {
        match path {
            "location" | "tags" => body[path] = value.clone(),
            VERIFIED => (),
            _ => put(&mut body["properties"], path, value.clone()),
        }
    }
    if entry.kind == Kind::Group {
        let place = present.map_or_else(|| json!("local"), |present| present["location"].clone());
        // The group's own tags stay when the file does not speak of them.
        for (name, kept) in [
            ("location", place),
            (
                "tags",
                present.map_or(Value::Null, |one| one["tags"].clone()),
            ),
        ] {
            if body[name].is_null() {
                body[name] = kept;
            }
        }
    } else if let Some(present) = present.filter(|_| body["location"].is_null()) {
        body["location"] = present["location"].clone();
    }
    match entry.kind {
        Kind::Subscription => put_type(&mut body["properties"]),
        // The name says it already.
        Kind::Sender if body["properties"][USERNAME].is_null() => {
            body["properties"][USERNAME] = json!(entry.name);
        }
        _ => (),
    }
    if let Some(present) = present {
        keep(entry.kind, &mut body["properties"], present);
    }
    body
}

/// Puts in what is required, stays as it is, and need not be said again.
fn keep(kind: Kind, properties: &mut Value, present: &Value) {
    let kept = kind.fields().iter().filter(|field| {
        matches!(field.otherwise, Otherwise::Kept) && !field.is_outside() && field.path != VERIFIED
    });
    for field in kept {
        if properties[field.path].is_null() {
            properties[field.path] = present["properties"][field.path].clone();
        }
    }
}

/// The records of an email domain that the file calls verified and that are not yet.
pub(super) fn verifications(step: &Step) -> Vec<Value> {
    let Some(said) = step.entry.said.get(VERIFIED) else {
        return Vec::new();
    };
    let field = step.entry.kind.field(VERIFIED);
    let there = step.present.as_ref().zip(field);
    let is = there.map(|(shown, field)| words(&value_of(shown, field)));
    let is_missing = |record: &&Value| {
        let word = record.as_str().map(str::to_ascii_lowercase);
        word.is_none_or(|word| !is.as_ref().is_some_and(|is| is.contains(&word)))
    };
    let missing = said.as_array().into_iter().flatten().filter(is_missing);
    missing
        .map(|record| json!({ "verificationType": record }))
        .collect()
}

/// What differs.
fn flat(entry: &Entry, differences: &[Difference], present: &Value) -> Value {
    let mut body = json!({});
    for one in differences {
        put(&mut body, one.path, one.wanted.clone());
    }
    if !body["destination"].is_null() {
        let is = &present["properties"]["destination"]["endpointType"];
        let is_webhook =
            is == "WebHook" && !differences.iter().any(|one| one.path == ENDPOINT_TYPE);
        let more = |path: &str| {
            if is_webhook {
                path == SIGNING
            } else {
                path.starts_with("destination.")
            }
        };
        for (path, value) in entry.said.iter().filter(|(path, _)| more(path)) {
            put(&mut body, path, value.clone());
        }
        if body["destination"]["endpointType"].is_null() {
            body["destination"]["endpointType"] = is.clone();
        }
    }
    if !body["deadLetterDestination"].is_null() {
        body["deadLetterDestination"] = Value::Null;
        for (path, value) in entry
            .said
            .iter()
            .filter(|(path, _)| path.starts_with("deadLetterDestination."))
        {
            put(&mut body, path, value.clone());
        }
    }
    body
}

fn put_type(properties: &mut Value) {
    if properties["destination"].is_object() && properties["destination"]["endpointType"].is_null()
    {
        properties["destination"]["endpointType"] = json!("WebHook");
    }
}

/// Puts a value at a path, making the objects on the way.
pub(crate) fn put(into: &mut Value, path: &str, value: Value) {
    let mut place = into;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[name];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::super::names::DEAD_LETTER_TYPE;
    use super::*;

    fn entry(text: &str) -> Entry {
        let document = Document::read("grid.toml", text).unwrap();
        document.entries.into_iter().next_back().unwrap()
    }

    fn difference(path: &'static str, wanted: Value) -> Difference {
        Difference {
            path,
            from: Value::Null,
            to: wanted.clone(),
            wanted,
        }
    }

    #[test]
    fn section_5_1_an_event_subscription_is_made_by_a_nested_body() {
        let entry = entry(
            "[topics.t.eventSubscriptions.s]\nendpoint = 'https://h/x'\nsubjectBeginsWith = 'a'\nlabels = ['l']",
        );
        assert_eq!(
            whole(&entry, &[], None),
            json!({"properties": {
                "destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "https://h/x"}},
                "filter": {"subjectBeginsWith": "a"}, "labels": ["l"],
            }})
        );
    }

    #[test]
    fn section_5_1_a_change_is_flat_and_keeps_the_rest_of_a_webhook() {
        let entry = entry(
            "[topics.t.eventSubscriptions.s]\nendpoint = 'https://h/x'\nmaxEventsPerBatch = 5",
        );
        let present = json!({"properties": {"destination": {"endpointType": "WebHook"}}});
        let changed = flat(
            &entry,
            &[difference(
                "destination.properties.maxEventsPerBatch",
                json!(5),
            )],
            &present,
        );
        assert_eq!(
            changed,
            json!({"destination": {"endpointType": "WebHook", "properties": {"maxEventsPerBatch": 5}}})
        );
    }

    #[test]
    fn a_dead_letter_destination_that_is_no_longer_said_is_removed() {
        let entry = entry("[topics.t.eventSubscriptions.s]\nendpoint = 'https://h/x'");
        let gone = [
            difference(DEAD_LETTER_TYPE, Value::Null),
            difference("deadLetterDestination.properties.resourceId", Value::Null),
        ];
        assert_eq!(
            flat(&entry, &gone, &json!({})),
            json!({"deadLetterDestination": null})
        );
    }

    #[test]
    fn a_topic_stays_where_it_is() {
        let entry = entry("[topics.t]\ntags = {a = 'b'}");
        let present = json!({"location": "there"});
        assert_eq!(
            whole(
                &entry,
                &[difference("tags", json!({"a": "b"}))],
                Some(&present)
            ),
            json!({"location": "there", "tags": {"a": "b"}, "properties": {}})
        );
    }
}
