//! Bodies in the Event Grid schema.
//!
//! Promise: the text is walked once, strings are borrowed from it and `data` is never taken apart.
//! Source: reference event-grid 1.1, 2.6, 2.7.

use std::borrow::Cow;
use std::fmt;

use gridpost_model::event::NewEvent;
use gridpost_model::{Event, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Field, Name, Token, skip};
use super::words::{Words, too_large};
use super::{Limits, array};
use crate::problem::PublishRefusal;
use crate::publish::route::Route;

const WORDS: Words = Words("EventGridEvent");

/// The events of a body, complete and stamped with the topic, or the first thing that is wrong.
pub(super) fn read(
    body: &[u8],
    route: &Route,
    limits: &Limits,
    now: Timestamp,
) -> Result<Vec<Event>, PublishRefusal> {
    let elements = array::read(WORDS, body, limits.events, Element::check_is_object)?;
    check_sizes(body, limits)?;
    elements
        .iter()
        .map(|element| element.to_event(route, now))
        .collect()
}

/// No event can be too large in a body that is not, so the common case costs nothing.
fn check_sizes(body: &[u8], limits: &Limits) -> Result<(), PublishRefusal> {
    if body.len() <= limits.event_bytes {
        return Ok(());
    }
    let texts: Vec<&RawValue> = serde_json::from_slice(body).map_err(|e| WORDS.unreadable(&e))?;
    if texts
        .iter()
        .any(|text| text.get().len() > limits.event_bytes)
    {
        return Err(too_large(limits.event_bytes));
    }
    Ok(())
}

/// One element of the array, as it stands in the text.
#[derive(Default)]
struct Element<'a> {
    /// What the element is, when it is not an object.
    not_an_object: Option<Token>,
    /// The first property that the schema does not know.
    unexpected: Option<Cow<'a, str>>,
    id: Field<'a>,
    topic: Field<'a>,
    subject: Field<'a>,
    event_type: Field<'a>,
    event_time: Field<'a>,
    data_version: Field<'a>,
    metadata_version: Field<'a>,
    data: Option<&'a RawValue>,
}

impl Element<'_> {
    fn check_is_object(&self) -> Result<(), PublishRefusal> {
        match self.not_an_object {
            None => Ok(()),
            Some(token) => Err(WORDS.wrong_token(Token::StartObject, token)),
        }
    }

    fn to_event(&self, route: &Route, now: Timestamp) -> Result<Event, PublishRefusal> {
        if let Some(property) = &self.unexpected {
            return Err(WORDS.unexpected(property));
        }
        let id = self.id.filled("id", WORDS)?;
        let subject = self.subject.required("subject", WORDS)?;
        let event_type = self.event_type.filled("eventType", WORDS)?;
        let event_time = self.event_time.filled("eventTime", WORDS)?;
        let data_version = self.data_version.optional(WORDS)?.unwrap_or_default();
        check_time(event_time)?;
        check_metadata_version(self.metadata_version.optional(WORDS)?)?;
        let new = NewEvent {
            id,
            topic: &route.topic(self.topic.optional(WORDS)?, WORDS)?,
            subject,
            event_type,
            event_time,
            data_version,
            data: self.data.unwrap_or(RawValue::NULL),
        };
        Event::event_grid(&new, now).map_err(|_| WORDS.no_event())
    }
}

fn check_time(text: &str) -> Result<(), PublishRefusal> {
    match text.parse::<Timestamp>() {
        Ok(_) => Ok(()),
        Err(_) => Err(WORDS.no_time("eventTime")),
    }
}

fn check_metadata_version(version: Option<&str>) -> Result<(), PublishRefusal> {
    match version {
        None | Some("1") => Ok(()),
        Some(other) => Err(Words::invalid(format!(
            "Property 'metadataVersion' was found to be set to '{other}', but was expected to either be null or be set to 1."
        ))),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Element<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element<'de>, A::Error> {
        let mut element = Element::default();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let field = match name.as_ref() {
                "id" => &mut element.id,
                "topic" => &mut element.topic,
                "subject" => &mut element.subject,
                "eventType" => &mut element.event_type,
                "eventTime" => &mut element.event_time,
                "dataVersion" => &mut element.data_version,
                "metadataVersion" => &mut element.metadata_version,
                "data" => {
                    element.data = Some(map.next_value()?);
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    element.unexpected.get_or_insert(name);
                    continue;
                }
            };
            *field = map.next_value()?;
        }
        Ok(element)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Element<'de>, A::Error> {
        skip(seq)?;
        not_an_object(Token::StartArray)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Element<'de>, E> {
        not_an_object(Token::String)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Element<'de>, E> {
        not_an_object(Token::Boolean)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Element<'de>, E> {
        not_an_object(Token::Integer)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Element<'de>, E> {
        not_an_object(Token::Integer)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Element<'de>, E> {
        not_an_object(Token::Float)
    }

    fn visit_unit<E: Error>(self) -> Result<Element<'de>, E> {
        not_an_object(Token::Null)
    }
}

fn not_an_object<'a, E>(token: Token) -> Result<Element<'a>, E> {
    Ok(Element {
        not_an_object: Some(token),
        ..Element::default()
    })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::{EVENT_BYTES, EVENTS};
    use super::*;

    const TOPIC: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/t";

    fn read_text(text: &str) -> Result<Vec<Event>, PublishRefusal> {
        let route = Route::Topic(TOPIC.into());
        read(
            text.as_bytes(),
            &route,
            &Limits::default(),
            Timestamp::from_seconds(7),
        )
    }

    fn with(more: &str) -> String {
        format!(
            r#"[{{"id":"1","subject":"s","eventType":"t","eventTime":"2026-01-01T00:00:00Z"{more}}}]"#
        )
    }

    #[test]
    fn section_1_1_missing_fields_are_stamped() {
        let events = read_text(&with("")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&events[0].json).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "id": "1", "topic": TOPIC, "subject": "s", "data": null, "eventType": "t",
                "dataVersion": "", "metadataVersion": "1", "eventTime": "2026-01-01T00:00:00Z",
            })
        );
        assert_eq!(events[0].published, Timestamp::from_seconds(7));
    }

    #[test]
    fn data_is_kept_to_the_letter() {
        let events = read_text(&with(
            r#","data":{ "b" :1.50,"a":"\u00e9"},"dataVersion":"2""#,
        ))
        .unwrap();
        let text = String::from_utf8(events[0].json.to_vec()).unwrap();
        assert!(
            text.contains(r#""data":{ "b" :1.50,"a":"\u00e9"}"#),
            "{text}"
        );
        assert_eq!(&*events[0].data_version, "2");
    }

    #[test]
    fn escaped_names_and_values_are_read() {
        let events = read_text(
            r#"[{"\u0069d":"a\"b","subject":"\/s","eventType":"t","eventTime":"2026-01-01T00:00:00+02:00"}]"#,
        )
        .unwrap();
        assert_eq!((&*events[0].id, &*events[0].subject), ("a\"b", "/s"));
    }

    #[test]
    fn section_2_6_refusals_have_the_words_of_the_service() {
        let conform = "This resource is configured to receive event in 'EventGridEvent' schema. \
                       The JSON received does not conform to the expected schema.";
        let own = "This resource is configured for 'EventGridEvent' schema";
        let table = [
            ("", "Unexpected end when reading JSON.".to_owned()),
            ("  ", "Unexpected end when reading JSON.".to_owned()),
            (
                r#"[{"id":"1""#,
                "Unexpected end when reading JSON.".to_owned(),
            ),
            ("[]", conform.to_owned()),
            (
                "{}",
                format!(
                    "{conform} Token Expected: StartArray, Actual Token Received: StartObject."
                ),
            ),
            (
                "[[1]]",
                format!(
                    "{conform} Token Expected: StartObject, Actual Token Received: StartArray."
                ),
            ),
            (
                "[null]",
                format!("{conform} Token Expected: StartObject, Actual Token Received: Null."),
            ),
            (
                "[{}]",
                format!("{own} and requires 'id' property to be set."),
            ),
            (
                r#"[{"id":"1","subject":null}]"#,
                format!("{own} and requires 'subject' property to be set."),
            ),
            (
                r#"[{"id":"1","subject":"","eventType":""}]"#,
                format!("{own} and requires 'eventType' property to be set."),
            ),
            (
                r#"[{"id":"1","subject":"","eventType":"t"}]"#,
                format!("{own} and requires 'eventTime' property to be set."),
            ),
            (
                r#"[{"id":5}]"#,
                format!("{conform} Token Expected: String, Actual Token Received: Integer."),
            ),
            (
                r#"[{"source":{"x":[]},"id":{}}]"#,
                format!(
                    "{own}. Received unexpected property 'source' in JSON which does not conform to the expected schema."
                ),
            ),
        ];
        for (text, message) in table {
            let refusal = read_text(text).unwrap_err();
            assert_eq!(refusal.message, message, "{text}");
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{text}");
            assert_eq!(refusal.detail, "InputJsonInvalid", "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_refused() {
        let text = with("").replace("00:00Z", "00:00");
        assert!(
            read_text(&text)
                .unwrap_err()
                .message
                .contains("'eventTime'")
        );
    }

    #[test]
    fn the_metadata_version_is_1_or_absent() {
        assert!(read_text(&with(r#","metadataVersion":"1""#)).is_ok());
        assert!(read_text(&with(r#","metadataVersion":null"#)).is_ok());
        assert!(read_text(&with(r#","metadataVersion":"2""#)).is_err());
    }

    #[test]
    fn a_foreign_topic_is_401() {
        assert!(read_text(&with(&format!(r#","topic":"{TOPIC}""#))).is_ok());
        let refusal = read_text(&with(r#","topic":"/subscriptions/other""#)).unwrap_err();
        assert_eq!(refusal.status, StatusCode::UNAUTHORIZED);
        assert_eq!(refusal.detail, "Unauthorized");
    }

    #[test]
    fn section_2_7_sizes_and_counts_are_bounded() {
        let large = with(&format!(r#","data":"{}""#, "x".repeat(EVENT_BYTES)));
        let refusal = read_text(&large).unwrap_err();
        assert_eq!(
            refusal.message,
            "The maximum size (1049600) has been exceeded."
        );
        assert_eq!(refusal.status, StatusCode::PAYLOAD_TOO_LARGE);
        let fits = with(&format!(r#","data":"{}""#, "x".repeat(EVENT_BYTES - 200)));
        assert!(read_text(&fits).is_ok());
        let many = format!("[{}]", vec!["{}"; EVENTS + 1].join(","));
        assert_eq!(
            read_text(&many).unwrap_err().status,
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }
}
