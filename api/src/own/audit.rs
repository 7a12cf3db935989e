//! The audit log, read.
//!
//! Promise: who may not read of principals, and of what is assigned above the subscription, does not read of them here.
//! Not here: what is written into it (`crate::audit`), how it is kept (`grid::audit`).

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use gridpost_grid::audit::{AuditQuery, Entry};
use gridpost_model::role::covers;
use gridpost_model::{Plane, Timestamp};
use serde::{Deserialize, Serialize};

use super::access::{READ_AUDIT, read_at};
use super::guard::SignedIn;
use super::problem::Problem;
use crate::Shared;
use crate::auth::{Principal, allow};

/// How many stand on a page at most.
const PAGE_LIMIT: usize = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Asked {
    principal: Option<String>,
    action: Option<String>,
    scope: Option<String>,
    /// `succeeded` or `refused`.
    outcome: Option<Outcome>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    correlation_id: Option<String>,
    limit: Option<usize>,
    before: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Succeeded,
    Refused,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryOut {
    number: u64,
    time: Timestamp,
    principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    action: String,
    scope: String,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    correlation_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<serde_json::Value>,
}

impl From<(u64, Entry)> for EntryOut {
    fn from((number, entry): (u64, Entry)) -> Self {
        Self {
            number,
            time: entry.at,
            principal: entry.principal,
            object_id: entry.object_id,
            address: entry.address,
            action: entry.action,
            scope: entry.scope,
            status: entry.status,
            code: entry.code,
            correlation_id: entry.correlation_id,
            client_request_id: entry.client_request_id,
            command: entry.command,
            request: entry.request,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Page {
    value: Vec<EntryOut>,
    /// What to ask for as `before` to see older ones; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// A page of the log, the newest row first.
pub(super) async fn list(
    State(parts): State<Shared>,
    Extension(SignedIn(caller)): Extension<SignedIn>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(asked) = asked?;
    let query = AuditQuery {
        before: asked.before,
        since: asked.since,
        until: asked.until,
        principal: asked.principal,
        action: asked.action,
        scope: asked.scope,
        refused: asked.outcome.map(|outcome| outcome == Outcome::Refused),
        correlation_id: asked.correlation_id,
        limit: asked.limit.unwrap_or(100).clamp(1, PAGE_LIMIT),
    };
    let grid = parts.grid.clone();
    let reader = Reader::new(parts, caller.as_ref());
    // A filter that fits little reads much of the table.
    let may_read = move |row: &Entry| reader.may_read(row);
    let found = tokio::task::spawn_blocking(move || grid.audit(&query, may_read)).await;
    let page = match found {
        Ok(Ok(page)) => page,
        Ok(Err(error)) => return Err(Problem::not_stored(&error)),
        Err(error) => return Err(Problem::not_stored(&error)),
    };
    Ok(Json(Page {
        value: page.rows.into_iter().map(EntryOut::from).collect(),
        next: page.next,
    }))
}

/// Who reads.
struct Reader {
    parts: Shared,
    /// Whether everything: a caller of this machine, or who may read the log at `/`.
    everything: bool,
}

impl Reader {
    fn new(parts: Shared, caller: Option<&Principal>) -> Self {
        let may = |caller| allow(&parts, caller, Plane::Management, READ_AUDIT, "/");
        let everything = caller.is_none_or(may);
        Self { parts, everything }
    }

    /// Whoever gets here holds a role at the subscription.
    fn may_read(&self, row: &Entry) -> bool {
        let subscription = &self.parts.tenant.subscription_id;
        let subscription = format!("/subscriptions/{subscription}");
        self.everything || covers(&subscription, &read_at(&self.parts, &row.scope))
    }
}
