//! Deliveries that were given up: looked at, brought back and deleted.
//!
//! Not here: what a dead letter is and what bringing one back means (`grid::dead_letter`).

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_grid::dead_letter::DeadLetterId;
use gridpost_grid::retry::Reason;
use gridpost_grid::{DeadLetter, DeadLetterQuery};
use gridpost_model::{ResourceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::problem::{Problem, read_json};
use crate::{Parts, Shared};

/// How many stand on a page at most: each carries its event.
const PAGE_LIMIT: usize = 1_000;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Asked {
    source: Option<ResourceId>,
    subscription: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    reason: Option<String>,
    limit: Option<usize>,
    /// Only for lists.
    after: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Brought {
    ids: Option<Vec<String>>,
    source: Option<ResourceId>,
    subscription: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    reason: Option<String>,
    limit: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Unwanted {
    /// Divided by commas.
    ids: Option<String>,
    source: Option<ResourceId>,
    subscription: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    reason: Option<String>,
    limit: Option<usize>,
    /// Says that all are meant, when nothing else says which.
    all: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetterOut<'a> {
    id: String,
    subscription: &'a str,
    source: &'a str,
    event: Option<&'a RawValue>,
    dead_letter_reason: &'static str,
    delivery_attempts: u32,
    last_delivery_outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_http_status: Option<u16>,
    publish_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivery_attempt_time: Option<Timestamp>,
    dead_letter_time: Timestamp,
    /// Why it was not written into its subscription's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob_error: Option<&'a str>,
}

impl<'a> From<&'a DeadLetter> for DeadLetterOut<'a> {
    fn from(letter: &'a DeadLetter) -> Self {
        Self {
            id: letter.id.to_string(),
            subscription: &letter.subscription,
            source: letter.source.as_str(),
            event: serde_json::from_slice(&letter.event.json).ok(),
            dead_letter_reason: letter.reason.as_str(),
            delivery_attempts: letter.attempts,
            last_delivery_outcome: letter.last_outcome.as_str(),
            last_http_status: letter.last_status,
            publish_time: letter.event.published,
            last_delivery_attempt_time: letter.last_attempt,
            dead_letter_time: letter.at,
            blob_error: letter.blob_error.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    value: Vec<DeadLetterOut<'a>>,
    /// What to ask for as `after` to see more; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A page of dead letters, the oldest of each subscription first.
pub(super) async fn list(
    State(parts): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = asked?;
    let limit = asked.limit.unwrap_or(100).clamp(1, PAGE_LIMIT);
    let query = DeadLetterQuery {
        ids: None,
        source: asked.source,
        subscription: asked.subscription,
        event_id: asked.event_id,
        event_type: asked.event_type,
        reason: asked.reason,
        after: asked.after.as_deref().map(read_id).transpose()?,
        limit: Some(limit),
    };
    check_names(&parts, &query).await?;
    let grid = parts.grid.clone();
    // A filter that fits little reads much of the table.
    let found = tokio::task::spawn_blocking(move || grid.dead_letter_page(&query)).await;
    let (letters, next) = match found {
        Ok(Ok(page)) => page,
        Ok(Err(error)) => return Err(Problem::not_stored(&error)),
        Err(error) => return Err(Problem::not_stored(&error)),
    };
    Ok(Json(Page {
        value: letters.iter().map(DeadLetterOut::from).collect(),
        next: next.map(|next| next.to_string()),
    })
    .into_response())
}

#[derive(Serialize)]
pub(super) struct Redriven {
    redriven: u64,
}

/// Brings dead letters back; without a body all of them.
pub(super) async fn redrive(
    State(parts): State<Shared>,
    body: Bytes,
) -> Result<Json<Redriven>, Problem> {
    let asked: Brought = if body.is_empty() {
        Brought::default()
    } else {
        read_json(&body)?
    };
    let ids = asked
        .ids
        .map(|ids| ids.iter().map(|id| read_id(id)).collect::<Result<_, _>>());
    let query = DeadLetterQuery {
        ids: ids.transpose()?,
        source: asked.source,
        subscription: asked.subscription,
        event_id: asked.event_id,
        event_type: asked.event_type,
        reason: asked.reason,
        after: None,
        limit: asked.limit,
    };
    check_names(&parts, &query).await?;
    match parts.grid.redrive(&query).await {
        Ok(redriven) => Ok(Json(Redriven { redriven })),
        Err(error) => Err(Problem::not_stored(&error)),
    }
}

#[derive(Serialize)]
pub(super) struct Deleted {
    deleted: u64,
}

/// Deletes dead letters for good. That all are meant has to be said.
pub(super) async fn delete(
    State(parts): State<Shared>,
    unwanted: Result<Query<Unwanted>, QueryRejection>,
) -> Result<Json<Deleted>, Problem> {
    let Query(unwanted) = unwanted?;
    let ids = unwanted
        .ids
        .map(|ids| ids.split(',').map(read_id).collect::<Result<_, _>>());
    let query = DeadLetterQuery {
        ids: ids.transpose()?,
        source: unwanted.source,
        subscription: unwanted.subscription,
        event_id: unwanted.event_id,
        event_type: unwanted.event_type,
        reason: unwanted.reason,
        after: None,
        limit: unwanted.limit,
    };
    if query.is_of_all() != unwanted.all {
        return Err(Problem::bad_request(
            "Say which dead letters to delete, by ids, source, subscription, eventId, eventType or reason, or say all=true."
                .to_owned(),
        ));
    }
    check_names(&parts, &query).await?;
    match parts.grid.delete_dead_letters(&query).await {
        Ok(deleted) => Ok(Json(Deleted { deleted })),
        Err(error) => Err(Problem::not_stored(&error)),
    }
}

/// Refuses names that nothing has: they are misspelt, and finding nothing would look like success. Of a subscription that
/// is deleted there may still be dead letters.
async fn check_names(parts: &Parts, query: &DeadLetterQuery) -> Result<(), Problem> {
    if let Some(reason) = &query.reason {
        let mut all = Reason::ALL.iter().map(|known| known.as_str());
        if !all.any(|known| known.eq_ignore_ascii_case(reason)) {
            let all = Reason::ALL.map(Reason::as_str).join(", ");
            return Err(Problem::bad_request(format!(
                "'{reason}' is no reason of a dead letter; there are {all}."
            )));
        }
    }
    let Some(name) = &query.subscription else {
        return Ok(());
    };
    if parts.grid.has_event_subscription_named(name) {
        return Ok(());
    }
    let (grid, left) = (
        parts.grid.clone(),
        DeadLetterQuery {
            subscription: Some(name.clone()),
            limit: Some(1),
            ..DeadLetterQuery::default()
        },
    );
    match tokio::task::spawn_blocking(move || grid.dead_letters(&left)).await {
        Ok(Ok(left)) if left.is_empty() => Err(Problem::bad_request(format!(
            "There is no event subscription '{name}', and no dead letter of one."
        ))),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Problem::not_stored(&error)),
        Err(error) => Err(Problem::not_stored(&error)),
    }
}

fn read_id(text: &str) -> Result<DeadLetterId, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_request(format!("'{text}' is not the id of a dead letter.")))
}
