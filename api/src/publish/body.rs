//! Reading a published body by the topic's input schema.
//!
//! Promise: what is wrong is told in the words of the real service, checks in its order. Nothing is accepted in part,
//! and what publishers wrote is kept to the letter.
//! Not here: one file each for the schemas; where a batch came in (`route`).
//! Source: reference event-grid 1, 2.6, 2.7.

use gridpost_model::{Chance, Event, InputSchema, Timestamp};
use http::HeaderMap;
use serde_json::value::RawValue;

use self::json::Token;
use self::words::{Words, too_large};
use super::route::Route;
use crate::problem::PublishRefusal;

mod array;
mod binary;
mod cloud_events;
mod custom;
mod event_grid;
mod json;
pub(super) mod words;

/// The limit of a whole body, as the real service has it.
const BODY_BYTES: usize = 1_536_000;

/// The limit of one event, as the real service has it.
const EVENT_BYTES: usize = 1_049_600;

/// The documented limit of a batch.
const EVENTS: usize = 5_000;

/// What a publisher may send at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A whole body, in bytes.
    pub body_bytes: usize,
    /// One event, in bytes.
    pub event_bytes: usize,
    /// The events of one body.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_BYTES,
            event_bytes: EVENT_BYTES,
            events: EVENTS,
        }
    }
}

/// What a batch is read with.
pub(super) struct Reading<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) route: &'a Route,
    pub(super) limits: &'a Limits,
    pub(super) now: Timestamp,
    pub(super) chance: &'a dyn Chance,
}

impl Reading<'_> {
    /// The events of a body, complete and stamped, or the first thing that is wrong.
    pub(super) fn events(
        &self,
        input: &InputSchema,
        body: &[u8],
    ) -> Result<Vec<Event>, PublishRefusal> {
        match input {
            InputSchema::EventGrid => event_grid::read(body, self.route, self.limits, self.now),
            InputSchema::CloudEvents => cloud_events::read(self, body),
            InputSchema::Custom(mapping) => custom::read(self, mapping.as_ref(), body),
        }
    }

    /// The elements of an array: objects, each as it is written and none too large.
    fn elements<'b>(
        &self,
        words: Words,
        body: &'b [u8],
    ) -> Result<Vec<&'b RawValue>, PublishRefusal> {
        array::read(words, body, self.limits.events, |element: &&RawValue| {
            check_is_object(element.get(), words)?;
            self.check_size(element.get())
        })
    }

    fn check_size(&self, event: &str) -> Result<(), PublishRefusal> {
        if event.len() > self.limits.event_bytes {
            return Err(too_large(self.limits.event_bytes));
        }
        Ok(())
    }
}

/// What stands in place of an event.
fn check_is_object(event: &str, words: Words) -> Result<(), PublishRefusal> {
    match Token::first_of(event.as_bytes()) {
        Some(Token::StartObject) => Ok(()),
        Some(other) => Err(words.wrong_token(Token::StartObject, other)),
        None => Err(Words::ends_early()),
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(super) const TOPIC: &str =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/t";
    pub(super) const DOMAIN: &str =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/domains/d";

    /// Every identifier it makes is the same.
    struct Zeros;

    impl Chance for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    pub(super) fn read(
        input: &InputSchema,
        route: &Route,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Result<Vec<Event>, PublishRefusal> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let reading = Reading {
            headers: &headers,
            route,
            limits: &Limits::default(),
            now: "2026-11-22T00:00:00Z".parse().unwrap(),
            chance: &Zeros,
        };
        reading.events(input, body.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{TOPIC, read};
    use super::*;

    const PLAIN: &[(&str, &str)] = &[("content-type", "application/json")];
    const STRUCTURED: &[(&str, &str)] = &[("content-type", "application/cloudevents+json")];
    const BATCHED: &[(&str, &str)] = &[("content-type", "application/cloudevents-batch+json")];
    const BINARY: &[(&str, &str)] = &[
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-type", "t"),
        ("ce-source", "/s"),
        ("ce-id", "1"),
    ];

    #[test]
    fn a_body_that_is_not_utf_8_is_unreadable_wherever_it_is_not() {
        use InputSchema::{CloudEvents, EventGrid};
        let custom = InputSchema::Custom(None);
        // Around the members that are tried; a tilde in a member is where the odd bytes go.
        let grid = r#"[{"id":"1","subject":"s","eventType":"t","eventTime":"2026-01-01T00:00:00Z",MEMBER}]"#;
        let cloud = r#"{"id":"1","source":"/s","type":"t","specversion":"1.0",MEMBER}"#;
        let clouds = &format!("[{cloud}]");
        let in_data = [
            r#""data":"~""#,
            r#""data":{"a":["~"]}"#,
            r#""data":{"~":1}"#,
        ];
        let in_cloud = [r#""own":"~""#, r#""own":{"a":"~"}"#, r#""subject":"~""#];
        let in_traceparent = [r#""traceparent":{"~":1}"#];
        let in_custom = [r#""own":"~""#, r#""own":{"a":["~"]}"#, r#""~":1"#];
        let in_cloud = [&in_data[..], &in_cloud, &in_traceparent].concat();
        let table = [
            (&EventGrid, PLAIN, grid, &in_data[..]),
            (&CloudEvents, STRUCTURED, cloud, &in_cloud),
            (&CloudEvents, STRUCTURED, clouds, &in_cloud),
            (&CloudEvents, BATCHED, clouds, &in_cloud),
            (&CloudEvents, PLAIN, cloud, &in_cloud),
            (&CloudEvents, BINARY, "{MEMBER}", &in_custom),
            (&custom, PLAIN, "[{MEMBER}]", &in_custom),
        ];
        // No byte of UTF-8, a character cut off, one longer than needed, half of a pair.
        let odd: [&[u8]; 4] = [b"\xff", b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80"];
        let route = Route::Topic(TOPIC.into());
        for (input, headers, whole, members) in table {
            for member in members {
                let text = whole.replace("MEMBER", member);
                let (before, after) = text.split_once('~').unwrap();
                let sent = |bytes: &[u8]| {
                    let body = [before.as_bytes(), bytes, after.as_bytes()].concat();
                    read(input, &route, headers, body)
                };
                assert!(sent("é".as_bytes()).is_ok(), "{text}");
                for bytes in odd {
                    let refusal = sent(bytes).unwrap_err();
                    assert_eq!(refusal.status, http::StatusCode::BAD_REQUEST, "{text}");
                    assert_eq!(refusal.detail, "InputJsonInvalid", "{text}");
                    let why = "does not conform to the expected schema. invalid unicode code point";
                    assert!(refusal.message.contains(why), "{text}: {}", refusal.message);
                }
            }
        }
    }
}
