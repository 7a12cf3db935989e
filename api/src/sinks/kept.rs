//! What a sink remembers.
//!
//! Promise: the newest requests, within three bounds; each is one allocation of known size and is parsed only when
//! somebody looks at it.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost_model::Timestamp;
use http::Uri;
use http::request::Parts as Head;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// How many requests a sink keeps: enough to look back at a test, little enough to page through.
pub const REQUESTS_LIMIT: usize = 1_000;

/// How much of a body is kept: all of any usual delivery.
pub const BODY_LIMIT: usize = 1 << 20;

/// How much a sink keeps in all, headers included.
pub const TOTAL_LIMIT: usize = 64 << 20;

/// The newest requests of a sink.
#[derive(Debug, Default)]
pub(super) struct Kept {
    requests: VecDeque<Arc<Received>>,
    size_bytes: usize,
    last: u64,
}

impl Kept {
    /// Adds a request, which gets its number, and forgets what no longer fits.
    pub(super) fn push(&mut self, received: Received) {
        self.last += 1;
        self.size_bytes += received.raw.len();
        self.requests.push_back(Arc::new(Received {
            number: self.last,
            ..received
        }));
        while self.requests.len() > REQUESTS_LIMIT || self.size_bytes > TOTAL_LIMIT {
            let Some(oldest) = self.requests.pop_front() else {
                break;
            };
            self.size_bytes -= oldest.raw.len();
        }
    }

    /// Requests with a number above `after`, oldest first.
    pub(super) fn after(&self, after: u64) -> impl Iterator<Item = &Arc<Received>> {
        let first = self.requests.front().map_or(0, |request| request.number);
        let skipped =
            usize::try_from(after.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
        self.requests.iter().skip(skipped)
    }

    /// The number of the newest request; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }
}

/// One request, as it arrived.
#[derive(Debug)]
pub struct Received {
    number: u64,
    time: Timestamp,
    /// Method, space, target; then a line for each header; then the body. One piece, because a request's own buffers
    /// are as large as the connection's and would be held for the sake of a few hundred bytes.
    raw: Box<[u8]>,
    head_length: usize,
    body_length: usize,
}

impl Received {
    pub(super) fn new(head: &Head, target: &Uri, body: &[u8], time: Timestamp) -> Self {
        let kept_body = &body[..body.len().min(BODY_LIMIT)];
        let target = target
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let headers_length: usize = head
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 3)
            .sum();
        let method = head.method.as_str();
        let mut raw =
            Vec::with_capacity(method.len() + target.len() + 2 + headers_length + kept_body.len());
        for piece in [method, " ", target, "\n"] {
            raw.extend_from_slice(piece.as_bytes());
        }
        for (name, value) in &head.headers {
            for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"] {
                raw.extend_from_slice(piece);
            }
        }
        let head_length = raw.len();
        raw.extend_from_slice(kept_body);
        Self {
            number: 0,
            time,
            raw: raw.into(),
            head_length,
            body_length: body.len(),
        }
    }

    /// Its number in the sink, counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.first_line().0
    }

    /// Path and query, as they were sent.
    pub fn path(&self) -> &str {
        self.first_line().1
    }

    /// A header's value, when it is text. Names are lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers().find(|(found, _)| *found == name)?;
        std::str::from_utf8(value).ok()
    }

    /// All headers in the order of their arrival.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines().skip(1).filter_map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            let value = line.get(colon + 2..)?;
            Some((std::str::from_utf8(&line[..colon]).ok()?, value))
        })
    }

    /// The body, or its first mebibyte.
    pub fn body(&self) -> &[u8] {
        &self.raw[self.head_length..]
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        // The head ends with a line end; a header's value holds none.
        self.raw[..self.head_length.saturating_sub(1)].split(|&b| b == b'\n')
    }

    fn first_line(&self) -> (&str, &str) {
        let line = self
            .lines()
            .next()
            .and_then(|line| std::str::from_utf8(line).ok());
        line.and_then(|line| line.split_once(' '))
            .unwrap_or_default()
    }

    /// Whether it is a handshake or a deletion notice rather than a delivery.
    fn is_about_the_subscription(&self) -> bool {
        self.method() == "OPTIONS"
            || self.header("aeg-event-type").is_some_and(|kind| {
                ["SubscriptionValidation", "SubscriptionDeletion"]
                    .iter()
                    .any(|one| one.eq_ignore_ascii_case(kind))
            })
    }
}

impl Serialize for Received {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &self.number)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("method", self.method())?;
        map.serialize_entry("path", self.path())?;
        map.serialize_entry("headers", &Headers(self))?;
        let body = self.body();
        if let Ok(json) = serde_json::from_slice::<&RawValue>(body) {
            map.serialize_entry("body", json)?;
        } else if let Ok(text) = std::str::from_utf8(body) {
            map.serialize_entry("body", text)?;
        } else {
            map.serialize_entry("bodyBase64", &BASE64_STANDARD.encode(body))?;
        }
        map.serialize_entry("bodyBytes", &self.body_length)?;
        if body.len() < self.body_length {
            map.serialize_entry("bodyTruncated", &true)?;
        }
        map.end()
    }
}

/// Headers as an object; a repeated header's values are joined as HTTP joins them.
struct Headers<'a>(&'a Received);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut joined: Vec<(&str, String)> = Vec::new();
        for (name, value) in self.0.headers() {
            let value = String::from_utf8_lossy(value);
            match joined.iter_mut().find(|(found, _)| *found == name) {
                Some((_, all)) => {
                    all.push_str(", ");
                    all.push_str(&value);
                }
                None => joined.push((name, value.into_owned())),
            }
        }
        serializer.collect_map(joined)
    }
}

/// Which requests somebody waits for. Without a clause: any that is not about the subscription itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wanted {
    /// The type of an event in it, compared without case.
    pub event_type: Option<String>,
    /// What the subject of an event in it begins with, compared without case and without one leading slash.
    pub subject_begins_with: Option<String>,
    /// The id of an event in it.
    pub id: Option<String>,
}

impl Wanted {
    /// Whether a request is wanted. All clauses must hold for one and the same event in it.
    pub fn matches(&self, request: &Received) -> bool {
        if self.event_type.is_none() && request.is_about_the_subscription() {
            return false;
        }
        let wants_any = *self == Self::default();
        wants_any
            || events_in(request.body())
                .iter()
                .any(|event| self.wants(event))
    }

    fn wants(&self, event: &EventHead) -> bool {
        let holds = |wanted: &Option<String>, found: &str, compare: fn(&str, &str) -> bool| {
            wanted
                .as_deref()
                .is_none_or(|wanted| compare(found, wanted))
        };
        holds(&self.event_type, event.kind(), str::eq_ignore_ascii_case)
            && holds(&self.subject_begins_with, &event.subject, begins_with)
            && holds(&self.id, &event.id, |found, wanted| found == wanted)
    }
}

fn begins_with(found: &str, wanted: &str) -> bool {
    let plain = |text: &'_ str| text.strip_prefix('/').unwrap_or(text).to_ascii_lowercase();
    plain(found).starts_with(&plain(wanted))
}

/// What is looked at in an event of either schema.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EventHead {
    id: String,
    event_type: Option<String>,
    r#type: Option<String>,
    subject: String,
}

impl EventHead {
    fn kind(&self) -> &str {
        self.event_type
            .as_deref()
            .or(self.r#type.as_deref())
            .unwrap_or_default()
    }
}

fn events_in(body: &[u8]) -> Vec<EventHead> {
    let is_array = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    if is_array {
        serde_json::from_slice(body).unwrap_or_default()
    } else {
        serde_json::from_slice(body).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(headers: &[(&str, &str)], body: &[u8]) -> Received {
        let mut request = http::Request::post("/_gridpost/v1/sinks/s?code=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Received::new(&head, &head.uri, body, Timestamp::EPOCH)
    }

    const EVENT: &[u8] = br#"[{"id":"7","subject":"/phonenumber/15555555555","data":{},"eventType":"Microsoft.Communication.SMSReceived"}]"#;

    #[test]
    fn a_request_is_shown_as_it_arrived() {
        let request = received(
            &[
                ("aeg-event-type", "Notification"),
                ("x-twice", "a"),
                ("x-twice", "b: c"),
            ],
            EVENT,
        );
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            serde_json::json!({
                "number": 0, "time": "1970-01-01T00:00:00Z", "method": "POST",
                "path": "/_gridpost/v1/sinks/s?code=1",
                "headers": {"aeg-event-type": "Notification", "x-twice": "a, b: c"},
                "body": [{"id": "7", "subject": "/phonenumber/15555555555", "data": {},
                          "eventType": "Microsoft.Communication.SMSReceived"}],
                "bodyBytes": EVENT.len(),
            })
        );
    }

    #[test]
    fn bodies_that_are_not_json_are_text_or_base64() {
        let shown = |body: &[u8]| serde_json::to_value(received(&[], body)).unwrap();
        assert_eq!(shown(b"hello")["body"], "hello");
        assert_eq!(shown(b"")["body"], "");
        assert_eq!(shown(b"\xff\xfe")["bodyBase64"], "//4=");
    }

    #[test]
    fn a_long_body_is_kept_in_part_and_says_so() {
        let request = received(&[], &vec![b'a'; BODY_LIMIT + 10]);
        assert_eq!(request.body().len(), BODY_LIMIT);
        let shown = serde_json::to_value(&request).unwrap();
        assert_eq!(shown["bodyBytes"], BODY_LIMIT + 10);
        assert_eq!(shown["bodyTruncated"], true);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut kept = Kept::default();
        for _ in 0..REQUESTS_LIMIT + 5 {
            kept.push(received(&[], b"x"));
        }
        assert_eq!(kept.len(), REQUESTS_LIMIT);
        let numbers = |after| {
            kept.after(after)
                .map(|one| one.number())
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(0).first(), Some(&6));
        assert_eq!(numbers(1_003), [1_004, 1_005]);
        assert_eq!(numbers(1_005), [0; 0]);
        assert_eq!(numbers(u64::MAX - 1), [0; 0]);
    }

    #[test]
    fn the_sizes_are_bounded_together() {
        let mut kept = Kept::default();
        let body = vec![b'a'; BODY_LIMIT];
        for _ in 0..70 {
            kept.push(received(&[], &body));
        }
        assert_eq!(
            kept.len(),
            63,
            "64 bodies of 1 MiB and their headers are too much"
        );
        assert_eq!(
            kept.size_bytes,
            kept.requests.iter().map(|one| one.raw.len()).sum::<usize>()
        );
    }

    #[test]
    fn a_request_is_wanted_when_one_event_holds_to_all_clauses() {
        let request = received(&[("aeg-event-type", "Notification")], EVENT);
        let wanted = |event_type: &str, subject: &str, id: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Wanted {
                event_type: some(event_type),
                subject_begins_with: some(subject),
                id: some(id),
            }
            .matches(&request)
        };
        assert!(wanted("", "", ""));
        assert!(wanted(
            "microsoft.communication.smsreceived",
            "phonenumber/1555",
            "7"
        ));
        assert!(wanted("", "/PhoneNumber", ""));
        assert!(!wanted("Microsoft.Communication.CallStarted", "", ""));
        assert!(!wanted("", "phonenumber/1666", ""));
        assert!(!wanted("", "", "8"));
    }

    #[test]
    fn single_cloud_events_are_wanted_too() {
        let body = br#" {"id":"1","type":"a.b","source":"/s"}"#;
        let wanted = Wanted {
            event_type: Some("a.b".into()),
            ..Wanted::default()
        };
        assert!(wanted.matches(&received(&[], body)));
        assert!(!wanted.matches(&received(&[], b"not json")));
    }

    #[test]
    fn handshakes_are_only_wanted_by_their_type() {
        let handshake = received(
            &[("aeg-event-type", "SubscriptionValidation")],
            br#"[{"id":"1","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]"#,
        );
        assert!(!Wanted::default().matches(&handshake));
        let named = Wanted {
            event_type: Some("Microsoft.EventGrid.SubscriptionValidationEvent".into()),
            ..Wanted::default()
        };
        assert!(named.matches(&handshake));
    }
}
