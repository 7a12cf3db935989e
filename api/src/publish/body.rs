//! Reading a published body in the Event Grid schema.
//!
//! Promise: the text is walked once, strings are borrowed from it and `data` is never taken apart. What is wrong is
//! told in the words of the real service, checks in its order. Nothing is accepted in part.
//! Source: reference event-grid 1.1, 2.6, 2.7.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use gridpost_model::event::NewEvent;
use gridpost_model::{Event, ResourceId, Timestamp};
use http::StatusCode;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::PublishRefusal;

/// The limit of one event, as the real service has it.
const MAX_EVENT_BYTES: usize = 1_049_600;

/// The documented limit of a batch.
const MAX_EVENTS: usize = 5_000;

const SCHEMA: &str = "EventGridEvent";

/// The events of a body, complete and stamped with the topic, or the first thing that is wrong.
pub(super) fn read(
    body: &[u8],
    topic: &ResourceId,
    now: Timestamp,
) -> Result<Vec<Event>, PublishRefusal> {
    match Token::first_of(body) {
        None => return Err(invalid("Unexpected end when reading JSON.")),
        Some(Token::StartArray) => (),
        Some(other) => return Err(wrong_token(Token::StartArray, other)),
    }
    let elements: Vec<Element<'_>> = serde_json::from_slice(body).map_err(|e| unreadable(&e))?;
    if elements.is_empty() {
        return Err(invalid(does_not_conform()));
    }
    if elements.len() > MAX_EVENTS {
        let message = format!("The maximum number of events ({MAX_EVENTS}) has been exceeded.");
        return Err(PublishRefusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLarge",
            message,
        ));
    }
    check_sizes(body)?;
    let topic_text = topic.shared();
    elements
        .iter()
        .map(|element| element.to_event(&topic_text, now))
        .collect()
}

/// No event can be too large in a body that is not, so the common case costs nothing.
fn check_sizes(body: &[u8]) -> Result<(), PublishRefusal> {
    if body.len() <= MAX_EVENT_BYTES {
        return Ok(());
    }
    let texts: Vec<&RawValue> = serde_json::from_slice(body).map_err(|e| unreadable(&e))?;
    if texts.iter().any(|text| text.get().len() > MAX_EVENT_BYTES) {
        return Err(too_large(MAX_EVENT_BYTES));
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
    fn to_event(&self, topic: &Arc<str>, now: Timestamp) -> Result<Event, PublishRefusal> {
        if let Some(token) = self.not_an_object {
            return Err(wrong_token(Token::StartObject, token));
        }
        if let Some(property) = &self.unexpected {
            return Err(unexpected(property));
        }
        let new = NewEvent {
            id: self.id.filled("id")?,
            topic,
            subject: self.subject.required("subject")?,
            event_type: self.event_type.filled("eventType")?,
            event_time: self.event_time.filled("eventTime")?,
            data_version: self.data_version.optional()?.unwrap_or_default(),
            data: self.data.unwrap_or(RawValue::NULL),
        };
        check_time(new.event_time)?;
        check_metadata_version(self.metadata_version.optional()?)?;
        check_topic(self.topic.optional()?, topic)?;
        Event::event_grid(&new, now).map_err(|_| invalid(does_not_conform()))
    }
}

fn check_time(text: &str) -> Result<(), PublishRefusal> {
    if text.parse::<Timestamp>().is_ok() {
        return Ok(());
    }
    Err(invalid(format!(
        "This resource is configured for '{SCHEMA}' schema and requires 'eventTime' property to be a date-time with a UTC designator or offset."
    )))
}

fn check_metadata_version(version: Option<&str>) -> Result<(), PublishRefusal> {
    match version {
        None | Some("1") => Ok(()),
        Some(other) => Err(invalid(format!(
            "Property 'metadataVersion' was found to be set to '{other}', but was expected to either be null or be set to 1."
        ))),
    }
}

/// A foreign topic is a question of permission to the real service, hence 401.
fn check_topic(given: Option<&str>, own: &str) -> Result<(), PublishRefusal> {
    match given {
        Some(other) if !other.eq_ignore_ascii_case(own) => Err(PublishRefusal::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            format!(
                "Property 'topic' was found to be set to '{other}', but was expected to either be null or be set to '{own}'."
            ),
        )),
        _ => Ok(()),
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

fn skip<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A property's name, borrowed unless it is escaped.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A property that should be a string.
#[derive(Default)]
enum Field<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Other(Token),
}

impl Field<'_> {
    fn optional(&self) -> Result<Option<&str>, PublishRefusal> {
        match self {
            Self::Absent | Self::Other(Token::Null) => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Other(token) => Err(wrong_token(Token::String, *token)),
        }
    }

    fn required(&self, property: &str) -> Result<&str, PublishRefusal> {
        self.optional()?.ok_or_else(|| missing(property))
    }

    fn filled(&self, property: &str) -> Result<&str, PublishRefusal> {
        self.optional()?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| missing(property))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Boolean))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Integer))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Integer))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Float))
    }

    fn visit_unit<E: Error>(self) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Field<'de>, A::Error> {
        skip(seq)?;
        Ok(Field::Other(Token::StartArray))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other(Token::StartObject))
    }
}

/// What stands in a JSON text, by the names that messages use.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    StartObject,
    StartArray,
    String,
    Boolean,
    Integer,
    Float,
    Null,
}

impl Token {
    /// What a text begins with; `None` when there is nothing.
    fn first_of(text: &[u8]) -> Option<Self> {
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace())?;
        Some(match first {
            b'[' => Self::StartArray,
            b'{' => Self::StartObject,
            b'"' => Self::String,
            b't' | b'f' => Self::Boolean,
            b'n' => Self::Null,
            _ => Self::Integer,
        })
    }
}

fn unreadable(error: &serde_json::Error) -> PublishRefusal {
    if error.is_eof() {
        return invalid("Unexpected end when reading JSON.");
    }
    invalid(format!("{} {error}.", does_not_conform()))
}

fn does_not_conform() -> String {
    format!(
        "This resource is configured to receive event in '{SCHEMA}' schema. The JSON received does not conform to the expected schema."
    )
}

fn wrong_token(expected: Token, actual: Token) -> PublishRefusal {
    let text = does_not_conform();
    invalid(format!(
        "{text} Token Expected: {expected:?}, Actual Token Received: {actual:?}."
    ))
}

fn missing(property: &str) -> PublishRefusal {
    invalid(format!(
        "This resource is configured for '{SCHEMA}' schema and requires '{property}' property to be set."
    ))
}

fn unexpected(property: &str) -> PublishRefusal {
    invalid(format!(
        "This resource is configured for '{SCHEMA}' schema. Received unexpected property '{property}' in JSON which does not conform to the expected schema."
    ))
}

fn invalid(message: impl Into<String>) -> PublishRefusal {
    PublishRefusal::new(StatusCode::BAD_REQUEST, "InputJsonInvalid", message)
}

pub(super) fn too_large(limit: usize) -> PublishRefusal {
    let message = format!("The maximum size ({limit}) has been exceeded.");
    PublishRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/t";

    fn read_text(text: &str) -> Result<Vec<Event>, PublishRefusal> {
        read(
            text.as_bytes(),
            &TOPIC.parse().unwrap(),
            Timestamp::from_seconds(7),
        )
    }

    fn with(more: &str) -> String {
        format!(
            r#"[{{"id":"1","subject":"s","eventType":"t","eventTime":"2026-01-01T00:00:00Z"{more}}}]"#
        )
    }

    #[test]
    fn event_grid_1_1_missing_fields_are_stamped() {
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
    fn event_grid_2_6_refusals_have_the_words_of_the_service() {
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
    fn event_grid_2_7_sizes_and_counts_are_bounded() {
        let large = with(&format!(r#","data":"{}""#, "x".repeat(MAX_EVENT_BYTES)));
        let refusal = read_text(&large).unwrap_err();
        assert_eq!(
            refusal.message,
            "The maximum size (1049600) has been exceeded."
        );
        assert_eq!(refusal.status, StatusCode::PAYLOAD_TOO_LARGE);
        let fits = with(&format!(
            r#","data":"{}""#,
            "x".repeat(MAX_EVENT_BYTES - 200)
        ));
        assert!(read_text(&fits).is_ok());
        let many = format!("[{}]", vec!["{}"; MAX_EVENTS + 1].join(","));
        assert_eq!(
            read_text(&many).unwrap_err().status,
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }
}
