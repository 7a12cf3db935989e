//! Events delivered once more: asked for, tried out, watched and cancelled.
//!
//! Not here: what a replay is and does (`grid::replay`), what a filter is (`arm::filter_body`).

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_grid::replay::{
    Ended, Preview, Replay, ReplayError, ReplayId, ReplaySpec, ReplayState, Selection,
};
use gridpost_model::{ResourceId, Timestamp};
use http::{HeaderName, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::Value;
use super::numbers::sentence;
use super::problem::{Problem, read_json};
use crate::{Shared, arm};

/// Events per second when nobody says: little beside what an endpoint gets at the same time.
const USUAL_RATE: u32 = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    subscription: String,
    source: Option<ResourceId>,
    event_id: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    filter: Option<serde_json::Value>,
    rate: Option<u32>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PreviewOut {
    /// How many events would be handed over.
    events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Timestamp>,
    /// How long that would take at the rate.
    seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayOut {
    id: String,
    subscription: String,
    source: ResourceId,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<serde_json::Value>,
    rate: u32,
    state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    handed_over: u64,
    /// The share of the journal that was gone through, 0 to 1.
    progress: f64,
    /// Some of the journal was given up before the replay came to it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    missed: bool,
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
}

impl From<Replay> for ReplayOut {
    fn from(replay: Replay) -> Self {
        let progress = (replay.progress() * 1e4).round() / 1e4;
        let chosen = replay.selection;
        Self {
            id: replay.id.to_string(),
            subscription: replay.subscription,
            source: replay.source,
            event_id: chosen.event_id,
            from: chosen.from,
            to: chosen.to,
            filter: chosen.filter.as_ref().map(arm::shown_filter),
            rate: replay.rate,
            state: match replay.state {
                ReplayState::Running => "running",
                ReplayState::Done => "done",
                ReplayState::Cancelled => "cancelled",
                ReplayState::Failed(_) => "failed",
            },
            because: match replay.state {
                ReplayState::Failed(why) => Some(why),
                _ => None,
            },
            handed_over: replay.handed_over,
            progress,
            missed: replay.missed,
            created: replay.created,
            ended: replay.ended,
        }
    }
}

/// Asks for a replay, or with `dryRun` what it would do.
pub(super) async fn post(State(parts): State<Shared>, body: Bytes) -> Result<Response, Problem> {
    let asked: Asked = read_json(&body)?;
    let filter = asked.filter.map(arm::read_filter).transpose();
    let spec = ReplaySpec {
        source: asked.source,
        subscription: asked.subscription,
        selection: Selection {
            event_id: asked.event_id,
            from: asked.from,
            to: asked.to,
            filter: filter.map_err(Problem::bad_request)?,
        },
        rate: asked.rate.unwrap_or(USUAL_RATE),
    };
    let grid = parts.grid.clone();
    let runtime = tokio::runtime::Handle::current();
    // Both read the journal, which may take a moment.
    let answer = tokio::task::spawn_blocking(move || {
        if asked.dry_run {
            let preview = grid.preview_replay(&spec)?;
            return Ok(Json(previewed(preview, spec.rate)).into_response());
        }
        let replay = runtime.block_on(grid.replay(&spec))?;
        Ok::<_, ReplayError>(accepted(replay))
    });
    match answer.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(error.into()),
        Err(error) => Err(Problem::not_stored(&error)),
    }
}

fn previewed(preview: Preview, rate: u32) -> PreviewOut {
    PreviewOut {
        events: preview.events,
        first: preview.first,
        last: preview.last,
        seconds: preview.events.div_ceil(u64::from(rate)),
    }
}

fn accepted(replay: Replay) -> Response {
    let place: (HeaderName, String) = (
        header::LOCATION,
        format!("/_gridpost/v1/replays/{}", replay.id),
    );
    (StatusCode::ACCEPTED, [place], Json(ReplayOut::from(replay))).into_response()
}

/// All replays, the newest first.
pub(super) async fn list(State(parts): State<Shared>) -> Json<Value<ReplayOut>> {
    let replays = parts.grid.replays();
    Json(Value {
        value: replays.into_iter().map(ReplayOut::from).collect(),
    })
}

/// One replay.
pub(super) async fn get(
    State(parts): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ReplayOut>, Problem> {
    let name = id?.0;
    let replay = read_id(&name).and_then(|id| parts.grid.replay_named(id));
    replay
        .map(|replay| Json(replay.into()))
        .ok_or_else(|| unknown(&name))
}

/// Cancels a replay that is under way, and forgets one that has ended.
pub(super) async fn delete(
    State(parts): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let name = id?.0;
    let id = read_id(&name).ok_or_else(|| unknown(&name))?;
    match parts.grid.end_replay(id).await {
        Ok(Ended::Cancelled(replay)) => Ok(Json(ReplayOut::from(*replay)).into_response()),
        Ok(Ended::Forgotten) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Ended::Unknown) => Err(unknown(&name)),
        Err(error) => Err(Problem::not_stored(&error)),
    }
}

fn read_id(text: &str) -> Option<ReplayId> {
    text.parse().ok()
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("There is no replay '{name}'."))
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match &error {
            ReplayError::Invalid(invalid) => {
                Self::bad_request(format!("{}: {}", invalid.field, invalid.message))
            }
            ReplayError::WhichSource(_) => Self::bad_request(sentence(&error)),
            ReplayError::NoSubscription(_) | ReplayError::NoEvent(_) => {
                Self::not_found(sentence(&error))
            }
            ReplayError::Failed(_) | ReplayError::TooMany => Self::conflict(sentence(&error)),
            ReplayError::Journal(_) | ReplayError::NotStored(_) => Self::not_stored(&error),
        }
    }
}
