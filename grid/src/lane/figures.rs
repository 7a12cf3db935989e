//! What others are told of a lane: how much waits, how far it has come, and how its attempts ended.
//!
//! Promise: looking changes nothing.
//! Not here: how counts are added up over lanes (`metrics`), lines in the log (`remarks`).

use std::sync::Arc;

use gridpost_model::Timestamp;
use gridpost_store::{Position, Progress};

use super::Lane;
use super::state::Gate;
use crate::metrics::{LaneMetrics, Pending};
use crate::probation::{Permit, Probation};
use crate::tail::Attempted;

impl Lane {
    /// How much would not be delivered any more if the lane were closed now.
    pub(crate) fn undelivered(&self) -> u64 {
        let state = self.lock();
        state.backlog.fresh() as u64 + state.waiting.rows()
    }

    pub(crate) fn progress(&self, tail: Position) -> Progress {
        self.lock().backlog.progress(tail)
    }

    pub(crate) fn add_pending(&self, pending: &mut Pending) {
        let now = self.shared.clock.now();
        let state = self.lock();
        let fresh = state.backlog.fresh() as u64 + u64::from(state.backlog.is_behind());
        let sends = state.gate == Gate::Open
            && matches!(state.probation.permit(now), Permit::Free | Permit::Probe)
            && state.rate_holds(now).is_none();
        *(if sends {
            &mut pending.fresh
        } else {
            &mut pending.held
        }) += fresh;
        // What is being read is about to be tried: whoever waits for quiet must not look away now.
        let reading = usize::from(state.reading);
        pending.in_flight += (state.in_flight + state.ledger.len() + reading) as u64;
        pending.due += u64::from(sends && state.waiting.is_due(now));
        pending.waiting += state.waiting.rows();
    }

    pub(crate) fn metrics(&self, now: Timestamp) -> LaneMetrics {
        let plan = self.plan.load();
        let state = self.lock();
        LaneMetrics {
            lane: self.id,
            source: plan.subscription.source.clone(),
            subscription: Arc::clone(&plan.name),
            stands_for: None,
            counts: state.counts.clone(),
            fresh: state.backlog.fresh() as u64,
            behind: state.backlog.is_behind(),
            in_flight: state.in_flight as u64,
            waiting: state.waiting.rows(),
            probation: matches!(state.probation, Probation::Left { .. }),
            oldest_undelivered: state.oldest().map(|since| now.since(since)),
        }
    }

    /// The end of its destination's probation, while it is on probation.
    pub(crate) fn probation_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.lock().probation {
            Probation::Left { until, .. } => Some(until.max(now)),
            Probation::Trusted { .. } => None,
        }
    }

    /// The attempts that are remembered, oldest first.
    pub(crate) fn recent(&self) -> Vec<Attempted> {
        self.lock().recent.all()
    }
}
