//! Published bodies: what is accepted is kept to the letter, can be read back, and goes out in every schema it may.

use std::collections::HashMap;
use std::sync::Arc;

use gridpost_model::subscription::DeliverySchema;
use gridpost_model::{Event, EventSchema, InputSchema, Mapping};
use http::{HeaderMap, HeaderValue, header};
use serde_json::value::RawValue;

use super::super::body::{Limits, Reading};
use super::super::route::Route;
use super::{DOMAIN, NOW, TOPIC, Zeros, headers, line};
use crate::problem::PublishRefusal;

/// A line of three digits (schema, topic or domain, usual or narrow limits), the headers of a request, an empty line,
/// its body. Of a schema with a mapping, the mapping is a line of its own before the headers.
pub fn publish_bodies(input: &[u8]) {
    let (knobs, rest) = line(input);
    let [schema, place, limits] = *knobs else {
        return;
    };
    let (input, rest) = match schema {
        b'0' => (InputSchema::EventGrid, rest),
        b'1' => (InputSchema::CloudEvents, rest),
        b'2' => (InputSchema::Custom(None), rest),
        _ => {
            let (mapping, rest) = line(rest);
            let mapping = serde_json::from_slice::<Mapping>(mapping).ok();
            // What a topic does not take is not tried.
            let mapping = mapping.filter(|mapping| mapping.check().is_ok());
            (InputSchema::Custom(mapping), rest)
        }
    };
    let route = if place == b'0' {
        Route::Topic(TOPIC.into())
    } else {
        Route::Domain(DOMAIN.into())
    };
    let (headers, body) = headers(rest);
    let published = Published {
        input,
        headers,
        route,
        body,
    };
    let limits = if limits == b'0' {
        Limits::default()
    } else {
        NARROW
    };
    match published.events(&limits) {
        Ok(events) => published.is_kept(&events),
        Err(refusal) => assert!(
            matches!(refusal.status.as_u16(), 400 | 401 | 413 | 415) && !refusal.message.is_empty(),
            "{refusal:?}"
        ),
    }
}

const NARROW: Limits = Limits {
    body_bytes: 1000,
    event_bytes: 200,
    events: 2,
};

struct Published<'a> {
    input: InputSchema,
    headers: HeaderMap,
    route: Route,
    body: &'a [u8],
}

impl Published<'_> {
    fn events(&self, limits: &Limits) -> Result<Vec<Event>, PublishRefusal> {
        let reading = Reading {
            headers: &self.headers,
            route: &self.route,
            limits,
            now: NOW,
            chance: &Zeros,
        };
        reading.events(&self.input, self.body)
    }

    fn is_kept(&self, events: &[Event]) {
        let written = self.written();
        assert_eq!(events.len(), written.len());
        for (event, written) in events.iter().zip(written) {
            assert_eq!(event.schema, self.input.schema());
            is_read_back(event);
            match event.schema {
                EventSchema::EventGrid => self.is_event_grid(event, written),
                EventSchema::CloudEvents => self.is_cloud_event(event, written),
                EventSchema::Custom => is_custom(event, written),
            }
            // A mapping may find no type, and no schema takes an event without one.
            if !event.event_type.is_empty() {
                goes_round(event);
            }
        }
    }

    /// The events as they stand in the body, by another reader than the one that is tried.
    fn written(&self) -> Vec<&RawValue> {
        let one = serde_json::from_slice::<&RawValue>(self.body).expect("it was accepted");
        if one.get().starts_with('[') && !self.is_binary() {
            serde_json::from_str(one.get()).expect("it was accepted")
        } else {
            vec![one]
        }
    }

    /// Whether what stands in the body is the data of one event, if it was accepted.
    fn is_binary(&self) -> bool {
        self.input == InputSchema::CloudEvents && self.headers.contains_key("ce-id")
    }

    fn is_event_grid(&self, event: &Event, written: &RawValue) {
        let (sent, kept) = (members(written.get()), members(text(&event.json)));
        for name in ["id", "subject", "eventType", "eventTime"] {
            assert_eq!(string(&sent, name), string(&kept, name), "{name}");
        }
        let data = sent.get("data").map_or("null", |data| data.get());
        assert_eq!(kept["data"].get(), data, "data is kept to the letter");
        assert_eq!(string(&kept, "topic").as_deref(), Some(&*event.topic));
        assert!(event.topic.starts_with(match self.route {
            Route::Topic(_) => TOPIC,
            Route::Domain(_) => DOMAIN,
        }));
        is_converted(event);
    }

    fn is_cloud_event(&self, event: &Event, written: &RawValue) {
        let kept = members(text(&event.json));
        if self.is_binary() {
            assert_eq!(kept["data"].get(), written.get());
        } else {
            assert_eq!(text(&event.json), written.get(), "it is kept to the letter");
        }
        assert_eq!(string(&kept, "specversion").as_deref(), Some("1.0"));
        assert_eq!(string(&kept, "id").as_deref(), Some(&*event.id));
        assert_eq!(string(&kept, "type").as_deref(), Some(&*event.event_type));
        let out = event.in_schema(DeliverySchema::CloudEvents);
        assert_eq!(out.expect("as it came"), event.json);
        assert!(event.in_schema(DeliverySchema::EventGrid).is_err());
    }
}

fn is_custom(event: &Event, written: &RawValue) {
    let own = event.in_schema(DeliverySchema::Custom);
    assert_eq!(text(&own.expect("it goes out")), written.get());
    assert_eq!(members(text(&event.json))["data"].get(), written.get());
    is_converted(event);
}

/// The conversion table: event-grid 1.5.
fn is_converted(event: &Event) {
    let cloud = event.in_schema(DeliverySchema::CloudEvents);
    let cloud = cloud.expect("it goes out");
    let (kept, cloud) = (members(text(&event.json)), members(text(&cloud)));
    let table = [
        ("id", "id"),
        ("topic", "source"),
        ("subject", "subject"),
        ("eventType", "type"),
        ("eventTime", "time"),
    ];
    for (grid, name) in table {
        assert_eq!(string(&kept, grid), string(&cloud, name), "{name}");
    }
    assert_eq!(string(&cloud, "specversion").as_deref(), Some("1.0"));
    assert_eq!(kept["data"].get(), cloud["data"].get());
    let version = string(&cloud, "dataschema");
    let version = version.as_deref().and_then(|text| text.strip_prefix('#'));
    assert_eq!(version.unwrap_or_default(), &*event.data_version);
}

/// Stored and read again it is the event it was.
fn is_read_back(event: &Event) {
    let again = Event::from_stored(event.schema, event.json.clone(), event.published);
    let again = again.expect("what was accepted is read back");
    assert_eq!(again.id, event.id);
    assert_eq!(again.subject, event.subject);
    assert_eq!(again.event_type, event.event_type);
    assert_eq!(again.data_version, event.data_version);
    assert_eq!(again.json, event.json);
    // A CloudEvent has its publisher's source in it, and not the topic of the domain.
    if event.schema != EventSchema::CloudEvents {
        assert_eq!(again.topic, event.topic);
    }
}

/// What goes out can be published again, and goes out as it did.
fn goes_round(event: &Event) {
    let once_more = |schema: DeliverySchema, input, content_type: &'static str| {
        let Ok(body) = event.in_schema(schema) else {
            return;
        };
        let whole = [b"[", &body[..], b"]"].concat();
        let again = Published {
            input,
            headers: HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(content_type),
            )]),
            route: Route::Topic(Arc::clone(&event.topic)),
            body: &whole,
        };
        let again = again.events(&Limits::default());
        let again = again.unwrap_or_else(|refusal| panic!("{refusal:?}: {}", text(&body)));
        assert_eq!(again.len(), 1);
        let out = again[0].in_schema(schema).expect("as it came");
        assert_eq!(text(&out), text(&body));
    };
    once_more(
        DeliverySchema::CloudEvents,
        InputSchema::CloudEvents,
        "application/cloudevents-batch+json",
    );
    once_more(
        DeliverySchema::EventGrid,
        InputSchema::EventGrid,
        "application/json",
    );
}

/// The members of an object, of two of one name the last.
fn members(object: &str) -> HashMap<String, &RawValue> {
    serde_json::from_str(object).expect("it is an object")
}

fn string(members: &HashMap<String, &RawValue>, name: &str) -> Option<String> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

fn text(json: &[u8]) -> &str {
    std::str::from_utf8(json).expect("it is text")
}
