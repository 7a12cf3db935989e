//! A filter tried on events that are kept, before anybody saves it.
//!
//! Not here: how a filter is written (`arm::filter_body`), what it makes of an event (`grid::dry_run`).

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use gridpost_grid::dry_run::{DryRunError, MOST, Tried};
use gridpost_model::filter::Refusal;
use gridpost_model::{ResourceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::numbers::sentence;
use super::problem::{Problem, read_json};
use crate::{Shared, arm};

/// Events tried when nobody says how many.
const USUAL: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    source: ResourceId,
    /// As in an event subscription.
    filter: serde_json::Value,
    last: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct DryRunOut {
    /// How many events were tried.
    tried: usize,
    /// How many of them match.
    matched: usize,
    /// The newest first.
    value: Vec<TriedOut>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TriedOut {
    id: String,
    event_type: String,
    subject: String,
    topic: String,
    accepted: Timestamp,
    position: u64,
    matched: bool,
    /// Why it is refused, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Refusal>,
}

impl From<Tried> for TriedOut {
    fn from(tried: Tried) -> Self {
        Self {
            id: tried.id.into(),
            event_type: tried.event_type.into(),
            subject: tried.subject.into(),
            topic: tried.topic.to_string(),
            accepted: tried.accepted,
            position: tried.position.0,
            matched: tried.refusal.is_none(),
            because: tried.refusal.as_ref().map(Refusal::to_string),
            refusal: tried.refusal,
        }
    }
}

/// Tries a filter on the newest events of a source.
pub(super) async fn try_filter(
    State(parts): State<Shared>,
    body: Bytes,
) -> Result<Json<DryRunOut>, Problem> {
    let asked: Asked = read_json(&body)?;
    let filter = arm::read_filter(asked.filter).map_err(Problem::bad_request)?;
    let last = asked.last.unwrap_or(USUAL);
    if !(1..=MOST).contains(&last) {
        return Err(Problem::bad_request(format!(
            "'last' must be from 1 to {MOST}."
        )));
    }
    let grid = parts.grid.clone();
    // It reads the journal, which may take a moment.
    let tried = tokio::task::spawn_blocking(move || grid.dry_run(&asked.source, filter, last));
    let tried = match tried.await {
        Ok(tried) => tried?,
        Err(error) => return Err(Problem::not_stored(&error)),
    };
    let value: Vec<TriedOut> = tried.into_iter().map(TriedOut::from).collect();
    Ok(Json(DryRunOut {
        tried: value.len(),
        matched: value.iter().filter(|one| one.matched).count(),
        value,
    }))
}

impl From<DryRunError> for Problem {
    fn from(error: DryRunError) -> Self {
        match &error {
            DryRunError::Invalid(invalid) => {
                Self::bad_request(format!("{}: {}", invalid.field, invalid.message))
            }
            DryRunError::UnknownSource(_) => Self::not_found(sentence(&error)),
            DryRunError::Journal(_) => Self::not_stored(&error),
        }
    }
}
