//! Why an event went where it went.

use std::fmt::Write as _;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use gridpost_grid::explain::{Explained, Explanation, Fate};
use gridpost_model::Timestamp;
use gridpost_model::filter::Refusal;
use gridpost_model::subscription::ProvisioningState;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Value;
use super::activity::AttemptOut;
use super::numbers::sentence;
use super::problem::Problem;
use crate::Shared;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplanationOut<'a> {
    event: Option<&'a RawValue>,
    accepted: Timestamp,
    /// Where it stands in the journal.
    position: u64,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_reason: Option<&'static str>,
    attempts: Vec<AttemptOut<'a>>,
}

/// Explains the newest events of an id.
pub(super) async fn explain(
    State(parts): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = id?.0;
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
            "No event with the id '{id}' is kept. Events leave the journal some time after all subscriptions are done with them."
        )));
    }
    let value = Value {
        value: found.iter().map(ExplanationOut::from).collect(),
    };
    let body = serde_json::to_vec(&value).map_err(|error| unreadable(&error))?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], body).into_response())
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
            position: explanation.position.0,
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
            because: because(&explained.fate),
            refusal: match &explained.fate {
                Fate::Refused(refusal) => Some(refusal),
                _ => None,
            },
            next_attempt: match explained.fate {
                Fate::Waiting { due, .. } => Some(due),
                _ => None,
            },
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
        Fate::Dropped => "dropped",
    }
}

fn because(fate: &Fate) -> String {
    match fate {
        Fate::Refused(refusal) => refused_because(refusal),
        Fate::NotThen => {
            "The subscription did not exist, or had another filter, when the event was accepted."
                .into()
        }
        Fate::Pending => "The subscription wants it; it was not delivered yet.".into(),
        Fate::Waiting {
            due,
            attempts,
            last,
        } => {
            let mut text = format!(
                "The subscription wants it; after {attempts} attempts it is tried again at {due}"
            );
            if let Some(last) = last {
                let _ = write!(text, "; the last one ended with {last}");
            }
            text + "."
        }
        Fate::DeadLettered { reason, at } => {
            format!("It became a dead letter at {at}: {}.", reason.as_str())
        }
        Fate::Delivered => "It was delivered.".into(),
        Fate::Dropped => "It was dropped when the subscription failed.".into(),
    }
}

fn refused_because(refusal: &Refusal) -> String {
    match refusal {
        Refusal::IncludedEventTypes { wanted, found } => {
            format!(
                "The event's type '{found}' is not among includedEventTypes: {}.",
                wanted.join(", ")
            )
        }
        Refusal::NotInDefaultSet { found } => {
            format!(
                "The event's type '{found}' only goes to subscriptions that name it in includedEventTypes."
            )
        }
        Refusal::SubjectBeginsWith { wanted, found } => {
            format!("The subject '{found}' does not begin with '{wanted}'.")
        }
        Refusal::SubjectEndsWith { wanted, found } => {
            format!("The subject '{found}' does not end with '{wanted}'.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_sentence_with_both_values() {
        let fate = Fate::Refused(Refusal::SubjectBeginsWith {
            wanted: "phonenumber/1666".into(),
            found: "/phonenumber/15555555555".into(),
        });
        assert_eq!(word(&fate), "refused");
        assert_eq!(
            because(&fate),
            "The subject '/phonenumber/15555555555' does not begin with 'phonenumber/1666'."
        );
    }
}
