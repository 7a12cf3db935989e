//! Reading sinks back and telling them how to behave.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::problem::{Problem, read_json};
use super::{Value, wait};
use crate::sinks::behaviour::Behaviour;
use crate::sinks::kept::{REQUESTS_LIMIT, Received, Wanted};
use crate::sinks::{Sink, SinkError};
use crate::{Parts, Profile, Shared};

/// How many requests a page has when nobody says.
const PAGE: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    name: Box<str>,
    received: u64,
    kept: usize,
    behaviour: Behaviour,
}

/// All sinks.
pub(super) async fn list(State(parts): State<Shared>) -> Json<Value<Summary>> {
    let value = parts
        .sinks
        .all()
        .into_iter()
        .map(|(name, sink)| {
            let (received, kept) = sink.counts();
            Summary {
                name,
                received,
                kept,
                behaviour: sink.behaviour(),
            }
        })
        .collect();
    Json(Value { value })
}

/// Forgets a sink.
pub(super) async fn delete(
    State(parts): State<Shared>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    if parts.sinks.remove(&name) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found(format!("There is no sink '{name}'.")))
    }
}

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct Requests {
    requests: Vec<Arc<Received>>,
}

/// What a sink received.
pub(super) async fn requests(
    State(parts): State<Shared>,
    Path(name): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Requests>, Problem> {
    let Query(page) = page?;
    let limit = page.limit.unwrap_or(PAGE).min(REQUESTS_LIMIT);
    let found = parts.sinks.find(&name);
    let requests = found
        .map(|sink| sink.requests(page.after, limit))
        .unwrap_or_default();
    Ok(Json(Requests { requests }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wait {
    event_type: Option<String>,
    subject_begins_with: Option<String>,
    id: Option<String>,
    count: Option<usize>,
    #[serde(default)]
    after: u64,
    timeout_seconds: Option<u64>,
}

/// Waits for what a sink shall receive.
pub(super) async fn wait_for(
    State(parts): State<Shared>,
    Path(name): Path<String>,
    asked: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<Requests>, Problem> {
    let Query(asked) = asked?;
    let count = asked.count.unwrap_or(1);
    if !(1..=REQUESTS_LIMIT).contains(&count) {
        return Err(Problem::bad_request("'count' must be from 1 to 1000."));
    }
    let timeout = wait::timeout(asked.timeout_seconds)?;
    let wanted = Wanted {
        event_type: asked.event_type,
        subject_begins_with: asked.subject_begins_with,
        id: asked.id,
    };
    let sink = usable(&parts, &name)?;
    let until = parts.clock.now() + timeout;
    let found = tokio::select! {
        found = sink.wait(&wanted, asked.after, count, &*parts.clock, until) => found,
        () = parts.closing.begun() => return Err(Problem::closing()),
    };
    if found.complete {
        return Ok(Json(Requests {
            requests: found.requests,
        }));
    }
    Err(Problem::timed_out(format!(
        "{} of {count} matching requests arrived at sink '{name}' within {} s; it received {} in all.",
        found.requests.len(),
        timeout.as_secs(),
        sink.counts().0,
    )))
}

/// How a sink behaves.
pub(super) async fn behaviour(
    State(parts): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Behaviour>, Problem> {
    Ok(Json(usable(&parts, &name)?.behaviour()))
}

/// Tells a sink how to behave.
pub(super) async fn put_behaviour(
    State(parts): State<Shared>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Behaviour>, Problem> {
    let behaviour: Behaviour = read_json(&body)?;
    let behaviour = behaviour
        .checked()
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    usable(&parts, &name)?.behave(behaviour.clone());
    Ok(Json(behaviour))
}

fn usable(parts: &Parts, name: &str) -> Result<Arc<Sink>, Problem> {
    if parts.profile == Profile::Production {
        return Err(Problem::not_found(
            "There are no sinks in the production profile.",
        ));
    }
    parts
        .sinks
        .named(name)
        .map_err(|error: SinkError| error.into())
}
