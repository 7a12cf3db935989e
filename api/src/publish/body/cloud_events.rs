//! Bodies in the CloudEvents 1.0 schema: one object, an array of them, or headers around the data.
//!
//! Promise: an object is kept to the letter, extension attributes included; attributes that are `null` are as good as
//! none.
//! Source: reference event-grid 1.2, 2.6.

use std::fmt;
use std::sync::Arc;

use gridpost_model::{Event, EventSchema, Timestamp, TraceContext};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Field, Name, Token};
use super::words::Words;
use super::{Reading, binary, check_is_object};
use crate::problem::PublishRefusal;
use crate::publish::route::Route;

pub(super) const WORDS: Words = Words("CloudEventV10");

/// How the events of a request are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Headers around the data.
    Binary,
    /// One object, or what the service takes for it: an array.
    Structured,
    /// An array of objects.
    Batched,
    /// One object under the media type of any JSON.
    Plain,
}

/// The events of a request, or the first thing that is wrong.
pub(super) fn read(reading: &Reading<'_>, body: &[u8]) -> Result<Vec<Event>, PublishRefusal> {
    let first = Token::first_of(body);
    match Mode::of(reading.headers)? {
        Mode::Binary => {
            let object = binary::object(reading.headers, body)?;
            reading.check_size(&object)?;
            Ok(vec![event(reading, &object)?])
        }
        Mode::Structured if first == Some(Token::StartArray) => many(reading, body),
        Mode::Batched => many(reading, body),
        Mode::Structured | Mode::Plain => one(reading, body),
    }
}

impl Mode {
    fn of(headers: &HeaderMap) -> Result<Self, PublishRefusal> {
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let is = |other: &str| media_type.eq_ignore_ascii_case(other);
        let structured = is("application/cloudevents+json");
        let batched = is("application/cloudevents-batch+json");
        if binary::is_meant(headers) {
            if structured || batched {
                return Err(Words::invalid(
                    "Conflicting content mode: binary mode headers with structured mode content type.",
                ));
            }
            let plain = is("application/json");
            return plain.then_some(Self::Binary).ok_or_else(wrong_media_type);
        }
        if structured {
            Ok(Self::Structured)
        } else if batched {
            Ok(Self::Batched)
        } else if is("application/json") {
            Ok(Self::Plain)
        } else {
            Err(wrong_media_type())
        }
    }
}

fn wrong_media_type() -> PublishRefusal {
    PublishRefusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "InvalidContentType",
        "The Content-Type header is either missing or it doesn't have a valid value. The content type header must either be application/cloudevents+json; charset=utf-8 or application/cloudevents-batch+json; charset=UTF-8.",
    )
}

fn many(reading: &Reading<'_>, body: &[u8]) -> Result<Vec<Event>, PublishRefusal> {
    let elements = reading.elements(WORDS, body)?;
    elements
        .into_iter()
        .map(|element| event(reading, element.get()))
        .collect()
}

fn one(reading: &Reading<'_>, body: &[u8]) -> Result<Vec<Event>, PublishRefusal> {
    if body.trim_ascii().is_empty() {
        return Err(Words::ends_early());
    }
    let whole: &RawValue = serde_json::from_slice(body).map_err(|e| WORDS.unreadable(&e))?;
    reading.check_size(whole.get())?;
    Ok(vec![event(reading, whole.get())?])
}

/// The event that an object is.
fn event(reading: &Reading<'_>, object: &str) -> Result<Event, PublishRefusal> {
    check_is_object(object, WORDS)?;
    let attributes: Attributes<'_> =
        serde_json::from_str(object).map_err(|e| WORDS.unreadable(&e))?;
    let required = attributes.required()?;
    attributes.check_optional()?;
    let topic = match reading.route {
        // What a topic's publishers name as their source is theirs to choose.
        Route::Topic(own) => Arc::clone(own),
        domain @ Route::Domain(_) => domain.topic(Some(required.source), WORDS)?,
    };
    if attributes.ambiguous {
        return Err(WORDS.no_event());
    }
    Ok(Event {
        schema: EventSchema::CloudEvents,
        id: required.id.into(),
        topic,
        event_type: required.event_type.into(),
        subject: attributes
            .subject
            .optional(WORDS)?
            .unwrap_or_default()
            .into(),
        data_version: Box::default(),
        published: reading.now,
        trace: attributes.trace(),
        json: object.to_owned().into(),
    })
}

/// The attributes of one event, as they stand in the text.
#[derive(Default)]
struct Attributes<'a> {
    id: Field<'a>,
    source: Field<'a>,
    event_type: Field<'a>,
    specversion: Field<'a>,
    subject: Field<'a>,
    time: Field<'a>,
    dataschema: Field<'a>,
    datacontenttype: Field<'a>,
    data_base64: Field<'a>,
    /// Of the extension for distributed tracing. One that is none is somebody's own attribute.
    traceparent: Field<'a>,
    has_data: bool,
    /// An attribute that is read back of what is kept stands twice, and nobody can say which one counts.
    ambiguous: bool,
    /// The first name that no attribute can have.
    unexpected: Option<Name<'a>>,
}

/// The attributes that every event has, but for its version.
struct Required<'a> {
    id: &'a str,
    source: &'a str,
    event_type: &'a str,
}

impl Attributes<'_> {
    fn trace(&self) -> Option<TraceContext> {
        match &self.traceparent {
            Field::Text(text) => text.parse().ok(),
            Field::Absent | Field::Other(_) => None,
        }
    }

    /// The service looks at them in this order, and calls the type by its other name.
    fn required(&self) -> Result<Required<'_>, PublishRefusal> {
        let specversion = self.specversion.filled("specversion", WORDS)?;
        if specversion != "1.0" {
            return Err(WORDS.requires("specversion", "to be set to '1.0'"));
        }
        let event_type = self.event_type.filled("eventType", WORDS)?;
        let source = self.source.filled("source", WORDS)?;
        let id = self.id.filled("id", WORDS)?;
        Ok(Required {
            id,
            source,
            event_type,
        })
    }

    fn check_optional(&self) -> Result<(), PublishRefusal> {
        let time = self.time.optional(WORDS)?.filter(|text| !text.is_empty());
        if time.is_some_and(|text| text.parse::<Timestamp>().is_err()) {
            return Err(WORDS.no_time("time"));
        }
        for attribute in [&self.subject, &self.dataschema, &self.datacontenttype] {
            attribute.optional(WORDS)?;
        }
        if self.data_base64.optional(WORDS)?.is_some() && self.has_data {
            return Err(Words::invalid(
                "Properties 'data' and 'data_base64' are mutually exclusive.",
            ));
        }
        match &self.unexpected {
            Some(Name(name)) => Err(WORDS.unexpected(name)),
            None => Ok(()),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = Attributes<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes<'de>, A::Error> {
        let mut found = Attributes::default();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let field = match name.as_ref() {
                "id" => &mut found.id,
                "source" => &mut found.source,
                "type" => &mut found.event_type,
                "specversion" => &mut found.specversion,
                "subject" => &mut found.subject,
                "time" => &mut found.time,
                "dataschema" => &mut found.dataschema,
                "datacontenttype" => &mut found.datacontenttype,
                "data_base64" => &mut found.data_base64,
                "traceparent" => &mut found.traceparent,
                other => {
                    let value: &RawValue = map.next_value()?;
                    if other == "data" {
                        found.has_data = value.get() != "null";
                    } else if !is_attribute_name(other) {
                        found.unexpected.get_or_insert(Name(name));
                    }
                    continue;
                }
            };
            let before = std::mem::replace(field, map.next_value()?);
            let again = !matches!(before, Field::Absent);
            found.ambiguous |= again && matches!(&*name, "id" | "source" | "type" | "subject");
        }
        Ok(found)
    }
}

fn is_attribute_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use gridpost_model::InputSchema;

    use super::super::testing::{DOMAIN, TOPIC, read};
    use super::*;

    const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
    const BATCHED: &str = "application/cloudevents-batch+json; charset=utf-8";
    const EVENT: &str = r#"{"id":"1","source":"/s","type":"t","specversion":"1.0"}"#;

    fn typed(content_type: &str, body: &str) -> Result<Vec<Event>, PublishRefusal> {
        let route = Route::Topic(TOPIC.into());
        let headers = [("content-type", content_type)];
        read(&InputSchema::CloudEvents, &route, &headers, body)
    }

    #[test]
    fn section_1_2_the_content_modes_and_what_each_takes() {
        let (one, two) = (EVENT.to_owned(), format!("[{EVENT},{EVENT}]"));
        let array = "Token Expected: StartObject, Actual Token Received: StartArray.";
        let object = "Token Expected: StartArray, Actual Token Received: StartObject.";
        let table = [
            (STRUCTURED, &one, Ok(1)),
            ("Application/CloudEvents+JSON", &one, Ok(1)),
            (STRUCTURED, &two, Ok(2)),
            (BATCHED, &two, Ok(2)),
            (BATCHED, &one, Err(object)),
            ("application/json", &one, Ok(1)),
            ("application/json; charset=utf-8", &two, Err(array)),
        ];
        for (content_type, body, expected) in table {
            let found = typed(content_type, body);
            match expected {
                Ok(count) => assert_eq!(found.unwrap().len(), count, "{content_type} {body}"),
                Err(end) => {
                    let refusal = found.unwrap_err();
                    assert!(refusal.message.ends_with(end), "{}", refusal.message);
                    assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
                }
            }
        }
    }

    #[test]
    fn section_2_6_other_media_types_are_415() {
        for content_type in ["text/plain", "application/xml", "application/jsonl", ""] {
            let refusal = typed(content_type, EVENT).unwrap_err();
            assert_eq!(refusal.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert_eq!(refusal.detail, "InvalidContentType");
            assert!(refusal.message.starts_with(
                "The Content-Type header is either missing or it doesn't have a valid value."
            ));
        }
    }

    #[test]
    fn an_object_is_kept_to_the_letter() {
        let own = r#"{ "id":"1", "source":"/s","type":"t","specversion":"1.0","subject":null,"time":null,
            "data":{"n":1.50,"u":"\u00e9"},"traceparent":"00-a","nothing":null,"level":5,"data_base64":null }"#;
        let events = typed(BATCHED, &format!(" [ {own} ] ")).unwrap();
        assert_eq!(events[0].json, own);
        assert_eq!(events[0].schema, EventSchema::CloudEvents);
        assert_eq!((&*events[0].topic, &*events[0].subject), (TOPIC, ""));
        let binary = r#"{"id":"1","source":"/s","type":"t","specversion":"1.0","data_base64":"AQI=","subject":"x"}"#;
        assert_eq!(&*typed(STRUCTURED, binary).unwrap()[0].subject, "x");
    }

    #[test]
    fn section_2_6_refusals_have_the_words_of_the_service() {
        let conform = "This resource is configured to receive event in 'CloudEventV10' schema. \
                       The JSON received does not conform to the expected schema.";
        let own = "This resource is configured for 'CloudEventV10' schema";
        let requires = |name: &str| format!("{own} and requires '{name}' property to be set.");
        let table = [
            ("", "Unexpected end when reading JSON.".to_owned()),
            ("[]", conform.to_owned()),
            (
                "[5]",
                format!("{conform} Token Expected: StartObject, Actual Token Received: Integer."),
            ),
            ("[{}]", requires("specversion")),
            (r#"[{"specversion":"1.0"}]"#, requires("eventType")),
            (r#"[{"specversion":"1.0","type":"t"}]"#, requires("source")),
            (
                r#"[{"specversion":"1.0","type":"t","source":"s"}]"#,
                requires("id"),
            ),
            (
                r#"[{"specversion":"1.0","type":"t","source":"s","id":""}]"#,
                requires("id"),
            ),
            (
                r#"[{"specversion":1.0}]"#,
                format!("{conform} Token Expected: String, Actual Token Received: Float."),
            ),
            (
                r#"[{"specversion":"0.3","type":"t","source":"s","id":"1"}]"#,
                format!("{own} and requires 'specversion' property to be set to '1.0'."),
            ),
            (
                r#"[{"specversion":"1.0","type":"t","source":"s","id":"1","time":"yesterday"}]"#,
                format!(
                    "{own} and requires 'time' property to be a date-time with a UTC designator or offset."
                ),
            ),
            (
                r#"[{"specversion":"1.0","type":"t","source":"s","id":"1","data":1,"data_base64":"AQ=="}]"#,
                "Properties 'data' and 'data_base64' are mutually exclusive.".to_owned(),
            ),
            (
                r#"[{"specversion":"1.0","type":"t","source":"s","id":"1","eventType":"t"}]"#,
                format!(
                    "{own}. Received unexpected property 'eventType' in JSON which does not conform to the expected schema."
                ),
            ),
        ];
        for (text, message) in table {
            let refusal = typed(BATCHED, text).unwrap_err();
            assert_eq!(refusal.message, message, "{text}");
            assert_eq!(refusal.detail, "InputJsonInvalid", "{text}");
        }
        assert_eq!(
            typed(STRUCTURED, " ").unwrap_err().message,
            "Unexpected end when reading JSON."
        );
    }

    #[test]
    fn what_is_accepted_can_be_read_back() {
        let with = |more: &str| EVENT.replace('}', more);
        let taken = [
            with("}"),
            with(r#","subject":"s\u00e9\n","own":[1,2]}"#),
            with(r#","subject":null,"time":"2026-01-01T00:00:00Z","time":null}"#),
            r#"{"\u0069d":"\ud83d\ude00","source":"/s","type":"t","specversion":"1.0"}"#.to_owned(),
        ];
        for text in taken {
            let event = typed(STRUCTURED, &text).unwrap().remove(0);
            let schema = EventSchema::CloudEvents;
            let again = Event::from_stored(schema, event.json.clone(), event.published);
            let mut again = again.unwrap();
            // The journal keeps the topic beside the object, which has only its publisher's source.
            again.topic = Arc::clone(&event.topic);
            assert_eq!(format!("{again:?}"), format!("{event:?}"));
        }
        for twice in [
            r#","id":"2"}"#,
            r#","source":"/s"}"#,
            r#","type":"t"}"#,
            r#","subject":null,"subject":"s"}"#,
        ] {
            let text = with(twice);
            let stored = Event::from_stored(
                EventSchema::CloudEvents,
                text.clone().into(),
                Timestamp::EPOCH,
            );
            assert!(stored.is_err(), "{text}");
            let refusal = typed(STRUCTURED, &text).unwrap_err();
            assert_eq!(refusal.message, WORDS.no_event().message, "{text}");
        }
    }

    #[test]
    fn section_2_8_in_a_domain_the_source_is_the_topic() {
        let route = Route::Domain(DOMAIN.into());
        let headers = [("content-type", STRUCTURED)];
        let body = EVENT.replace("\"/s\"", "\"foo\"");
        let events = read(&InputSchema::CloudEvents, &route, &headers, &body).unwrap();
        assert_eq!(&*events[0].topic, format!("{DOMAIN}/topics/foo"));
        assert_eq!(events[0].json, body);
        let body = EVENT.replace("\"/s\"", "\"https://example.com\"");
        let refusal = read(&InputSchema::CloudEvents, &route, &headers, &body).unwrap_err();
        assert_eq!(
            refusal.message,
            "Required property 'topic' needs to either be a full resource id or should be just the name of the domain topic. Found: https://example.com"
        );
        assert_eq!(refusal.detail, "InputJsonInvalid");
    }
}
