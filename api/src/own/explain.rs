//! Why an event went where it went.

use std::fmt::Write as _;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use gridpost_grid::explain::{Explained, Explanation, Fate};
use gridpost_grid::retry::Outcome;
use gridpost_model::Timestamp;
use gridpost_model::filter::Refusal;
use gridpost_model::subscription::ProvisioningState;
use http::{HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Value;
use super::activity::AttemptOut;
use super::numbers::sentence;
use super::problem::{self, Problem};
use crate::Shared;
use crate::path::RawTarget;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplanationOut<'a> {
    event: Option<&'a RawValue>,
    accepted: Timestamp,
    /// Where it stands in the journal; absent when only deliveries of it are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    subscriptions: Vec<ExplainedOut<'a>>,
    /// How many subscriptions wanted it that do not exist any more.
    deleted_subscriptions: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedOut<'a> {
    name: &'a str,
    source: &'a str,
    endpoint: &'a str,
    provisioning_state: &'static str,
    fate: &'static str,
    /// The same in a sentence.
    because: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a Refusal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<Timestamp>,
    /// Nothing is sent to the destination before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    probation_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_reason: Option<&'static str>,
    /// The replay that the delivery belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<String>,
    attempts: Vec<AttemptOut<'a>>,
}

/// Explains the newest events of an id.
pub(super) async fn explain(
    State(parts): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let Some(id) = id_in(sent(&request)) else {
        return Err(problem::no_route(request.uri().clone()).await);
    };
    if id.is_empty() {
        let message =
            "The id of an event stands between 'events/' and '/explain', and it is empty.";
        return Err(Problem::bad_request(message));
    }
    let grid = parts.grid.clone();
    let wanted = id.clone();
    // It reads the journal, which may take a moment.
    let found = tokio::task::spawn_blocking(move || grid.explain(&wanted)).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(unreadable(&error)),
        Err(error) => return Err(unreadable(&error)),
    };
    if found.is_empty() {
        return Err(Problem::not_found(format!(
            "No event with the id '{id}' is kept. Events leave the journal some time after all subscriptions are done with them, and only the last GiB of it is looked through."
        )));
    }
    let value = Value {
        value: found.iter().map(ExplanationOut::from).collect(),
    };
    let body = serde_json::to_vec(&value).map_err(|error| unreadable(&error))?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], body).into_response())
}

/// The path as it was sent: the normal form has slashes of ids decoded, and doubled ones made one.
fn sent(request: &Request) -> &str {
    let raw = request.extensions().get::<RawTarget>();
    raw.map_or(request.uri(), |raw| &raw.0).path()
}

/// What stands between `events` and `explain` in a path, decoded.
fn id_in(path: &str) -> Option<String> {
    let path = path.trim_end_matches('/').strip_suffix("/explain")?;
    let id = match path.split_once("/events/") {
        Some((_, id)) => id,
        None => path.strip_suffix("/events").map(|_| "")?,
    };
    Some(percent_decode_str(id).decode_utf8_lossy().into_owned())
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "an event could not be explained");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Unreadable",
        sentence(error),
    )
}

impl<'a> From<&'a Explanation> for ExplanationOut<'a> {
    fn from(explanation: &'a Explanation) -> Self {
        Self {
            event: serde_json::from_slice(&explanation.event.json).ok(),
            accepted: explanation.event.published,
            position: explanation.position.map(|position| position.0),
            subscriptions: explanation
                .subscriptions
                .iter()
                .map(ExplainedOut::from)
                .collect(),
            deleted_subscriptions: explanation.deleted,
        }
    }
}

impl<'a> From<&'a Explained> for ExplainedOut<'a> {
    fn from(explained: &'a Explained) -> Self {
        let subscription = &*explained.subscription;
        Self {
            name: &subscription.name,
            source: subscription.source.as_str(),
            endpoint: subscription.destination.shown(),
            provisioning_state: match subscription.state {
                ProvisioningState::Succeeded => "Succeeded",
                ProvisioningState::AwaitingManualAction { .. } => "AwaitingManualAction",
                ProvisioningState::Failed => "Failed",
            },
            fate: word(&explained.fate),
            because: because(explained),
            refusal: match &explained.fate {
                Fate::Refused(refusal) => Some(refusal),
                _ => None,
            },
            next_attempt: next_attempt(explained),
            probation_until: explained.probation,
            replay: match explained.fate {
                Fate::Waiting { replay, .. } | Fate::DeadLettered { replay, .. } => replay,
                _ => None,
            }
            .map(|replay| replay.to_string()),
            dead_letter_reason: match explained.fate {
                Fate::DeadLettered { reason, .. } => Some(reason.as_str()),
                _ => None,
            },
            attempts: explained.attempts.iter().map(AttemptOut::from).collect(),
        }
    }
}

fn word(fate: &Fate) -> &'static str {
    match fate {
        Fate::Refused(_) => "refused",
        Fate::NotThen => "notThen",
        Fate::Pending => "pending",
        Fate::Waiting { .. } => "waiting",
        Fate::DeadLettered { .. } => "deadLettered",
        Fate::Delivered => "delivered",
        Fate::Unknown => "unknown",
        Fate::Dropped => "dropped",
        Fate::Forgotten => "forgotten",
    }
}

/// When the delivery is tried next: not while its destination is left alone.
fn next_attempt(explained: &Explained) -> Option<Timestamp> {
    match explained.fate {
        Fate::Waiting { due, .. } => Some(explained.probation.map_or(due, |until| until.max(due))),
        Fate::Pending => explained.probation,
        _ => None,
    }
}

fn because(explained: &Explained) -> String {
    let mut text = match &explained.fate {
        Fate::Refused(refusal) => return refusal.to_string(),
        Fate::NotThen => {
            "The subscription did not exist, or had another filter, when the event was accepted."
                .into()
        }
        Fate::Forgotten => {
            "The event has left the journal, so whether the subscription wanted it is not known any more."
                .into()
        }
        Fate::Pending => "The subscription wants it; it was not delivered yet.".into(),
        Fate::Waiting {
            attempts,
            last,
            due,
            ..
        } => waiting_because(*attempts, *last, *due),
        Fate::DeadLettered { reason, at, .. } => {
            format!("It became a dead letter at {at}: {}.", reason.as_str())
        }
        Fate::Delivered if explained.attempts.is_empty() => {
            "The endpoint took it; the attempt is not remembered any more.".into()
        }
        Fate::Delivered => "The endpoint took it.".into(),
        Fate::Unknown => "It was tried. Too much waits or was given up here to find it: it waits, is a dead letter, or was delivered.".into(),
        Fate::Dropped => "It was dropped when the subscription failed.".into(),
    };
    if !matches!(explained.fate, Fate::Waiting { .. } | Fate::Pending) {
        return text;
    }
    if matches!(
        explained.subscription.state,
        ProvisioningState::AwaitingManualAction { .. }
    ) {
        text.push_str(" Nothing is sent before somebody visits the subscription's validation URL.");
    } else if let Some(until) = explained.probation {
        let _ = write!(
            text,
            " The endpoint failed too often in a row and is left alone until {until}; then one event probes it."
        );
    }
    text
}

fn waiting_because(attempts: u32, last: Option<Outcome>, due: Timestamp) -> String {
    let tried = match attempts {
        0 => return format!("The subscription wants it; it is to be tried at {due}."),
        1 => "one attempt".to_owned(),
        more => format!("{more} attempts"),
    };
    let mut text = format!("The subscription wants it; after {tried} it is tried again at {due}");
    if let Some(last) = last {
        let _ = write!(text, "; the last one ended with {last}");
    }
    text + "."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_sentence_with_both_values() {
        let refusal = Refusal::SubjectBeginsWith {
            wanted: "phonenumber/1666".into(),
            found: "/phonenumber/15555555555".into(),
        };
        assert_eq!(
            refusal.to_string(),
            "The subject '/phonenumber/15555555555' does not begin with 'phonenumber/1666'."
        );
    }

    #[test]
    fn an_id_is_read_from_the_path_as_it_was_sent() {
        let table = [
            ("/_gridpost/v1/events/1/explain", Some("1")),
            ("/_gridpost/v1/events/a%2Fb%20c/explain/", Some("a/b c")),
            ("/_gridpost/v1/events/a//b/explain", Some("a//b")),
            ("/_gridpost/v1/events//events//explain", Some("/events/")),
            ("/_gridpost/v1/events/explain/explain", Some("explain")),
            ("/_gridpost/v1/events/%2E%2e%25/explain", Some("..%")),
            ("/_gridpost/v1/events//explain", Some("")),
            ("/_gridpost/v1/events/explain", Some("")),
            ("/_gridpost/v1/events/1", None),
        ];
        for (path, id) in table {
            assert_eq!(id_in(path).as_deref(), id, "{path}");
        }
    }

    #[test]
    fn attempts_are_counted_as_people_do() {
        let due = Timestamp::from_seconds(30);
        let told = |attempts| waiting_because(attempts, Some(Outcome::Busy), due);
        assert_eq!(
            told(1),
            "The subscription wants it; after one attempt it is tried again at 1970-01-01T00:00:30Z; \
             the last one ended with Busy."
        );
        assert!(told(2).contains("after 2 attempts"));
        assert!(told(0).contains("is to be tried at"));
    }
}
