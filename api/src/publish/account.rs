//! What is told of a publish request when it has ended.
//!
//! Promise: every refusal is counted once, under the source it was for and the reason it was refused for.
//! Source: reference event-grid 8.1.

use std::sync::Arc;

use axum::response::Response;
use gridpost_grid::intake::Intake;

use crate::Parts;
use crate::problem::PublishRefusal;

/// One request, as far as it is known by now.
#[derive(Default)]
pub(super) struct Account {
    intake: Option<Arc<Intake>>,
}

impl Account {
    /// The request is for this.
    pub(super) fn is_for(&mut self, intake: Arc<Intake>) -> Arc<Intake> {
        Arc::clone(self.intake.insert(intake))
    }

    /// The request has ended so; gives the answer.
    pub(super) fn end(self, parts: &Parts, done: Result<Response, PublishRefusal>) -> Response {
        let refusal = match done {
            Ok(response) => return response,
            Err(refusal) => refusal,
        };
        let (error, error_type) = refusal.cause();
        let source = self.intake.as_ref().map(|intake| &intake.id);
        parts.grid.publish_refused(source, error, error_type);
        refusal.answer(parts)
    }
}
