//! Events, as they are kept and as they are delivered.
//!
//! Promise: an `Event` carries its complete JSON object in the schema it was published in, with everything the
//! service stamps (topic, versions) already in it; delivery in that schema copies bytes and nothing else.
//! Not here: how publishers' bodies are read and refused (`api`), what services put into `data` (`comms`).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Timestamp;

/// The shape an event was published in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventSchema {
    /// `EventGridSchema`.
    EventGrid,
    /// `CloudEventSchemaV1_0`.
    CloudEvents,
    /// `CustomEventSchema` / `CustomInputSchema`: the publisher's own object.
    Custom,
}

/// What most events fit into, so that writing one seldom moves it.
const USUAL_BYTES: usize = 1536;

/// One event. Cheap to share behind an `Arc`, never changed after it was made.
#[derive(Clone, Debug)]
pub struct Event {
    /// The schema of `json`.
    pub schema: EventSchema,
    /// `id`: the publisher's; not unique, never used to deduplicate.
    pub id: Box<str>,
    /// `topic` / `source`.
    pub topic: Arc<str>,
    /// `eventType` / `type`.
    pub event_type: Box<str>,
    /// `subject`; empty when a CloudEvent has none.
    pub subject: Box<str>,
    /// `dataVersion`; empty when not given.
    pub data_version: Box<str>,
    /// When we accepted it. Time to live counts from here.
    pub published: Timestamp,
    /// The complete object, as it is delivered in its own schema.
    pub json: Bytes,
}

/// What a service or a publisher says of a new event in the Event Grid schema.
#[derive(Debug)]
pub struct NewEvent<'a, D: ?Sized> {
    /// `id`.
    pub id: &'a str,
    /// `topic`: the resource id of the source.
    pub topic: &'a Arc<str>,
    /// `subject`.
    pub subject: &'a str,
    /// `eventType`.
    pub event_type: &'a str,
    /// `eventTime`, written as given.
    pub event_time: &'a str,
    /// `dataVersion`.
    pub data_version: &'a str,
    /// `data`.
    pub data: &'a D,
}

/// The Event Grid envelope, in the field order of the documented samples.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeOut<'a, D: ?Sized> {
    id: &'a str,
    topic: &'a str,
    subject: &'a str,
    data: &'a D,
    event_type: &'a str,
    data_version: &'a str,
    metadata_version: &'a str,
    event_time: &'a str,
}

/// An Event Grid object read back without copying. `data` stays text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<'a> {
    /// `id`.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// `topic`.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// `subject`.
    #[serde(borrow)]
    pub subject: Cow<'a, str>,
    /// `data`.
    #[serde(borrow)]
    pub data: &'a RawValue,
    /// `eventType`.
    #[serde(borrow)]
    pub event_type: Cow<'a, str>,
    /// `dataVersion`.
    #[serde(borrow)]
    pub data_version: Cow<'a, str>,
    /// `eventTime`.
    #[serde(borrow)]
    pub event_time: Cow<'a, str>,
}

/// A stored object is not an event of its schema.
#[derive(Debug, thiserror::Error)]
#[error("not an event in the Event Grid schema")]
pub struct NotAnEvent(#[from] serde_json::Error);

impl Event {
    /// An event in the Event Grid schema, its object written once and for all.
    ///
    /// # Errors
    /// `data` cannot be written as JSON.
    pub fn event_grid<D: Serialize + ?Sized>(
        new: &NewEvent<'_, D>,
        published: Timestamp,
    ) -> Result<Self, NotAnEvent> {
        let mut json = Vec::with_capacity(USUAL_BYTES);
        let envelope = EnvelopeOut {
            id: new.id,
            topic: new.topic,
            subject: new.subject,
            data: new.data,
            event_type: new.event_type,
            data_version: new.data_version,
            metadata_version: "1",
            event_time: new.event_time,
        };
        serde_json::to_writer(&mut json, &envelope)?;
        Ok(Self {
            schema: EventSchema::EventGrid,
            id: new.id.into(),
            topic: Arc::clone(new.topic),
            event_type: new.event_type.into(),
            subject: new.subject.into(),
            data_version: new.data_version.into(),
            published,
            json: json.into(),
        })
    }

    /// An event as it was stored: the object `json` in the Event Grid schema.
    ///
    /// # Errors
    /// The object lacks a field of the envelope.
    pub fn from_event_grid_json(json: Bytes, published: Timestamp) -> Result<Self, NotAnEvent> {
        let envelope: Envelope<'_> = serde_json::from_slice(&json)?;
        let mut event = Self {
            schema: EventSchema::EventGrid,
            id: envelope.id.as_ref().into(),
            topic: envelope.topic.as_ref().into(),
            event_type: envelope.event_type.as_ref().into(),
            subject: envelope.subject.as_ref().into(),
            data_version: envelope.data_version.as_ref().into(),
            published,
            json: Bytes::new(),
        };
        event.json = json;
        Ok(event)
    }

    /// The event as a CloudEvents 1.0 object (structured mode).
    /// Source: reference event-grid 1.5.
    ///
    /// # Errors
    /// The stored object is damaged.
    pub fn to_cloud_event(&self) -> Result<Bytes, NotAnEvent> {
        if self.schema == EventSchema::CloudEvents {
            return Ok(self.json.clone());
        }
        let envelope: Envelope<'_> = serde_json::from_slice(&self.json)?;
        let dataschema =
            (!envelope.data_version.is_empty()).then(|| format!("#{}", envelope.data_version));
        Ok(serde_json::to_vec(&CloudEventOut {
            specversion: "1.0",
            id: &envelope.id,
            source: &envelope.topic,
            subject: &envelope.subject,
            r#type: &envelope.event_type,
            time: &envelope.event_time,
            dataschema: dataschema.as_deref(),
            data: envelope.data,
        })?
        .into())
    }
}

#[derive(Serialize)]
struct CloudEventOut<'a> {
    id: &'a str,
    source: &'a str,
    specversion: &'a str,
    r#type: &'a str,
    subject: &'a str,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataschema: Option<&'a str>,
    data: &'a RawValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Event {
        let topic: Arc<str> = "/subscriptions/s".into();
        Event::event_grid(
            &NewEvent {
                id: "1",
                topic: &topic,
                subject: "/phonenumber/15555555555",
                event_type: "Microsoft.Communication.SMSReceived",
                event_time: "2020-09-18T00:27:47Z",
                data_version: "1.0",
                data: &serde_json::json!({"n": 1}),
            },
            Timestamp::EPOCH,
        )
        .unwrap()
    }

    #[test]
    fn an_event_is_read_back_as_it_was_written() {
        let event = sample();
        let again = Event::from_event_grid_json(event.json.clone(), event.published).unwrap();
        assert_eq!(again.subject, event.subject);
        assert_eq!(again.event_type, event.event_type);
        assert_eq!(again.json, event.json);
    }

    #[test]
    fn a_cloud_event_has_the_fields_of_the_conversion_table() {
        let cloud: serde_json::Value =
            serde_json::from_slice(&sample().to_cloud_event().unwrap()).unwrap();
        assert_eq!(
            cloud,
            serde_json::json!({
                "id": "1", "source": "/subscriptions/s", "specversion": "1.0",
                "type": "Microsoft.Communication.SMSReceived",
                "subject": "/phonenumber/15555555555", "time": "2020-09-18T00:27:47Z",
                "dataschema": "#1.0", "data": {"n": 1},
            })
        );
    }
}
