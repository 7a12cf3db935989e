//! Built-in webhook receivers, for demonstrations and tests.
//!
//! Promise: any webhook is accepted as its sender expects, handshakes included, and can be read back afterwards. A
//! sink is made by its first use. Receiving parses nothing, so a sink can stand at the end of a benchmark.
//! Not here: what is kept (`kept`), how a sink answers (`behaviour`), the calls that read it back (`own::sinks`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_model::{Clock, Timestamp};
use http::StatusCode;
use http::request::Parts as Head;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::own::problem::Problem;
use crate::path::RawTarget;
use crate::{Profile, Shared};

pub mod behaviour;
pub mod kept;

use behaviour::{Answer, Behaviour, HANG_LIMIT, Manner};
use kept::{Kept, Received, Wanted};

/// How many sinks exist at most. Each may hold 64 MiB, and a client that makes names up must not fill the memory.
pub const SINKS_LIMIT: usize = 1_000;

/// How long a sink's name is at most: it stands in paths.
const NAME_LIMIT: usize = 64;

/// How large a request body is read at most: comfortably more than any delivery, of which only a part is kept.
const READ_LIMIT: usize = 4 << 20;

/// The receivers and what they received.
#[derive(Clone, Debug, Default)]
pub struct Sinks(Arc<RwLock<HashMap<Box<str>, Arc<Sink>>>>);

/// A sink cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The name is not one.
    #[error("A sink's name is 1 to 64 letters, digits, '.', '-' and '_'.")]
    BadName,
    /// There are too many.
    #[error("There are 1,000 sinks already. Delete one first.")]
    TooMany,
}

impl Sinks {
    /// The sink of that name, made if need be.
    ///
    /// # Errors
    /// The name is bad, or there are too many sinks.
    pub fn named(&self, name: &str) -> Result<Arc<Sink>, SinkError> {
        if let Some(sink) = self.0.read().get(name) {
            return Ok(Arc::clone(sink));
        }
        let is_good = (1..=NAME_LIMIT).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        if !is_good {
            return Err(SinkError::BadName);
        }
        let mut all = self.0.write();
        if all.len() >= SINKS_LIMIT && !all.contains_key(name) {
            return Err(SinkError::TooMany);
        }
        Ok(Arc::clone(all.entry(name.into()).or_default()))
    }

    /// The sink of that name, if there is one.
    pub fn find(&self, name: &str) -> Option<Arc<Sink>> {
        self.0.read().get(name).cloned()
    }

    /// All sinks, by name.
    pub fn all(&self) -> Vec<(Box<str>, Arc<Sink>)> {
        let all = self.0.read();
        let mut all: Vec<_> = all
            .iter()
            .map(|(name, sink)| (name.clone(), Arc::clone(sink)))
            .collect();
        all.sort_by(|left, right| left.0.cmp(&right.0));
        all
    }

    /// How many requests are answered only when time has passed.
    pub fn waiting_for_time(&self) -> u64 {
        let waiting = |sink: &Arc<Sink>| sink.waiting_for_time.load(Ordering::Relaxed);
        self.0.read().values().map(waiting).sum()
    }

    /// Forgets a sink and all it received. Tells whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        let removed = self.0.write().remove(name);
        if let Some(sink) = &removed {
            // Whoever hangs there is let go.
            sink.behave(Behaviour::default());
        }
        removed.is_some()
    }
}

/// One receiver.
#[derive(Debug, Default)]
pub struct Sink {
    state: Mutex<SinkState>,
    arrived: Notify,
    behaviour_changed: Notify,
    /// Requests that are answered when time has passed.
    waiting_for_time: AtomicU64,
}

#[derive(Debug, Default)]
struct SinkState {
    kept: Kept,
    manner: Manner,
}

/// What a wait found.
#[derive(Debug)]
pub struct Found {
    /// The matching requests, oldest first, at most as many as were asked for.
    pub requests: Vec<Arc<Received>>,
    /// Whether there are as many as were asked for.
    pub complete: bool,
}

impl Sink {
    /// Keeps a request and decides how to answer it.
    fn receive(&self, head: &Head, body: &Bytes, now: Timestamp) -> Answer {
        let target = head
            .extensions
            .get::<RawTarget>()
            .map_or(&head.uri, |raw| &raw.0);
        let received = Received::new(head, target, body, now);
        let answer = {
            let mut state = self.state.lock();
            state.kept.push(received);
            state.manner.answer(&head.method, &head.headers, body)
        };
        self.arrived.notify_waiters();
        answer
    }

    /// Kept requests with a number above `after`, oldest first.
    pub fn requests(&self, after: u64, limit: usize) -> Vec<Arc<Received>> {
        self.state
            .lock()
            .kept
            .after(after)
            .take(limit)
            .cloned()
            .collect()
    }

    /// How many requests came, and how many of them are still kept.
    pub fn counts(&self) -> (u64, usize) {
        let state = self.state.lock();
        (state.kept.last(), state.kept.len())
    }

    /// How it answers now.
    pub fn behaviour(&self) -> Behaviour {
        self.state.lock().manner.behaviour().clone()
    }

    /// Answers otherwise from now on. Requests that hang are let go.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.lock().manner.set(behaviour);
        self.behaviour_changed.notify_waiters();
    }

    /// Waits until `count` wanted requests above `after` are there, or until a moment.
    pub async fn wait(
        &self,
        wanted: &Wanted,
        after: u64,
        count: usize,
        clock: &dyn Clock,
        until: Timestamp,
    ) -> Found {
        let mut requests = Vec::new();
        let mut seen = after;
        let mut deadline = clock.sleep_until(until);
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            // Parsing happens outside the lock, so that waiting does not slow receiving down.
            for request in self.requests(seen, usize::MAX) {
                seen = request.number();
                if wanted.matches(&request) {
                    requests.push(request);
                }
                if requests.len() >= count {
                    return Found {
                        requests,
                        complete: true,
                    };
                }
            }
            tokio::select! {
                () = &mut arrived => (),
                () = &mut deadline => return Found { requests, complete: false },
            }
        }
    }

    /// Ends when the behaviour that made a request hang is replaced, or at the limit.
    async fn hang(&self, generation: u64, clock: &dyn Clock) {
        let mut limit = clock.sleep_until(clock.now() + HANG_LIMIT);
        loop {
            let changed = self.behaviour_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.state.lock().manner.generation() != generation {
                return;
            }
            tokio::select! {
                () = &mut changed => (),
                () = &mut limit => return,
            }
        }
    }
}

/// The webhook itself: every method but `DELETE`, which forgets the sink.
pub(crate) async fn receive(
    State(parts): State<Shared>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    if parts.profile == Profile::Production {
        return Err(Problem::not_found(
            "There are no sinks in the production profile.",
        ));
    }
    let Ok(body) = axum::body::to_bytes(body, READ_LIMIT).await else {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLarge",
            "A sink reads bodies of at most 4 MiB.",
        ));
    };
    let sink = parts.sinks.named(&name)?;
    let answer = sink.receive(&head, &body, parts.clock.now());
    tokio::select! {
        answer = carry_out(answer, &sink, &*parts.clock) => Ok(answer),
        () = parts.closing.begun() => Err(Problem::closing()),
    }
}

async fn carry_out(answer: Answer, sink: &Sink, clock: &dyn Clock) -> Response {
    match answer {
        Answer::Now(response) => response,
        Answer::Later { status, delay } => {
            let _waits = Waits::at(sink);
            clock.sleep_until(clock.now() + delay).await;
            status.into_response()
        }
        Answer::Hang { generation } => {
            let _waits = Waits::at(sink);
            sink.hang(generation, clock).await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// One request that waits for time, counted until it is answered or its sender leaves.
struct Waits<'a>(&'a AtomicU64);

impl<'a> Waits<'a> {
    fn at(sink: &'a Sink) -> Self {
        sink.waiting_for_time.fetch_add(1, Ordering::Relaxed);
        Self(&sink.waiting_for_time)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_counted() {
        let sinks = Sinks::default();
        for name in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert_eq!(sinks.named(name).unwrap_err(), SinkError::BadName, "{name}");
        }
        for number in 0..SINKS_LIMIT {
            sinks.named(&format!("sink-{number}")).unwrap();
        }
        assert_eq!(sinks.named("one-more").unwrap_err(), SinkError::TooMany);
        assert!(sinks.named("sink-7").is_ok());
        assert!(sinks.remove("sink-7"));
        assert!(!sinks.remove("sink-7"));
        assert!(sinks.named("one-more").is_ok());
    }
}
