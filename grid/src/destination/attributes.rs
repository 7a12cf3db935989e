//! Delivery attributes that become headers.
//!
//! Promise: fixed ones are made once per subscription; taken ones are texts, numbers and booleans of the event. What
//! an event does not have, or what cannot stand in a header, is left out: the body has it too.
//! Not here: which attributes may be asked for (`validation`).
//! Source: reference event-grid 3.3.

use gridpost_model::Event;
use gridpost_model::filter::lookup::value_at;
use gridpost_model::subscription::{AttributeValue, DeliveryAttribute};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::validation::VALUE_BYTES;

/// Headers whose values are taken from each event.
pub(crate) struct Taken(Vec<(HeaderName, Box<str>)>);

impl Taken {
    /// Sorts attributes: fixed ones into `headers`, which every request has, the others are kept.
    pub(crate) fn sort(attributes: &[DeliveryAttribute], headers: &mut HeaderMap) -> Self {
        let mut taken = Vec::new();
        for attribute in attributes {
            let Ok(name) = HeaderName::from_bytes(attribute.name.as_bytes()) else {
                continue;
            };
            match &attribute.value {
                AttributeValue::Static { value, is_secret } => {
                    if let Ok(mut value) = HeaderValue::from_str(value.reveal()) {
                        value.set_sensitive(*is_secret);
                        headers.insert(name, value);
                    }
                }
                AttributeValue::Dynamic { source_field } => {
                    taken.push((name, source_field.as_str().into()));
                }
            }
        }
        Self(taken)
    }

    /// Adds what this event has.
    pub(crate) fn put(&self, headers: &mut HeaderMap, event: &Event) {
        for (name, source) in &self.0 {
            let value = value_at(event, source).and_then(text);
            let value = value.filter(|text| text.len() <= VALUE_BYTES);
            if let Some(value) = value.and_then(|text| HeaderValue::try_from(text).ok()) {
                headers.insert(name.clone(), value);
            }
        }
    }
}

/// The text of a value that has one.
pub(crate) fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::{Timestamp, event::NewEvent};

    use super::*;

    #[test]
    fn section_3_3_values_come_from_the_event_or_not_at_all() {
        let data = serde_json::json!({
            "text": "a b", "number": 1.5, "yes": true, "none": null, "list": [1], "in": {"deep": "x"},
            "lines": "a\nb", "long": "v".repeat(VALUE_BYTES + 1),
        });
        let new = NewEvent {
            id: "e-1",
            topic: &"/t".into(),
            subject: "s",
            event_type: "x",
            event_time: "2026-01-01T00:00:00Z",
            data_version: "1.0",
            data: &data,
        };
        let event = Event::event_grid(&new, Timestamp::EPOCH).unwrap();
        let sources = [
            "id",
            "subject",
            "data.text",
            "data.number",
            "data.yes",
            "data.none",
            "data.list",
            "data.in",
            "data.in.deep",
            "data.lines",
            "data.long",
            "data.absent",
        ];
        let attributes: Vec<_> = sources
            .iter()
            .map(|source| DeliveryAttribute::taken(&source.replace('.', "-"), source))
            .collect();
        let mut headers = HeaderMap::new();
        Taken::sort(&attributes, &mut headers).put(&mut headers, &event);
        let found: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            found,
            [
                ("id", "e-1"),
                ("subject", "s"),
                ("data-text", "a b"),
                ("data-number", "1.5"),
                ("data-yes", "true"),
                ("data-in-deep", "x"),
            ]
        );
    }

    #[test]
    fn a_secret_is_sent_and_marked_so() {
        let attribute = DeliveryAttribute::secret("X-Key", "s3cret");
        let mut headers = HeaderMap::new();
        Taken::sort(&[attribute], &mut headers);
        assert_eq!(headers["x-key"], "s3cret");
        assert!(headers["x-key"].is_sensitive());
    }
}
