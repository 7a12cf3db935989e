//! What happens to events: live, waited for, explained.
//!
//! Promise: a listener that cannot keep up is told how much it lost, and slows nobody. None holds a server that closes.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use gridpost_grid::tail::{Activity, What};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::activity::{ActivityOut, Kind};
use super::guard::require_still;
use super::problem::Problem;
use super::wait;
use crate::Shared;

/// Which activities somebody wants to hear of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Wanted {
    /// The event's type, compared without case.
    r#type: Option<String>,
    /// What the subject begins with, compared without case and without one leading slash.
    subject: Option<String>,
    /// The event's id.
    id: Option<String>,
    /// The name of the subscription it happens in, compared without case.
    subscription: Option<String>,
    /// What happens.
    what: Option<Kind>,
}

impl Wanted {
    fn matches(&self, activity: &Activity) -> bool {
        let event = &activity.event;
        let holds = |wanted: &Option<String>, compare: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(compare)
        };
        self.what.is_none_or(|what| what == Kind::of(activity))
            && holds(&self.id, &|id| *event.id == *id)
            && holds(&self.r#type, &|kind| {
                event.event_type.eq_ignore_ascii_case(kind)
            })
            && holds(&self.subject, &|prefix| begins_with(&event.subject, prefix))
            && holds(&self.subscription, &|name| {
                subscription(activity).is_some_and(|found| found.eq_ignore_ascii_case(name))
            })
    }
}

fn subscription(activity: &Activity) -> Option<&str> {
    match &activity.what {
        What::Accepted { .. } => None,
        What::Attempted { subscription, .. } | What::GivenUp { subscription, .. } => {
            Some(subscription)
        }
    }
}

/// Compares as a subscription's `subjectBeginsWith` on a communication resource does.
fn begins_with(subject: &str, prefix: &str) -> bool {
    let plain = |text: &'_ str| text.strip_prefix('/').unwrap_or(text).to_ascii_lowercase();
    plain(subject).starts_with(&plain(prefix))
}

/// Everything wanted that happens from now on, as server-sent events.
pub(super) async fn tail(
    State(parts): State<Shared>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted?;
    let head = request.into_parts().0;
    let lines = activities(parts.grid.tail(), wanted);
    let judge = Arc::clone(&parts);
    // Nobody is told of what happens after it may not be told any more.
    let lines = lines.take_while(move |_| ready(require_still(&judge, &head).is_ok()));
    let lines = lines.take_until(Box::pin({
        let closing = parts.closing.clone();
        async move { closing.begun().await }
    }));
    Ok(Sse::new(lines)
        .keep_alive(KeepAlive::default())
        .into_response())
}

fn activities(
    receiver: Receiver<Arc<Activity>>,
    wanted: Wanted,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((receiver, wanted), async |(mut receiver, wanted)| {
        let line = loop {
            match receiver.recv().await {
                Ok(activity) if wanted.matches(&activity) => break shown(&activity),
                Ok(_) => (),
                Err(RecvError::Lagged(count)) => {
                    break Event::default()
                        .event("lost")
                        .data(json!({"lost": count}).to_string());
                }
                Err(RecvError::Closed) => return None,
            }
        };
        Some((Ok(line), (receiver, wanted)))
    })
}

fn shown(activity: &Activity) -> Event {
    let data = serde_json::to_string(&ActivityOut::from(activity)).unwrap_or_default();
    Event::default()
        .event(Kind::of(activity).as_str())
        .data(data)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Timeout {
    timeout_seconds: Option<u64>,
}

/// The next wanted activity; without `what`, the next wanted event that is accepted.
pub(super) async fn wait_for(
    State(parts): State<Shared>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    timeout: Result<Query<Timeout>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let head = request.into_parts().0;
    let mut receiver = parts.grid.tail();
    let Query(mut wanted) = wanted?;
    wanted.what.get_or_insert(Kind::Accepted);
    let timeout = wait::timeout(timeout?.0.timeout_seconds)?;
    let mut deadline = parts.clock.sleep_until(parts.clock.now() + timeout);
    loop {
        let received = tokio::select! {
            received = receiver.recv() => received,
            () = parts.closing.begun() => return Err(Problem::closing()),
            () = &mut deadline => {
                let message = format!("Nothing of that kind happened within {} s.", timeout.as_secs());
                return Err(Problem::timed_out(message));
            }
        };
        match received {
            Ok(activity) if wanted.matches(&activity) => {
                require_still(&parts, &head)?;
                return Ok(Json(ActivityOut::from(&*activity)).into_response());
            }
            Ok(_) | Err(RecvError::Lagged(_)) => (),
            Err(RecvError::Closed) => return Err(Problem::closing()),
        }
    }
}
