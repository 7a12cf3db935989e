//! Handshakes that failed: what was asked, what came back, what was expected.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use gridpost_grid::refusals::FailedHandshake;
use gridpost_grid::transcript::Transcript;
use gridpost_model::{ResourceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Value;
use super::problem::Problem;
use crate::Shared;

#[derive(Deserialize)]
pub(super) struct Wanted {
    source: Option<ResourceId>,
    name: Option<String>,
}

#[derive(Serialize)]
pub(super) struct HandshakeOut {
    at: Timestamp,
    source: String,
    name: String,
    #[serde(flatten)]
    transcript: Transcript,
}

impl From<&FailedHandshake> for HandshakeOut {
    fn from(one: &FailedHandshake) -> Self {
        Self {
            at: one.at,
            source: one.source.as_str().to_owned(),
            name: one.name.clone(),
            transcript: one.transcript.clone(),
        }
    }
}

/// The newest first.
pub(super) async fn list(
    State(parts): State<Shared>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value<HandshakeOut>>, Problem> {
    let Query(wanted) = wanted?;
    let found = parts
        .grid
        .failed_handshakes(wanted.source.as_ref(), wanted.name.as_deref());
    let value = found.iter().map(|one| HandshakeOut::from(&**one)).collect();
    Ok(Json(Value { value }))
}
