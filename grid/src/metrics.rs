//! The numbers behind each promise: accepted, delivered, retried, dead-lettered, dropped, and the age of the oldest
//! undelivered event.
//!
//! Promise: counting costs delivery an addition under a lock it holds anyway. Names are those of the service's metrics;
//! `retried` and the ages are our own.
//! Source: reference event-grid 8.1.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gridpost_model::ResourceId;
use gridpost_model::subscription::LaneId;
use parking_lot::RwLock;

use crate::retry::{Outcome, Reason};

/// All counters at one moment. They start at zero with the process.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Per source.
    pub topics: Vec<TopicMetrics>,
    /// Per event subscription.
    pub lanes: Vec<LaneMetrics>,
}

/// The counters of one source.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    /// The source.
    pub source: ResourceId,
    /// `PublishSuccessCount`: events accepted.
    pub publish_success: u64,
    /// `PublishFailCount`: events that were not stored.
    pub publish_fail: u64,
    /// `UnmatchedEventCount`.
    pub unmatched: u64,
    /// `PublishSuccessLatencyInMs`, summed over batches.
    pub publish_success_latency: Duration,
}

/// The counters of one event subscription.
#[derive(Clone, Debug)]
pub struct LaneMetrics {
    /// Its queue.
    pub lane: LaneId,
    /// Its source.
    pub source: ResourceId,
    /// Its name.
    pub subscription: Arc<str>,
    /// What happened so far.
    pub counts: Counts,
    /// Fresh events in memory.
    pub fresh: u64,
    /// Whether there are more in the journal than in memory.
    pub behind: bool,
    /// Attempts under way.
    pub in_flight: u64,
    /// Deliveries that are due later.
    pub waiting: u64,
    /// Whether the destination is being left alone.
    pub probation: bool,
    /// How long the oldest undelivered event that we know of has been waiting.
    pub oldest_undelivered: Option<Duration>,
}

/// What happened in one lane.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// `MatchedEventCount`.
    pub matched: u64,
    /// `DeliverySuccessCount`.
    pub delivered: u64,
    /// `DeliveryAttemptFailCount`, by `Error`.
    pub failed: BTreeMap<&'static str, u64>,
    /// Failures that are tried again.
    pub retried: u64,
    /// `DeadLetteredCount`, by `DeadLetterReason`.
    pub dead_lettered: BTreeMap<&'static str, u64>,
    /// `DroppedEventCount`: undelivered when the subscription was deleted.
    pub dropped: u64,
    /// `DestinationProcessingDurationInMs`, summed over attempts.
    pub processing: Duration,
}

impl Counts {
    pub(crate) fn failed(&mut self, outcome: Outcome) {
        *self.failed.entry(outcome.as_str()).or_default() += 1;
    }

    pub(crate) fn dead_lettered(&mut self, reason: Reason) {
        *self.dead_lettered.entry(reason.as_str()).or_default() += 1;
    }
}

/// What is still to be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Never tried, in lanes that may send; a lane that has more in the journal counts one for it.
    pub fresh: u64,
    /// Never tried, in lanes that may not send now (probation, manual validation).
    pub held: u64,
    /// Being tried, or being written down.
    pub in_flight: u64,
    /// Lanes that may send and have retries due now.
    pub due: u64,
    /// Due at some moment, now included.
    pub waiting: u64,
}

impl Pending {
    /// Whether nothing happens until the clock moves.
    pub fn is_quiet(&self) -> bool {
        self.fresh == 0 && self.in_flight == 0 && self.due == 0
    }
}

/// The counters of all sources.
#[derive(Default)]
pub(crate) struct Topics(RwLock<HashMap<ResourceId, Arc<TopicCounts>>>);

#[derive(Default)]
pub(crate) struct TopicCounts {
    published: AtomicU64,
    failed: AtomicU64,
    unmatched: AtomicU64,
    latency_ns: AtomicU64,
}

impl TopicCounts {
    pub(crate) fn published(&self, events: usize, unmatched: usize, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.published.fetch_add(events as u64, Ordering::Relaxed);
        self.unmatched
            .fetch_add(unmatched as u64, Ordering::Relaxed);
        self.latency_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, events: usize) {
        self.failed.fetch_add(events as u64, Ordering::Relaxed);
    }
}

impl Topics {
    /// The counters of one source.
    pub(crate) fn of(&self, source: &ResourceId) -> Arc<TopicCounts> {
        if let Some(found) = self.0.read().get(source) {
            return Arc::clone(found);
        }
        Arc::clone(self.0.write().entry(source.clone()).or_default())
    }

    /// Forgets a source that was deleted.
    pub(crate) fn forget(&self, source: &ResourceId) {
        self.0.write().remove(source);
    }

    pub(crate) fn report(&self) -> Vec<TopicMetrics> {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.0
            .read()
            .iter()
            .map(|(source, counts)| TopicMetrics {
                source: source.clone(),
                publish_success: number(&counts.published),
                publish_fail: number(&counts.failed),
                unmatched: number(&counts.unmatched),
                publish_success_latency: Duration::from_nanos(number(&counts.latency_ns)),
            })
            .collect()
    }
}
