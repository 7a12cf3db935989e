//! CloudEvents whose attributes are headers around the data.
//!
//! Promise: headers and data become the object that the same event would be in the structured mode; the data is kept
//! to the letter.
//! Source: reference event-grid 1.2, 2.6, and the HTTP binding of CloudEvents 1.0.

use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode;
use serde::ser::{Error as _, SerializeMap as _, Serializer as _};
use serde_json::value::RawValue;

use super::cloud_events::WORDS;
use super::words::Words;
use crate::problem::PublishRefusal;

/// In the order in which the service misses them.
const REQUIRED: [&str; 4] = ["ce-specversion", "ce-type", "ce-source", "ce-id"];

/// Whether a request means to be in binary mode: any of the required attributes is a header.
pub(super) fn is_meant(headers: &HeaderMap) -> bool {
    REQUIRED.iter().any(|name| headers.contains_key(*name))
}

/// The request as one object.
pub(super) fn object(headers: &HeaderMap, body: &[u8]) -> Result<String, PublishRefusal> {
    for name in REQUIRED {
        match headers.get(name) {
            Some(value) if !value.is_empty() => (),
            Some(_) => return Err(refused(name, "empty")),
            None => return Err(refused(name, "missing")),
        }
    }
    if body.trim_ascii().is_empty() {
        return Err(Words::ends_early());
    }
    let data: &RawValue = serde_json::from_slice(body).map_err(|e| WORDS.unreadable(&e))?;
    let attributes = attributes(headers)?;
    written(headers, &attributes, data).map_err(|e| WORDS.unreadable(&e))
}

/// Names without their prefix, and values. A header that comes again does not count.
fn attributes(headers: &HeaderMap) -> Result<Vec<(&str, String)>, PublishRefusal> {
    let mut found = Vec::new();
    for name in headers.keys() {
        let (Some(attribute), Some(value)) = (name.as_str().strip_prefix("ce-"), headers.get(name))
        else {
            continue;
        };
        let value = percent_decode(value.as_bytes()).decode_utf8();
        let value = value.map_err(|_| refused(name.as_str(), "not valid UTF-8"))?;
        found.push((attribute, value.into_owned()));
    }
    Ok(found)
}

fn written(
    headers: &HeaderMap,
    attributes: &[(&str, String)],
    data: &RawValue,
) -> Result<String, serde_json::Error> {
    let mut text = Vec::with_capacity(data.get().len() + 256);
    let mut writer = serde_json::Serializer::new(&mut text);
    let mut object = writer.serialize_map(None)?;
    // `data` is no attribute, and a header cannot be it.
    for (name, value) in attributes.iter().filter(|(name, _)| *name != "data") {
        object.serialize_entry(name, value)?;
    }
    if !headers.contains_key("ce-datacontenttype") {
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        object.serialize_entry("datacontenttype", &content_type)?;
    }
    object.serialize_entry("data", data)?;
    object.end()?;
    String::from_utf8(text).map_err(serde_json::Error::custom)
}

fn refused(header: &str, what: &str) -> PublishRefusal {
    PublishRefusal::new(
        StatusCode::BAD_REQUEST,
        "InvalidCloudEventHeader",
        format!(
            "{header} header is {what} for the cloud event. Please check required attributes at https://github.com/cloudevents/spec/blob/v1.0/spec.md#required-attributes"
        ),
    )
}

#[cfg(test)]
mod tests {
    use gridpost_model::{Event, InputSchema};
    use serde_json::{Value, json};

    use super::super::Route;
    use super::super::testing::{TOPIC, read};
    use super::*;

    const PLAIN: [(&str, &str); 5] = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-type", "t"),
        ("ce-source", "/s"),
        ("ce-id", "1"),
    ];

    fn sent(headers: &[(&str, &str)], body: &str) -> Result<Event, PublishRefusal> {
        let route = Route::Topic(TOPIC.into());
        let events = read(&InputSchema::CloudEvents, &route, headers, body)?;
        Ok(events.into_iter().next().unwrap())
    }

    #[test]
    fn section_1_2_headers_around_data_become_an_object() {
        let more = [
            ("ce-subject", "caf%C3%A9 100%25"),
            ("ce-time", "2026-01-01T00:00:00Z"),
            ("ce-traceparent", "00-a"),
            ("x-other", "no"),
        ];
        let event = sent(&[&PLAIN[..], &more].concat(), r#" {"n":1.50} "#).unwrap();
        let object: Value = serde_json::from_slice(&event.json).unwrap();
        assert_eq!(
            object,
            json!({
                "specversion": "1.0", "type": "t", "source": "/s", "id": "1", "subject": "café 100%",
                "time": "2026-01-01T00:00:00Z", "traceparent": "00-a",
                "datacontenttype": "application/json", "data": {"n": 1.5},
            })
        );
        assert!(event.json.ends_with(br#""data":{"n":1.50}}"#));
        assert_eq!((&*event.id, &*event.event_type), ("1", "t"));
    }

    #[test]
    fn section_2_6_a_missing_header_is_named() {
        for (at, (name, _)) in PLAIN.iter().enumerate().skip(1) {
            let mut headers = PLAIN.to_vec();
            headers.remove(at);
            let refusal = sent(&headers, "1").unwrap_err();
            assert_eq!(refusal.detail, "InvalidCloudEventHeader");
            assert_eq!(
                refusal.message,
                format!(
                    "{name} header is missing for the cloud event. Please check required attributes at https://github.com/cloudevents/spec/blob/v1.0/spec.md#required-attributes"
                )
            );
            headers.insert(at, (name, ""));
            let refusal = sent(&headers, "1").unwrap_err();
            assert!(
                refusal
                    .message
                    .starts_with(&format!("{name} header is empty"))
            );
        }
    }

    #[test]
    fn section_1_2_what_binary_mode_does_not_take() {
        let with_type = |content_type| {
            let mut headers = PLAIN.to_vec();
            headers[0].1 = content_type;
            sent(&headers, "1").unwrap_err()
        };
        assert_eq!(
            with_type("text/plain").status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
        let conflict = with_type("application/cloudevents+json");
        assert!(conflict.message.starts_with("Conflicting content mode"));
        assert_eq!(
            sent(&PLAIN, "").unwrap_err().message,
            "Unexpected end when reading JSON."
        );
        assert!(sent(&PLAIN, "plain text").is_err());
        let odd = [&PLAIN[..], &[("ce-my-name", "x")]].concat();
        assert!(sent(&odd, "1").unwrap_err().message.contains("'my-name'"));
        let version = [&PLAIN[..1], &[("ce-specversion", "0.3")], &PLAIN[2..]].concat();
        assert!(sent(&version, "1").unwrap_err().message.contains("'1.0'"));
    }
}
