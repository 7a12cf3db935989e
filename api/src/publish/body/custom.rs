//! Bodies of events that have their publishers' own shape.
//!
//! Promise: an object is kept to the letter; what the mapping finds in it, and defaults where it finds nothing, make
//! the envelope around it.
//! Source: reference event-grid 1.3.

use std::borrow::Cow;
use std::fmt;

use gridpost_model::event::NewEvent;
use gridpost_model::{Event, MappedField, Mapping, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Name, Token};
use super::words::{Words, too_large};
use super::{Reading, check_is_object};
use crate::problem::PublishRefusal;

const WORDS: Words = Words("CustomInputEvent");

/// What a batch may grow to with its envelopes: mapped values stand in the event twice. It must fit one record of the
/// journal.
const KEPT_BYTES: usize = 6 << 20;

/// The events of a body, or the first thing that is wrong.
pub(super) fn read(
    reading: &Reading<'_>,
    mapping: Option<&Mapping>,
    body: &[u8],
) -> Result<Vec<Event>, PublishRefusal> {
    let nothing = Mapping::default();
    let mapping = mapping.unwrap_or(&nothing);
    let mut events = Vec::new();
    let mut kept_bytes = 0;
    for object in reading.elements(WORDS, body)? {
        let event = event(reading, mapping, object)?;
        kept_bytes += event.json.len();
        if kept_bytes > KEPT_BYTES {
            return Err(too_large(reading.limits.body_bytes));
        }
        events.push(event);
    }
    Ok(events)
}

fn event(
    reading: &Reading<'_>,
    mapping: &Mapping,
    object: &RawValue,
) -> Result<Event, PublishRefusal> {
    check_is_object(object.get(), WORDS)?;
    let properties: Properties<'_> =
        serde_json::from_str(object.get()).map_err(|e| WORDS.unreadable(&e))?;
    let id = match properties.text(mapping.id.as_deref())? {
        Some(id) if !id.is_empty() => id,
        _ => reading.chance.uuid().into(),
    };
    let topic = properties.text(mapping.topic.as_deref())?;
    let new = NewEvent {
        id: &id,
        topic: &reading.route.topic(topic.as_deref(), WORDS)?,
        subject: &properties.mapped(&mapping.subject)?,
        event_type: &properties.mapped(&mapping.event_type)?,
        event_time: &time(reading, mapping, &properties)?,
        data_version: &properties.mapped(&mapping.data_version)?,
        data: object,
    };
    Event::custom(&new, reading.now).map_err(|_| WORDS.no_event())
}

/// A time without a zone is in UTC: publishers' own objects are not bound to RFC 3339.
fn time<'a>(
    reading: &Reading<'_>,
    mapping: &Mapping,
    properties: &Properties<'a>,
) -> Result<Cow<'a, str>, PublishRefusal> {
    let Some(text) = properties.text(mapping.event_time.as_deref())? else {
        return Ok(reading.now.to_string().into());
    };
    if text.parse::<Timestamp>().is_ok() {
        return Ok(text);
    }
    let in_utc = format!("{text}Z");
    if in_utc.parse::<Timestamp>().is_ok() {
        return Ok(in_utc.into());
    }
    let property = mapping.event_time.as_deref().unwrap_or_default();
    Err(WORDS.no_time(property))
}

/// The properties of an object, each as it is written.
struct Properties<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Properties<'a> {
    /// A field of the envelope. Nothing is made of a field that is not mapped.
    fn mapped<'b>(&self, field: &'b MappedField) -> Result<Cow<'b, str>, PublishRefusal>
    where
        'a: 'b,
    {
        if let Some(text) = self.text(field.source_field.as_deref())? {
            return Ok(text);
        }
        match (&field.default_value, &field.source_field) {
            (Some(default), _) => Ok(default.as_str().into()),
            (None, Some(source)) => Err(WORDS.missing(source)),
            (None, None) => Ok("".into()),
        }
    }

    /// The text at a source field. Numbers and truth values are taken as they are written.
    fn text(&self, source: Option<&str>) -> Result<Option<Cow<'a, str>>, PublishRefusal> {
        let Some(value) = source.and_then(|path| self.at(path)) else {
            return Ok(None);
        };
        match Token::first_of(value.get().as_bytes()) {
            None | Some(Token::Null) => Ok(None),
            Some(Token::String) => {
                let Name(text) =
                    serde_json::from_str(value.get()).map_err(|e| WORDS.unreadable(&e))?;
                Ok(Some(text))
            }
            Some(token @ (Token::StartObject | Token::StartArray)) => {
                Err(WORDS.wrong_token(Token::String, token))
            }
            Some(_) => Ok(Some(value.get().into())),
        }
    }

    /// A property of that very name, or the property of a property.
    fn at(&self, path: &str) -> Option<&'a RawValue> {
        let named = |name: &str| {
            let mut from_last = self.0.iter().rev();
            from_last
                .find(|(own, _)| own == name)
                .map(|(_, value)| *value)
        };
        named(path).or_else(|| {
            let (first, rest) = path.split_once('.')?;
            let inner: Self = serde_json::from_str(named(first)?.get()).ok()?;
            inner.at(rest)
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Properties<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PropertiesVisitor)
    }
}

struct PropertiesVisitor;

impl<'de> Visitor<'de> for PropertiesVisitor {
    type Value = Properties<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties<'de>, A::Error> {
        let mut found = Vec::new();
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
            found.push((name, value));
        }
        Ok(Properties(found))
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::InputSchema;
    use gridpost_model::subscription::DeliverySchema;
    use serde_json::{Value, json};

    use super::super::Route;
    use super::super::testing::{DOMAIN, TOPIC, read};
    use super::*;

    fn field(source: Option<&str>, default: Option<&str>) -> MappedField {
        MappedField {
            source_field: source.map(Into::into),
            default_value: default.map(Into::into),
        }
    }

    fn mapping() -> Mapping {
        Mapping {
            id: Some("meta.id".into()),
            topic: None,
            event_time: Some("at".into()),
            event_type: field(Some("kind"), Some("Unknown")),
            subject: field(Some("who"), None),
            data_version: field(None, Some("1.0")),
        }
    }

    fn sent(mapping: Option<Mapping>, body: &str) -> Result<Vec<Event>, PublishRefusal> {
        let route = Route::Topic(TOPIC.into());
        read(&InputSchema::Custom(mapping), &route, &[], body)
    }

    fn envelope(event: &Event) -> Value {
        let object = event.in_schema(DeliverySchema::EventGrid).unwrap();
        serde_json::from_slice(&object).unwrap()
    }

    #[test]
    fn section_1_3_the_mapping_fills_the_envelope_and_the_object_stays() {
        let own = r#"{ "meta":{"id":17}, "kind":"Shop.Ordered","who":"o\"1","at":"2026-01-01T00:00:00" }"#;
        let events = sent(Some(mapping()), &format!("[{own}]")).unwrap();
        assert_eq!(events[0].in_schema(DeliverySchema::Custom).unwrap(), own);
        assert_eq!(
            envelope(&events[0]),
            json!({
                "id": "17", "topic": TOPIC, "subject": "o\"1", "eventType": "Shop.Ordered",
                "eventTime": "2026-01-01T00:00:00Z", "dataVersion": "1.0", "metadataVersion": "1",
                "data": {"meta": {"id": 17}, "kind": "Shop.Ordered", "who": "o\"1", "at": "2026-01-01T00:00:00"},
            })
        );
    }

    #[test]
    fn section_1_3_what_an_event_lacks_has_a_default_or_is_made() {
        let events = sent(Some(mapping()), r#"[{"who":"me","kind":null}]"#).unwrap();
        assert_eq!(&*events[0].id, "00000000-0000-4000-8000-000000000000");
        assert_eq!(&*events[0].event_type, "Unknown");
        assert_eq!(envelope(&events[0])["eventTime"], "2026-11-22T00:00:00Z");
        let unmapped = sent(None, "[{}]").unwrap();
        assert_eq!((&*unmapped[0].event_type, &*unmapped[0].subject), ("", ""));
        assert_eq!(envelope(&unmapped[0])["data"], json!({}));
    }

    #[test]
    fn section_1_3_a_name_with_a_dot_comes_before_a_path() {
        let only = |source: &str| Mapping {
            subject: field(Some(source), Some("none")),
            ..Mapping::default()
        };
        let subject = |source, body| sent(Some(only(source)), body).unwrap()[0].subject.clone();
        assert_eq!(&*subject("a.b", r#"[{"a.b":"1","a":{"b":"2"}}]"#), "1");
        assert_eq!(&*subject("a.b", r#"[{"a":{"b":"2"}}]"#), "2");
        assert_eq!(&*subject("a.b.c", r#"[{"a":{"b":{"c":true}}}]"#), "true");
        assert_eq!(&*subject("a.b", r#"[{"a":5}]"#), "none");
        assert_eq!(&*subject("a", r#"[{"a":"1","a":"2"}]"#), "2");
    }

    #[test]
    fn section_2_6_refusals_have_the_words_of_the_service() {
        let conform = "This resource is configured to receive event in 'CustomInputEvent' schema. \
                       The JSON received does not conform to the expected schema.";
        let own = "This resource is configured for 'CustomInputEvent' schema";
        let table = [
            ("", "Unexpected end when reading JSON.".to_owned()),
            (
                "{}",
                format!(
                    "{conform} Token Expected: StartArray, Actual Token Received: StartObject."
                ),
            ),
            ("[]", conform.to_owned()),
            (
                "[1]",
                format!("{conform} Token Expected: StartObject, Actual Token Received: Integer."),
            ),
            (
                "[{}]",
                format!("{own} and requires 'who' property to be set."),
            ),
            (
                r#"[{"who":{}}]"#,
                format!("{conform} Token Expected: String, Actual Token Received: StartObject."),
            ),
            (
                r#"[{"who":"me","at":"noon"}]"#,
                format!(
                    "{own} and requires 'at' property to be a date-time with a UTC designator or offset."
                ),
            ),
        ];
        for (text, message) in table {
            let refusal = sent(Some(mapping()), text).unwrap_err();
            assert_eq!(refusal.message, message, "{text}");
            assert_eq!(refusal.detail, "InputJsonInvalid", "{text}");
        }
    }

    #[test]
    fn section_2_8_in_a_domain_the_mapping_names_the_topic() {
        let route = Route::Domain(DOMAIN.into());
        let with_topic = Mapping {
            topic: Some("to".into()),
            ..Mapping::default()
        };
        let input = InputSchema::Custom(Some(with_topic));
        let events = read(&input, &route, &[], r#"[{"to":"foo"}]"#).unwrap();
        assert_eq!(&*events[0].topic, format!("{DOMAIN}/topics/foo"));
        let refusal = read(&input, &route, &[], "[{}]").unwrap_err();
        assert!(
            refusal
                .message
                .ends_with("requires 'topic' property to be set.")
        );
    }

    #[test]
    fn a_batch_cannot_grow_beyond_what_is_kept_at_once() {
        let everywhere = field(Some("x"), None);
        let greedy = Mapping {
            id: Some("x".into()),
            event_type: everywhere.clone(),
            subject: everywhere.clone(),
            data_version: everywhere,
            ..Mapping::default()
        };
        let body = format!(r#"[{{"x":"{}"}}]"#, "x".repeat(1_000_000));
        assert!(sent(Some(greedy.clone()), &body).is_ok());
        let two = format!(r#"{{"x":"{}"}}"#, "x".repeat(700_000));
        let refusal = sent(Some(greedy), &format!("[{two},{two}]")).unwrap_err();
        assert_eq!(refusal.status, 413);
    }
}
