//! How activities of the router look in our REST.

use gridpost_grid::retry::Verdict;
use gridpost_grid::tail::{Activity, Attempted, Exchange, What};
use gridpost_model::Timestamp;
use http::{HeaderMap, header};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct RequestOut<'a> {
    headers: Headers<'a>,
}

#[derive(Debug, Serialize)]
struct ResponseOut<'a> {
    status: u16,
    headers: Headers<'a>,
    body: String,
}

impl<'a> From<&'a Attempted> for AttemptOut<'a> {
    fn from(attempt: &'a Attempted) -> Self {
        let exchange: Option<&Exchange> = attempt.exchange.as_deref();
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
            request: exchange.map(|one| RequestOut {
                headers: Headers(&one.request),
            }),
            response: exchange
                .and_then(|one| one.response.as_ref())
                .map(|response| ResponseOut {
                    status: response.status.as_u16(),
                    headers: Headers(&response.headers),
                    body: String::from_utf8_lossy(&response.body).into_owned(),
                }),
            failure: exchange.and_then(|one| one.failure.as_deref()),
        }
    }
}

/// Headers, secrets left out.
#[derive(Debug)]
struct Headers<'a>(&'a HeaderMap);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in self.0.keys() {
            if name == header::AUTHORIZATION || name == header::SET_COOKIE {
                map.serialize_entry(name.as_str(), "•••")?;
                continue;
            }
            let values: Vec<_> = self
                .0
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            map.serialize_entry(name.as_str(), &values.join(", "))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use gridpost_grid::outbound::Response;
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
    fn a_failed_attempt_is_shown_with_both_sides_and_without_secrets() {
        let header = |name: &str, value: &str| -> HeaderMap {
            [(name.parse().unwrap(), value.parse().unwrap())]
                .into_iter()
                .collect()
        };
        let exchange = Exchange {
            request: header("authorization", "Bearer secret"),
            response: Some(Response {
                status: http::StatusCode::SERVICE_UNAVAILABLE,
                headers: header("retry-after", "1"),
                body: "busy".into(),
            }),
            failure: None,
        };
        let attempt = Attempted {
            at: Timestamp::EPOCH,
            event_id: "7".into(),
            number: 2,
            outcome: Outcome::Busy,
            status: Some(503),
            took: Duration::from_micros(1_500),
            verdict: Verdict::Retry {
                due: Timestamp::from_seconds(30),
            },
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
                "number": 2, "at": "1970-01-01T00:00:00Z", "tookMs": 1.5, "outcome": "Busy", "status": 503,
                "nextAttempt": "1970-01-01T00:00:30Z", "request": {"headers": {"authorization": "•••"}},
                "response": {"status": 503, "headers": {"retry-after": "1"}, "body": "busy"},
            })
        );
    }
}
