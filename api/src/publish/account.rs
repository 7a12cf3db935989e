//! What is told of a publish request when it has ended: a refusal to the metrics, its span to the trace.
//!
//! Promise: every refusal is counted once, under the source it was for and the reason it was refused for. Events carry
//! the trace of their publisher on.
//! Source: reference event-grid 8.1; W3C Trace Context.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use gridpost_grid::intake::Intake;
use gridpost_grid::trace::{Published, Publishing, TRACEPARENT};
use gridpost_model::{Event, TraceContext};
use http::Method;

use crate::Parts;
use crate::problem::PublishRefusal;

/// One request, as far as it is known by now.
pub(super) struct Account {
    intake: Option<Arc<Intake>>,
    events: usize,
    /// None: the request only asks what may be published.
    trace: Option<Publishing>,
}

impl Account {
    /// A request begins.
    pub(super) fn open(parts: &Parts, request: &Request) -> Self {
        let traceparent = || -> Option<TraceContext> {
            let value = request.headers().get(TRACEPARENT)?;
            value.to_str().ok()?.trim().parse().ok()
        };
        let publishes = request.method() == Method::POST;
        Self {
            intake: None,
            events: 0,
            trace: publishes.then(|| parts.grid.publishing(traceparent())),
        }
    }

    /// The request is for this.
    pub(super) fn is_for(&mut self, intake: Arc<Intake>) -> Arc<Intake> {
        Arc::clone(self.intake.insert(intake))
    }

    /// The request carries these.
    pub(super) fn carries(&mut self, parts: &Parts, events: &mut [Event]) {
        self.events = events.len();
        if let Some(trace) = &mut self.trace {
            parts.grid.join(trace, events);
        }
    }

    /// The request has ended so; gives the answer.
    pub(super) fn close(self, parts: &Parts, done: Result<Response, PublishRefusal>) -> Response {
        let source = self.intake.as_ref().map(|intake| &intake.id);
        let mut published = Published {
            source,
            events: self.events,
            status: 0,
            refusal: None,
        };
        let response = match done {
            Ok(response) => response,
            Err(refusal) => {
                let (error, error_type) = refusal.cause();
                parts.grid.publish_refused(source, error, error_type);
                published.refusal = Some(error_type);
                refusal.answer(parts)
            }
        };
        if let Some(trace) = self.trace {
            published.status = response.status().as_u16();
            parts.grid.published(trace, &published);
        }
        response
    }
}
