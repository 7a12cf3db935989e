//! How a sink answers.
//!
//! Promise: handshakes are answered as their sender expects unless told otherwise; everything else gets the status,
//! the delay or the silence that a test asked for.
//! Source: reference event-grid 4.1, 4.2.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};

/// How long a sink delays an answer at most: longer than every time-out of a sender.
pub const DELAY_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long a request hangs at most, should its sender have no time-out at all.
pub const HANG_LIMIT: Duration = Duration::from_secs(10 * 60);

/// What a sink was told, in the words of our REST.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Behaviour {
    /// The status of answers.
    pub status: u16,
    /// How long an answer takes.
    pub delay_ms: u64,
    /// Whether there is no answer at all.
    pub hang: bool,
    /// How handshakes are answered.
    pub handshake: Handshake,
    /// For how many requests status, delay and hang hold; after them answers are 200 at once. Absent: for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// How handshakes are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Handshake {
    /// With the code, or the allowed origin.
    #[default]
    Answer,
    /// With 200 and nothing else, which asks for manual validation.
    Withhold,
    /// With 400.
    Refuse,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            status: 200,
            delay_ms: 0,
            hang: false,
            handshake: Handshake::Answer,
            times: None,
        }
    }
}

/// A behaviour that no sink can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBehaviour {
    /// Not a status of a final answer.
    #[error("'status' must be from 200 to 599.")]
    Status,
    /// Too long.
    #[error("'delayMs' must be at most 600000.")]
    Delay,
    /// Nothing would change.
    #[error("'times' must be at least 1.")]
    Times,
}

impl Behaviour {
    /// The behaviour itself, when a sink can have it.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn checked(self) -> Result<Self, BadBehaviour> {
        if !(200..=599).contains(&self.status) {
            return Err(BadBehaviour::Status);
        }
        if Duration::from_millis(self.delay_ms) > DELAY_LIMIT {
            return Err(BadBehaviour::Delay);
        }
        if self.times == Some(0) {
            return Err(BadBehaviour::Times);
        }
        Ok(self)
    }
}

/// What the sink does about one request.
#[derive(Debug)]
pub(super) enum Answer {
    /// Answers.
    Now(Response),
    /// Answers after a while.
    Later { status: StatusCode, delay: Duration },
    /// Stays silent while the behaviour of that generation holds.
    Hang { generation: u64 },
}

/// A behaviour, and for how many more requests it holds.
#[derive(Debug, Default)]
pub(super) struct Manner {
    behaviour: Behaviour,
    generation: u64,
    left: Option<u32>,
}

impl Manner {
    pub(super) fn set(&mut self, behaviour: Behaviour) {
        self.left = behaviour.times;
        self.behaviour = behaviour;
        self.generation += 1;
    }

    pub(super) fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// Rises with each change of behaviour.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn answer(&mut self, method: &Method, headers: &HeaderMap, body: &[u8]) -> Answer {
        if let Some(shake) = Shake::of(method, headers) {
            return Answer::Now(shake.answer(self.behaviour.handshake, body));
        }
        match &mut self.left {
            Some(0) => return Answer::Now(StatusCode::OK.into_response()),
            Some(left) => *left -= 1,
            None => (),
        }
        let status = StatusCode::from_u16(self.behaviour.status).unwrap_or(StatusCode::OK);
        match &self.behaviour {
            Behaviour { hang: true, .. } => Answer::Hang {
                generation: self.generation,
            },
            Behaviour { delay_ms: 0, .. } => Answer::Now(status.into_response()),
            Behaviour { delay_ms, .. } => Answer::Later {
                status,
                delay: Duration::from_millis(*delay_ms),
            },
        }
    }
}

/// A request that asks whether deliveries are welcome.
enum Shake<'a> {
    /// Event Grid's: the code in the body must come back.
    EventGrid,
    /// CloudEvents': the origin must come back.
    CloudEvents(&'a HeaderValue),
}

impl<'a> Shake<'a> {
    fn of(method: &Method, headers: &'a HeaderMap) -> Option<Self> {
        if method == Method::OPTIONS {
            return headers.get("webhook-request-origin").map(Self::CloudEvents);
        }
        let kind = headers.get("aeg-event-type")?;
        kind.as_bytes()
            .eq_ignore_ascii_case(b"SubscriptionValidation")
            .then_some(Self::EventGrid)
    }

    fn answer(&self, how: Handshake, body: &[u8]) -> Response {
        match (how, self) {
            (Handshake::Withhold, _) => StatusCode::OK.into_response(),
            (Handshake::Refuse, _) => StatusCode::BAD_REQUEST.into_response(),
            (Handshake::Answer, Self::CloudEvents(origin)) => [
                ("webhook-allowed-origin", (*origin).clone()),
                ("webhook-allowed-rate", HeaderValue::from_static("*")),
            ]
            .into_response(),
            (Handshake::Answer, Self::EventGrid) => match validation_code(body) {
                Some(code) => Json(ValidationResponse {
                    validation_response: code,
                })
                .into_response(),
                None => StatusCode::BAD_REQUEST.into_response(),
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValidationResponse {
    validation_response: String,
}

fn validation_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Event {
        data: Data,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        validation_code: String,
    }
    let events: Vec<Event> = serde_json::from_slice(body).ok()?;
    events
        .into_iter()
        .next()
        .map(|event| event.data.validation_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(manner: &mut Manner) -> Answer {
        manner.answer(&Method::POST, &HeaderMap::new(), b"[]")
    }

    fn status(answer: &Answer) -> u16 {
        match answer {
            Answer::Now(response) => response.status().as_u16(),
            Answer::Later { status, .. } => status.as_u16(),
            Answer::Hang { .. } => 0,
        }
    }

    async fn body_of(answer: Answer) -> String {
        let Answer::Now(response) = answer else {
            panic!("not answered: {answer:?}")
        };
        let body = axum::body::to_bytes(response.into_body(), 1 << 10)
            .await
            .unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn validation() -> HeaderMap {
        [(
            "aeg-event-type".parse().unwrap(),
            "SubscriptionValidation".parse().unwrap(),
        )]
        .into_iter()
        .collect()
    }

    const VALIDATION: &[u8] =
        br#"[{"id":"1","data":{"validationCode":"512d","validationUrl":"x"}}]"#;

    #[tokio::test]
    async fn the_code_of_a_handshake_comes_back() {
        let answer = Manner::default().answer(&Method::POST, &validation(), VALIDATION);
        assert_eq!(body_of(answer).await, r#"{"validationResponse":"512d"}"#);
    }

    #[tokio::test]
    async fn a_withheld_handshake_is_answered_without_the_code() {
        let mut manner = Manner::default();
        manner.set(Behaviour {
            handshake: Handshake::Withhold,
            ..Behaviour::default()
        });
        let answer = manner.answer(&Method::POST, &validation(), VALIDATION);
        assert_eq!(status(&answer), 200);
        assert_eq!(body_of(answer).await, "");
    }

    #[test]
    fn the_origin_of_a_cloud_events_handshake_comes_back() {
        let headers: HeaderMap = [(
            "webhook-request-origin".parse().unwrap(),
            "eventgrid.azure.net".parse().unwrap(),
        )]
        .into_iter()
        .collect();
        let Answer::Now(response) = Manner::default().answer(&Method::OPTIONS, &headers, b"")
        else {
            panic!("a handshake is answered at once")
        };
        assert_eq!(
            response.headers()["webhook-allowed-origin"],
            "eventgrid.azure.net"
        );
        assert_eq!(response.headers()["webhook-allowed-rate"], "*");
    }

    #[test]
    fn a_behaviour_with_times_ends_and_spares_handshakes() {
        let mut manner = Manner::default();
        manner.set(Behaviour {
            status: 503,
            times: Some(2),
            ..Behaviour::default()
        });
        assert_eq!(status(&post(&mut manner)), 503);
        let handshake = manner.answer(&Method::POST, &validation(), VALIDATION);
        assert_eq!(status(&handshake), 200);
        assert_eq!(status(&post(&mut manner)), 503);
        assert_eq!(status(&post(&mut manner)), 200);
    }

    #[test]
    fn delays_and_silence_are_told_apart() {
        let mut manner = Manner::default();
        manner.set(Behaviour {
            delay_ms: 5,
            status: 202,
            ..Behaviour::default()
        });
        assert!(matches!(
            post(&mut manner),
            Answer::Later { status: StatusCode::ACCEPTED, delay } if delay == Duration::from_millis(5)
        ));
        manner.set(Behaviour {
            hang: true,
            ..Behaviour::default()
        });
        assert!(matches!(post(&mut manner), Answer::Hang { generation: 2 }));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let of = |text: &str| serde_json::from_str::<Behaviour>(text).unwrap().checked();
        assert_eq!(of(r#"{"status":100}"#), Err(BadBehaviour::Status));
        assert_eq!(of(r#"{"delayMs":600001}"#), Err(BadBehaviour::Delay));
        assert_eq!(of(r#"{"times":0}"#), Err(BadBehaviour::Times));
        assert_eq!(of("{}"), Ok(Behaviour::default()));
        assert!(serde_json::from_str::<Behaviour>(r#"{"delay":1}"#).is_err());
    }
}
