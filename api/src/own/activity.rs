//! How activities of the router, and attempts among them, look in our REST.

use gridpost_grid::exchange::{self, Excerpt};
use gridpost_grid::retry::{DueBy, Reckoning, Verdict};
use gridpost_grid::tail::{Activity, Attempted, What};
use gridpost_model::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// An activity, as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActivityOut<'a> {
    at: Timestamp,
    what: Kind,
    id: &'a str,
    event_type: &'a str,
    subject: &'a str,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<&'a str>,
    /// The whole event; only when it is accepted, lest each attempt repeats it.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<AttemptOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_reason: Option<&'static str>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    /// The event was accepted.
    Accepted,
    /// A destination took it.
    Delivered,
    /// A destination did not take it; it is tried again.
    Failed,
    /// It became a dead letter.
    DeadLettered,
}

impl Kind {
    /// What an activity is.
    pub(super) fn of(activity: &Activity) -> Self {
        match &activity.what {
            What::Accepted { .. } => Self::Accepted,
            What::Attempted { attempt, .. } => match attempt.verdict {
                Verdict::Delivered => Self::Delivered,
                Verdict::Retry { .. } => Self::Failed,
                Verdict::GiveUp(_) => Self::DeadLettered,
            },
            What::GivenUp { .. } => Self::DeadLettered,
        }
    }

    /// The word on the wire.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::DeadLettered => "deadLettered",
        }
    }
}

impl<'a> From<&'a Activity> for ActivityOut<'a> {
    fn from(activity: &'a Activity) -> Self {
        let event = &*activity.event;
        let mut out = Self {
            at: activity.at,
            what: Kind::of(activity),
            id: &event.id,
            event_type: &event.event_type,
            subject: &event.subject,
            topic: &event.topic,
            subscription: None,
            event: None,
            matched: None,
            attempt: None,
            dead_letter_reason: None,
        };
        match &activity.what {
            What::Accepted { lanes } => {
                out.event = serde_json::from_slice(&event.json).ok();
                out.matched = Some(*lanes);
            }
            What::Attempted {
                subscription,
                attempt,
                ..
            } => {
                out.subscription = Some(subscription);
                out.attempt = Some(attempt.into());
                if let Verdict::GiveUp(reason) = attempt.verdict {
                    out.dead_letter_reason = Some(reason.as_str());
                }
            }
            What::GivenUp {
                subscription,
                reason,
                ..
            } => {
                out.subscription = Some(subscription);
                out.dead_letter_reason = Some(reason.as_str());
            }
        }
        out
    }
}

/// An attempt, as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttemptOut<'a> {
    number: u32,
    at: Timestamp,
    took_ms: f64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<Timestamp>,
    /// Why then, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gave_up: Option<&'static str>,
    /// The replay it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct RequestOut<'a> {
    method: &'a str,
    path: &'a str,
    headers: Headers<'a>,
    #[serde(flatten)]
    body: BodyOut<'a>,
}

#[derive(Debug, Serialize)]
struct ResponseOut<'a> {
    status: u16,
    headers: Headers<'a>,
    #[serde(flatten)]
    body: BodyOut<'a>,
}

/// The beginning of a body.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BodyOut<'a> {
    body: std::borrow::Cow<'a, str>,
    body_bytes: usize,
    /// Only when it is not the whole body.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    body_truncated: bool,
}

impl<'a> From<&'a Excerpt> for BodyOut<'a> {
    fn from(excerpt: &'a Excerpt) -> Self {
        Self {
            body: String::from_utf8_lossy(&excerpt.bytes),
            body_bytes: excerpt.whole_bytes,
            body_truncated: excerpt.bytes.len() < excerpt.whole_bytes,
        }
    }
}

impl<'a> From<&'a Attempted> for AttemptOut<'a> {
    fn from(attempt: &'a Attempted) -> Self {
        let exchange = attempt.exchange.as_deref();
        let request = exchange.and_then(|one| one.request.as_ref());
        let answer = exchange.and_then(|one| one.answer.as_ref());
        Self {
            number: attempt.number,
            at: attempt.at,
            took_ms: attempt.took.as_secs_f64() * 1e3,
            outcome: attempt.outcome.as_str(),
            status: attempt.status,
            next_attempt: match attempt.verdict {
                Verdict::Retry { due } => Some(due),
                Verdict::Delivered | Verdict::GiveUp(_) => None,
            },
            next_attempt_because: attempt.reckoning().map(because),
            gave_up: match attempt.verdict {
                Verdict::GiveUp(reason) => Some(reason.as_str()),
                Verdict::Delivered | Verdict::Retry { .. } => None,
            },
            replay: attempt.replay.map(|replay| replay.to_string()),
            request: request.map(|request| RequestOut {
                method: &request.method,
                path: &request.target,
                headers: Headers(&request.headers),
                body: (&request.body).into(),
            }),
            response: answer.map(|answer| ResponseOut {
                status: answer.status,
                headers: Headers(&answer.headers),
                body: (&answer.body).into(),
            }),
            failure: exchange.and_then(|one| one.failure.as_deref()),
        }
    }
}

/// Why an attempt is due when it is.
fn because(reckoning: Reckoning) -> String {
    let rule = match reckoning.by {
        DueBy::Step(offset) => format!(
            "the retry schedule's next step is {} after the first attempt",
            span(offset)
        ),
        DueBy::Beyond(distance) => format!(
            "the retry schedule has ended, and goes on every {}",
            span(distance)
        ),
        DueBy::Least(least) => format!(
            "after this outcome nothing is sent for at least {}",
            span(least)
        ),
        DueBy::Asked(pause) => format!(
            "the endpoint's answer asked to wait (Retry-After): {}",
            span(pause)
        ),
    };
    match reckoning.jitter.as_millis() {
        0 => rule,
        millis => format!(
            "{rule}; {}.{} s of jitter are added",
            millis / 1_000,
            millis % 1_000 / 100
        ),
    }
}

/// A span of the schedule: those are whole minutes or hours beyond the first steps.
fn span(span: std::time::Duration) -> String {
    match span.as_secs() {
        seconds if seconds % 3_600 == 0 && seconds > 0 => format!("{} h", seconds / 3_600),
        seconds if seconds % 60 == 0 && seconds > 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// Headers; those of one name as one.
#[derive(Debug)]
struct Headers<'a>(&'a exchange::Headers);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for part in self.0.chunk_by(|(one, _), (other, _)| one == other) {
            let values: Vec<&str> = part.iter().map(|(_, value)| &**value).collect();
            map.serialize_entry(&part[0].0, &values.join(", "))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use gridpost_grid::exchange::{Answer, Exchange, Request};
    use gridpost_grid::retry::Outcome;
    use gridpost_model::subscription::LaneId;
    use gridpost_model::{Event, EventSchema};
    use serde_json::json;

    use super::*;

    fn activity(what: What) -> Activity {
        let event = Event {
            schema: EventSchema::EventGrid,
            id: "7".into(),
            topic: "/t".into(),
            event_type: "A.B".into(),
            subject: "/s".into(),
            data_version: "1.0".into(),
            published: Timestamp::EPOCH,
            trace: None,
            json: r#"{"id":"7"}"#.into(),
        };
        Activity {
            at: Timestamp::from_seconds(1),
            event: Arc::new(event),
            what,
        }
    }

    fn shown(what: What) -> serde_json::Value {
        serde_json::to_value(ActivityOut::from(&activity(what))).unwrap()
    }

    #[test]
    fn an_accepted_event_is_shown_whole() {
        assert_eq!(
            shown(What::Accepted { lanes: 2 }),
            json!({
                "at": "1970-01-01T00:00:01Z", "what": "accepted", "id": "7", "eventType": "A.B", "subject": "/s",
                "topic": "/t", "event": {"id": "7"}, "matched": 2,
            })
        );
    }

    #[test]
    fn a_failed_attempt_is_shown_with_both_sides_and_why_it_is_tried_again_then() {
        let header = |name: &str, value: &str| vec![(name.into(), value.into())];
        let body = |text: &'static str, whole_bytes| Excerpt {
            bytes: text.into(),
            whole_bytes,
        };
        let exchange = Exchange {
            request: Some(Request {
                method: "POST".into(),
                target: "/hook?•••".into(),
                headers: header("authorization", "•••"),
                body: body("[{}]", 4),
            }),
            answer: Some(Answer {
                status: 503,
                headers: [header("retry-after", "1"), header("retry-after", "2")].concat(),
                body: body("busy", 5_000),
            }),
            failure: None,
        };
        let attempt = Attempted {
            at: Timestamp::from_seconds(12),
            event_id: "7".into(),
            published: Timestamp::EPOCH,
            number: 2,
            first: Timestamp::EPOCH,
            outcome: Outcome::Busy,
            status: Some(500),
            took: Duration::from_micros(1_500),
            verdict: Verdict::Retry {
                due: Timestamp::from_millis(30_250),
            },
            replay: None,
            exchange: Some(Arc::new(exchange)),
        };
        let shown = shown(What::Attempted {
            lane: LaneId(1),
            subscription: "es".into(),
            attempt,
        });
        assert_eq!(shown["what"], "failed");
        assert_eq!(shown["subscription"], "es");
        assert_eq!(
            shown["attempt"],
            json!({
                "number": 2, "at": "1970-01-01T00:00:12Z", "tookMs": 1.5, "outcome": "Busy", "status": 500,
                "nextAttempt": "1970-01-01T00:00:30.25Z",
                "nextAttemptBecause":
                    "the retry schedule's next step is 30 s after the first attempt; 0.2 s of jitter are added",
                "request": {
                    "method": "POST", "path": "/hook?•••", "headers": {"authorization": "•••"},
                    "body": "[{}]", "bodyBytes": 4,
                },
                "response": {
                    "status": 503, "headers": {"retry-after": "1, 2"}, "body": "busy", "bodyBytes": 5000,
                    "bodyTruncated": true,
                },
            })
        );
    }

    #[test]
    fn a_span_is_told_in_its_largest_whole_unit() {
        let told = [10, 60, 300, 3_600, 43_200].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(told, ["10 s", "1 min", "5 min", "1 h", "12 h"]);
    }
}
