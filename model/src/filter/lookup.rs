//! The value at a key path of an event: what filters compare and what delivery attributes carry.
//!
//! Promise: an event's JSON is read when a key asks for it and only as deep as keys reach, each object at most once per
//! [`Content`]; keys of the Event Grid envelope never read it. Any depth of nesting is found. A name that is written
//! twice in an object counts as last written.
//! Not here: what is done with the value (`clause`).
//! Source: reference event-grid 3.5, trap 20. Names compare exactly first, and when there is none, without ASCII case.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::{Event, EventSchema};

/// Names that older documentation gives the attributes of CloudEvents.
const OLD_ATTRIBUTES: [(&str, &str); 3] = [
    ("eventid", "id"),
    ("eventtype", "type"),
    ("eventtypeversion", "dataschema"),
];

/// Names of the Event Grid envelope that can be asked for.
const ENVELOPE: [&str; 5] = ["subject", "eventType", "id", "topic", "dataVersion"];

/// Whether an event in the Event Grid schema has this key without reading its JSON.
pub fn is_in_envelope(key: &str) -> bool {
    ENVELOPE.iter().any(|name| name.eq_ignore_ascii_case(key))
}

/// The value at a key of an event, or `None` when it has none; `null` is a value.
///
/// For a custom event `data` is the publisher's whole object, and the keys of the envelope are what its mapping says.
pub fn value_at(event: &Event, key: &str) -> Option<serde_json::Value> {
    match Content::of(event).place(key)? {
        Place::Text(text) => Some(text.into()),
        Place::Json { raw, .. } => serde_json::from_str(raw).ok(),
    }
}

/// An event, and what was read of its JSON so far.
pub struct Content<'e> {
    event: &'e Event,
    root: OnceCell<Node<'e>>,
}

/// What a key found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<'c> {
    /// Whether there was anything.
    pub shape: Shape,
    /// What can be compared: the value, or the elements of an array. None of an object.
    pub scalars: SmallVec<[Scalar<'c>; 1]>,
}

/// What kind of thing a key found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Missing,
    /// `null`.
    Null,
    /// A value that is no array.
    One,
    /// An array.
    Many,
}

/// A value that an operator can compare.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'c> {
    /// A boolean.
    Bool(bool),
    /// A number. The service compares doubles.
    Number(f64),
    /// A string, folded for comparing without case.
    Text(Cow<'c, str>),
}

/// Where a value stands.
enum Place<'c> {
    /// In the event's envelope.
    Text(&'c str),
    /// In its JSON.
    Json {
        raw: &'c str,
        /// Whether it is a context attribute of a CloudEvent.
        is_attribute: bool,
    },
}

impl<'e> Content<'e> {
    /// The content of an event, of which nothing was read yet.
    pub fn of(event: &'e Event) -> Self {
        Self {
            event,
            root: OnceCell::new(),
        }
    }

    /// Whether a key has asked for the event's JSON.
    pub fn is_read(&self) -> bool {
        self.root.get().is_some()
    }

    /// What can be compared at a key.
    pub fn find(&self, key: &str) -> Found<'_> {
        match self.place(key) {
            None => Found::nothing(Shape::Missing),
            Some(Place::Text(text)) => Found::one(Scalar::Text(fold(text))),
            Some(Place::Json { raw, is_attribute }) => Found::read(raw, is_attribute),
        }
    }

    fn place(&self, key: &str) -> Option<Place<'_>> {
        let (first, rest) = match key.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (key, None),
        };
        let is_data = first.eq_ignore_ascii_case("data");
        match self.event.schema {
            _ if is_data => self.root().member("data")?.walk(rest),
            EventSchema::EventGrid => self.envelope(key),
            // Not documented: a key that is none of the envelope's is looked for in the publisher's object.
            EventSchema::Custom => self
                .envelope(key)
                .or_else(|| self.root().member("data")?.walk(Some(key))),
            EventSchema::CloudEvents if rest.is_none() => {
                self.attribute(key)?.walk(None).map(Place::of_attribute)
            }
            EventSchema::CloudEvents => self.attribute(first)?.walk(rest),
        }
    }

    /// The Event Grid envelope, which needs no reading.
    fn envelope(&self, key: &str) -> Option<Place<'_>> {
        let event = self.event;
        let fields: [&str; 5] = [
            &event.subject,
            &event.event_type,
            &event.id,
            &event.topic,
            &event.data_version,
        ];
        let field = ENVELOPE
            .iter()
            .position(|name| name.eq_ignore_ascii_case(key));
        field.map(|place| Place::Text(fields[place]))
    }

    fn attribute(&self, name: &str) -> Option<&Node<'e>> {
        let old = || {
            let old = OLD_ATTRIBUTES
                .iter()
                .find(|(old, _)| old.eq_ignore_ascii_case(name));
            old.and_then(|(_, new)| self.root().member(new))
        };
        self.root().member(name).or_else(old)
    }

    fn root(&self) -> &Node<'e> {
        // Publishers' bodies were checked; anything else has no members.
        self.root
            .get_or_init(|| Node::new(std::str::from_utf8(&self.event.json).unwrap_or_default()))
    }
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Content");
        shown.field("event", &self.event.id);
        shown.field("is_read", &self.is_read()).finish()
    }
}

impl Place<'_> {
    fn of_attribute(self) -> Self {
        match self {
            Self::Json { raw, .. } => Self::Json {
                raw,
                is_attribute: true,
            },
            text @ Self::Text(_) => text,
        }
    }
}

impl<'c> Found<'c> {
    fn nothing(shape: Shape) -> Self {
        Self {
            shape,
            scalars: SmallVec::new(),
        }
    }

    fn one(scalar: Scalar<'c>) -> Self {
        let mut found = Self::nothing(Shape::One);
        found.scalars.push(scalar);
        found
    }

    fn read(raw: &'c str, is_attribute: bool) -> Self {
        let mut found = Self::nothing(Shape::One);
        match raw.as_bytes().first() {
            Some(b'n') => found.shape = Shape::Null,
            Some(b'[') => {
                found.shape = Shape::Many;
                let elements: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
                let scalars = elements.iter().filter_map(|one| Scalar::read(one.get()));
                found.scalars.extend(scalars);
            }
            _ => {
                found.scalars.extend(Scalar::read(raw));
                // The attributes of a CloudEvent are typed, and each has a form as text: the documentation's own
                // sample asks a number among them what it begins with.
                if is_attribute && !matches!(found.scalars.first(), None | Some(Scalar::Text(_))) {
                    found.scalars.push(Scalar::Text(Cow::Borrowed(raw)));
                }
            }
        }
        found
    }
}

impl<'c> Scalar<'c> {
    fn read(raw: &'c str) -> Option<Self> {
        match raw.as_bytes().first()? {
            b't' => Some(Self::Bool(true)),
            b'f' => Some(Self::Bool(false)),
            b'"' => Some(Self::Text(read_text(raw))),
            b'n' | b'[' | b'{' => None,
            _ => raw.parse().ok().map(Self::Number),
        }
    }
}

/// A string, folded.
fn read_text(raw: &str) -> Cow<'_, str> {
    match serde_json::from_str::<Text<'_>>(raw) {
        Ok(Text(Cow::Borrowed(text))) => fold(text),
        Ok(Text(Cow::Owned(text))) => Cow::Owned(fold(&text).into_owned()),
        // JSON can write half a character, which is no text to us: it compares as it is written.
        Err(_) => fold(raw.trim_matches('"')),
    }
}

/// A text in the form in which texts compare without case: every character in lower case by itself, so that the
/// beginning of a text is the beginning of its folded form.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().flat_map(char::to_lowercase).collect())
}

/// A value of the JSON. What is in an object is read when somebody asks for a member, and kept.
struct Node<'e> {
    raw: &'e str,
    members: OnceCell<Members<'e>>,
}

impl<'e> Node<'e> {
    fn new(raw: &'e str) -> Self {
        Self {
            raw,
            members: OnceCell::new(),
        }
    }

    fn walk(&self, path: Option<&str>) -> Option<Place<'_>> {
        let mut node = self;
        for name in path.into_iter().flat_map(|path| path.split('.')) {
            node = node.member(name)?;
        }
        Some(Place::Json {
            raw: node.raw,
            is_attribute: false,
        })
    }

    fn member(&self, name: &str) -> Option<&Self> {
        let members = self
            .members
            .get_or_init(|| serde_json::from_str(self.raw).unwrap_or_default());
        let mut from_last = members.0.iter().rev();
        let exact = from_last.find(|(found, _)| found == name);
        let folded = || {
            let mut from_last = members.0.iter().rev();
            from_last.find(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        exact.or_else(folded).map(|(_, node)| node)
    }
}

#[derive(Default)]
struct Members<'e>(Vec<(Cow<'e, str>, Node<'e>)>);

/// A string that stands in the JSON as it is, as nearly all do, is not copied.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'e>(#[serde(borrow)] Cow<'e, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(Text(name)) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    members.0.push((name, Node::new(value.get())));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Timestamp;

    fn event(schema: EventSchema, json: &str) -> Event {
        Event {
            schema,
            id: "1".into(),
            topic: "/t".into(),
            event_type: "Orders.Created".into(),
            subject: "/orders/1".into(),
            data_version: "2".into(),
            published: Timestamp::EPOCH,
            trace: None,
            json: bytes::Bytes::copy_from_slice(json.as_bytes()),
        }
    }

    #[test]
    fn section_3_5_the_keys_of_an_event_grid_event() {
        let json = r#"{"id":"json","subject":"json","eventTime":"t",
            "data":{"Kind":"a","kind":"b","deep":{"er":{"n":1.50}},"list":[1],"nothing":null,"twice":1,"twice":2}}"#;
        let event = event(EventSchema::EventGrid, json);
        for (key, expected) in [
            ("id", Some(json!("1"))),
            ("ID", Some(json!("1"))),
            ("topic", Some(json!("/t"))),
            ("Subject", Some(json!("/orders/1"))),
            ("eventtype", Some(json!("Orders.Created"))),
            ("dataVersion", Some(json!("2"))),
            ("data.Kind", Some(json!("a"))),
            ("Data.kind", Some(json!("b"))),
            ("data.KIND", Some(json!("b"))),
            ("data.deep.er.n", Some(json!(1.5))),
            ("data.Deep.ER", Some(json!({"n": 1.5}))),
            ("data.list", Some(json!([1]))),
            ("data.nothing", Some(json!(null))),
            ("data.twice", Some(json!(2))),
            ("data.none", None),
            ("data.list.0", None),
            ("data.deep.er.n.more", None),
            ("kind", None),
            ("eventTime", None),
            ("", None),
            ("subject.x", None),
        ] {
            assert_eq!(value_at(&event, key), expected, "{key}");
        }
    }

    #[test]
    fn section_3_5_the_keys_of_a_cloud_event_old_names_included() {
        let json = r##"{"id":"9","source":"/s","type":"T","specversion":"1.0","subject":null,"dataschema":"#1",
            "time":"2026-01-01T00:00:00Z","extra":5,"data":{"a":{"b":true}}}"##;
        let event = event(EventSchema::CloudEvents, json);
        for (key, expected) in [
            ("id", Some(json!("9"))),
            ("eventid", Some(json!("9"))),
            ("source", Some(json!("/s"))),
            ("Type", Some(json!("T"))),
            ("eventType", Some(json!("T"))),
            ("eventtypeversion", Some(json!("#1"))),
            ("specversion", Some(json!("1.0"))),
            ("subject", Some(json!(null))),
            ("time", Some(json!("2026-01-01T00:00:00Z"))),
            ("extra", Some(json!(5))),
            ("data.a.b", Some(json!(true))),
            ("topic", None),
            ("a.b", None),
        ] {
            assert_eq!(value_at(&event, key), expected, "{key}");
        }
    }

    #[test]
    fn section_3_5_data_of_a_custom_event_is_its_whole_object() {
        let json = r#"{"id":"1","data":{"kind":"k","data":{"x":1}}}"#;
        let event = event(EventSchema::Custom, json);
        for (key, expected) in [
            ("data.kind", Some(json!("k"))),
            ("data.data.x", Some(json!(1))),
            ("data.x", None),
            ("kind", Some(json!("k"))),
            ("subject", Some(json!("/orders/1"))),
            ("data", Some(json!({"kind": "k", "data": {"x": 1}}))),
        ] {
            assert_eq!(value_at(&event, key), expected, "{key}");
        }
    }

    #[test]
    fn keys_of_the_envelope_do_not_read_the_json() {
        let event = event(EventSchema::EventGrid, r#"{"data":{"a":1}}"#);
        let content = Content::of(&event);
        content.find("subject");
        content.find("nonsense");
        assert!(!content.is_read());
        assert_eq!(content.find("data.a"), Found::one(Scalar::Number(1.0)));
        assert!(content.is_read());
    }

    #[test]
    fn what_can_be_compared() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let json = format!(
            r#"{{"data":{{"s":"ÄB","e":"\u0041","half":"\ud800X","n":-1e2,"o":{{}},"l":["A",1,true,null,[2],{{}}],"deep":{deep}}}}}"#
        );
        let event = event(EventSchema::EventGrid, &json);
        let content = Content::of(&event);
        assert_eq!(content.find("data.s").scalars[..], [text("äb")]);
        assert_eq!(content.find("data.e").scalars[..], [text("a")]);
        assert_eq!(content.find("data.half").scalars[..], [text("\\ud800x")]);
        assert_eq!(content.find("data.n").scalars[..], [Scalar::Number(-100.0)]);
        assert_eq!(content.find("data.o"), Found::nothing(Shape::One));
        let mixed = [text("a"), Scalar::Number(1.0), Scalar::Bool(true)];
        assert_eq!(content.find("data.l").scalars[..], mixed);
        assert_eq!(content.find("data.deep"), Found::nothing(Shape::Many));
    }

    fn text(text: &str) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(text))
    }

    #[test]
    fn trap_19_a_number_among_attributes_is_a_text_too() {
        let event = event(
            EventSchema::CloudEvents,
            r#"{"extra":5,"data":{"extra":5}}"#,
        );
        let content = Content::of(&event);
        let both = [Scalar::Number(5.0), text("5")];
        assert_eq!(content.find("extra").scalars[..], both);
        assert_eq!(
            content.find("data.extra").scalars[..],
            [Scalar::Number(5.0)]
        );
    }

    #[test]
    fn what_is_no_json_has_no_values() {
        for json in ["", "[]", "{\"data\":", "\u{0}"] {
            let event = event(EventSchema::EventGrid, json);
            assert_eq!(value_at(&event, "data"), None, "{json}");
        }
    }
}
