//! An event inside a row, for deliveries that outlive the journal: waiting ones and dead letters.
//!
//! Promise: what is read back is byte for byte the event that was kept.

use std::sync::Arc;

use bytes::Bytes;
use gridpost_model::{Event, EventSchema, Timestamp, TraceContext};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An event as it stands in a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptEvent {
    schema: EventSchema,
    id: Box<str>,
    topic: Arc<str>,
    event_type: Box<str>,
    subject: Box<str>,
    data_version: Box<str>,
    published: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<TraceContext>,
    json: Box<RawValue>,
}

impl KeptEvent {
    /// The form of `event` that is stored. An event whose object is no JSON cannot have come from us; it is kept as
    /// `null` and said so, because losing the rest of the row with it would be worse.
    pub(crate) fn new(event: &Event) -> Self {
        let json = serde_json::from_slice(&event.json).unwrap_or_else(|error| {
            gridpost_model::never!("event {} is not JSON: {error}", event.id);
            RawValue::NULL.to_owned()
        });
        Self {
            schema: event.schema,
            id: event.id.clone(),
            topic: Arc::clone(&event.topic),
            event_type: event.event_type.clone(),
            subject: event.subject.clone(),
            data_version: event.data_version.clone(),
            published: event.published,
            trace: event.trace,
            json,
        }
    }

    /// The event.
    pub(crate) fn into_event(self) -> Event {
        Event {
            schema: self.schema,
            id: self.id,
            topic: self.topic,
            event_type: self.event_type,
            subject: self.subject,
            data_version: self.data_version,
            published: self.published,
            trace: self.trace,
            json: Bytes::from(String::from(Box::<str>::from(self.json))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_back_byte_for_byte() {
        let event = Event {
            schema: EventSchema::Custom,
            id: "1".into(),
            topic: "/t".into(),
            event_type: "x".into(),
            subject: "s".into(),
            data_version: "2".into(),
            published: Timestamp::from_ticks(17),
            trace: Some(TraceContext::sampled([7; 16], [9; 8])),
            json: Bytes::from_static(br#"{"b" : 1.50,  "a":"\u00e9"}"#),
        };
        let stored = serde_json::to_vec(&KeptEvent::new(&event)).unwrap();
        let again: KeptEvent = serde_json::from_slice(&stored).unwrap();
        let again = again.into_event();
        assert_eq!(again.json, event.json);
        assert_eq!(
            (again.published, again.schema, again.trace),
            (event.published, event.schema, event.trace)
        );
    }
}
