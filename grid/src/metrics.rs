//! The numbers behind each promise: accepted, refused, delivered, retried, dead-lettered, dropped, how long it took, and
//! the age of the oldest undelivered event.
//!
//! Promise: counting costs delivery an addition under a lock it holds anyway, and publishing a few relaxed additions to
//! what was found once for the batch. Names are those of the service's metrics; `retried` and the ages are our own.
//! Source: reference event-grid 8.1.

mod fold;
mod histogram;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gridpost_model::subscription::{EventSubscription, LaneId, ProvisioningState};
use gridpost_model::{ResourceId, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::Grid;
use crate::retry::{Outcome, Reason};
use fold::{Fold, Foldable};
use histogram::SharedHistogram;

pub use fold::NAMED;
pub use histogram::{Bounds, Histogram};

/// Names of deleted subscriptions whose dropped events are counted one by one, per source. The next ones share a name.
const DROPPED_NAMES: usize = 32;

/// The name that they share. No event subscription is called so.
const OTHER_NAMES: &str = "_other";

/// All counters at one moment. They start at zero with the process.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Per source. At most [`NAMED`] by name, and one for all others.
    pub topics: Vec<TopicMetrics>,
    /// Per event subscription. At most [`NAMED`] by name, and one for all others.
    pub lanes: Vec<LaneMetrics>,
    /// Publish requests that named no source there is.
    pub refused_nowhere: Refusals,
    /// Deliveries that were dropped when their source was deleted, by `DropReason`.
    pub dropped_nowhere: BTreeMap<&'static str, u64>,
}

/// Refused publish requests, by `Error` and `ErrorType`.
pub type Refusals = BTreeMap<(&'static str, &'static str), u64>;

/// The counters of one source.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    /// The source.
    pub source: ResourceId,
    /// Not this source's numbers, but those of so many that are not reported by name.
    pub stands_for: Option<u64>,
    /// `PublishSuccessCount`: events accepted.
    pub publish_success: u64,
    /// Events that were not stored.
    pub not_stored: u64,
    /// `PublishFailCount`: requests, because what a refused body holds is not known.
    pub refused: Refusals,
    /// `UnmatchedEventCount`.
    pub unmatched: u64,
    /// `PublishSuccessLatencyInMs`, by batches.
    pub publish_success_latency: Histogram,
    /// `DroppedEventCount`, by name of the event subscription and `DropReason`.
    pub dropped: BTreeMap<(Arc<str>, &'static str), u64>,
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
    /// Not this subscription's numbers, but those of so many that are not reported by name.
    pub stands_for: Option<u64>,
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
#[derive(Clone, Debug)]
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
    /// `DestinationProcessingDurationInMs`, by attempts.
    pub processing: Histogram,
    /// From acceptance to delivery.
    pub latency: Histogram,
    /// `AdvancedFilterEvaluationCount`.
    pub filters_evaluated: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            matched: 0,
            delivered: 0,
            failed: BTreeMap::new(),
            retried: 0,
            dead_lettered: BTreeMap::new(),
            processing: Histogram::new(&histogram::PROCESSING),
            latency: Histogram::new(&histogram::DELIVERY),
            filters_evaluated: 0,
        }
    }
}

impl Counts {
    pub(crate) fn failed(&mut self, outcome: Outcome) {
        *self.failed.entry(outcome.as_str()).or_default() += 1;
    }

    pub(crate) fn dead_lettered(&mut self, reason: Reason) {
        *self.dead_lettered.entry(reason.as_str()).or_default() += 1;
    }
}

impl Foldable for LaneMetrics {
    type Key = LaneId;

    fn key(&self) -> LaneId {
        self.lane
    }

    fn take_in(&mut self, other: &Self) {
        let (counts, more) = (&mut self.counts, &other.counts);
        counts.matched += more.matched;
        counts.delivered += more.delivered;
        counts.retried += more.retried;
        counts.filters_evaluated += more.filters_evaluated;
        add_all(&mut counts.failed, &more.failed);
        add_all(&mut counts.dead_lettered, &more.dead_lettered);
        counts.processing.add(&more.processing);
        counts.latency.add(&more.latency);
        self.fresh += other.fresh;
        self.behind |= other.behind;
        self.in_flight += other.in_flight;
        self.waiting += other.waiting;
        self.probation |= other.probation;
        self.oldest_undelivered = self.oldest_undelivered.max(other.oldest_undelivered);
    }

    fn forget_the_moment(&mut self) {
        (self.fresh, self.in_flight, self.waiting) = (0, 0, 0);
        (self.behind, self.probation) = (false, false);
        self.oldest_undelivered = None;
    }

    fn stand_for(&mut self, others: u64) {
        self.stands_for = Some(others);
    }
}

impl Foldable for TopicMetrics {
    type Key = ResourceId;

    fn key(&self) -> ResourceId {
        self.source.clone()
    }

    fn take_in(&mut self, other: &Self) {
        self.publish_success += other.publish_success;
        self.not_stored += other.not_stored;
        self.unmatched += other.unmatched;
        self.publish_success_latency
            .add(&other.publish_success_latency);
        add_all(&mut self.refused, &other.refused);
        // Names of subscriptions say nothing without their source.
        for ((_, reason), more) in &other.dropped {
            *self
                .dropped
                .entry((OTHER_NAMES.into(), *reason))
                .or_default() += more;
        }
    }

    fn forget_the_moment(&mut self) {}

    fn stand_for(&mut self, others: u64) {
        let own = std::mem::take(&mut self.dropped);
        for ((_, reason), count) in own {
            *self
                .dropped
                .entry((OTHER_NAMES.into(), reason))
                .or_default() += count;
        }
        self.stands_for = Some(others);
    }
}

fn add_all<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *counts.entry(key.clone()).or_default() += count;
    }
}

/// What is still to be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Never tried, in lanes that may send; a lane that has more in the journal counts one for it.
    pub fresh: u64,
    /// Never tried, in lanes that may not send now (probation, manual validation).
    pub held: u64,
    /// Being tried, or being written down; a lane whose dead letters are being written as blobs counts one for it.
    pub in_flight: u64,
    /// Lanes that may send and have retries due now.
    pub due: u64,
    /// Due at some moment, now included.
    pub waiting: u64,
    /// Requests under way that are no deliveries: validation handshakes, notices of deletion.
    pub exchanges: u64,
}

impl Pending {
    /// Whether nothing happens to deliveries until the clock moves.
    pub fn is_quiet(&self) -> bool {
        self.fresh == 0 && self.in_flight == 0 && self.due == 0
    }
}

/// The counters of all sources, and who is reported by name.
pub(crate) struct Topics {
    all: RwLock<HashMap<ResourceId, Arc<TopicCounts>>>,
    refused_nowhere: Mutex<Refusals>,
    dropped_nowhere: Mutex<BTreeMap<&'static str, u64>>,
    named: Mutex<(Fold<TopicMetrics>, Fold<LaneMetrics>)>,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            all: RwLock::default(),
            refused_nowhere: Mutex::default(),
            dropped_nowhere: Mutex::default(),
            named: Mutex::new((Fold::new(NAMED), Fold::new(NAMED))),
        }
    }
}

/// The counters of one source.
pub(crate) struct TopicCounts {
    published: AtomicU64,
    not_stored: AtomicU64,
    unmatched: AtomicU64,
    latency: SharedHistogram,
    /// Refusals are not in a hurry.
    refused: Mutex<Refusals>,
    dropped: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
}

impl Default for TopicCounts {
    fn default() -> Self {
        Self {
            published: AtomicU64::new(0),
            not_stored: AtomicU64::new(0),
            unmatched: AtomicU64::new(0),
            latency: SharedHistogram::new(&histogram::PUBLISH),
            refused: Mutex::default(),
            dropped: Mutex::default(),
        }
    }
}

impl TopicCounts {
    /// A batch was accepted.
    pub(crate) fn published(&self, events: usize, unmatched: usize, took: Duration) {
        self.staged(events, unmatched);
        self.latency.record(took);
    }

    /// Events were put into somebody else's transaction, which nobody waits for here.
    pub(crate) fn staged(&self, events: usize, unmatched: usize) {
        self.published.fetch_add(events as u64, Ordering::Relaxed);
        self.unmatched
            .fetch_add(unmatched as u64, Ordering::Relaxed);
    }

    /// The store did not take a batch.
    pub(crate) fn failed(&self, events: usize) {
        self.not_stored.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// Deliveries of a subscription that is no more were dropped.
    fn dropped(&self, subscription: &Arc<str>, reason: &'static str, deliveries: u64) {
        let mut dropped = self.dropped.lock();
        let mut key = (Arc::clone(subscription), reason);
        if !dropped.contains_key(&key) && DROPPED_NAMES <= dropped.len() {
            key.0 = OTHER_NAMES.into();
        }
        *dropped.entry(key).or_default() += deliveries;
    }

    fn report(&self, source: &ResourceId) -> TopicMetrics {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TopicMetrics {
            source: source.clone(),
            stands_for: None,
            publish_success: number(&self.published),
            not_stored: number(&self.not_stored),
            refused: self.refused.lock().clone(),
            unmatched: number(&self.unmatched),
            publish_success_latency: self.latency.read(),
            dropped: self.dropped.lock().clone(),
        }
    }
}

impl Topics {
    /// The counters of one source.
    pub(crate) fn of(&self, source: &ResourceId) -> Arc<TopicCounts> {
        if let Some(found) = self.all.read().get(source) {
            return Arc::clone(found);
        }
        Arc::clone(self.all.write().entry(source.clone()).or_default())
    }

    /// Forgets a source that was deleted.
    pub(crate) fn forget(&self, source: &ResourceId) {
        self.all.write().remove(source);
    }

    /// Deliveries were dropped with their subscription, and perhaps with their source.
    pub(crate) fn dropped(&self, one: &EventSubscription, deliveries: u64, now: Timestamp) {
        self.dropped_for(&one.source, &one.name, drop_reason(one, now), deliveries);
    }

    /// Deliveries of a subscription, which may be gone, were dropped for this reason.
    pub(crate) fn dropped_for(
        &self,
        source: &ResourceId,
        name: &str,
        reason: &'static str,
        deliveries: u64,
    ) {
        if deliveries == 0 {
            return;
        }
        let counts = self.all.read().get(source).cloned();
        match counts {
            Some(counts) => counts.dropped(&name.into(), reason, deliveries),
            None => *self.dropped_nowhere.lock().entry(reason).or_default() += deliveries,
        }
    }

    /// All counters. `lanes` are those there are, the oldest first.
    pub(crate) fn report(&self, lanes: Vec<LaneMetrics>) -> Metrics {
        let mut topics: Vec<_> = self
            .all
            .read()
            .iter()
            .map(|(source, counts)| counts.report(source))
            .collect();
        topics.sort_by(|one, other| one.source.cmp(&other.source));
        let (named_topics, named_lanes) = &mut *self.named.lock();
        Metrics {
            topics: named_topics.report(topics),
            lanes: named_lanes.report(lanes),
            refused_nowhere: self.refused_nowhere.lock().clone(),
            dropped_nowhere: self.dropped_nowhere.lock().clone(),
        }
    }
}

/// `DropReason`: why a subscription went with deliveries before it.
fn drop_reason(one: &EventSubscription, now: Timestamp) -> &'static str {
    match one.state {
        _ if one.expires.is_some_and(|expires| expires <= now) => "SubscriptionExpired",
        ProvisioningState::AwaitingManualAction { until, .. } if until <= now => {
            "SubscriptionNotValidated"
        }
        ProvisioningState::Failed => "SubscriptionNotValidated",
        _ => "SubscriptionDeleted",
    }
}

impl Grid {
    /// Counts a publish request that was refused: for a source, or for none that there is. `error` is the name of the
    /// status, `error_type` the reason. Source: reference event-grid 8.1, 8.2.
    pub fn publish_refused(
        &self,
        source: Option<&ResourceId>,
        error: &'static str,
        error_type: &'static str,
    ) {
        let topics = self.0.delivery.topics();
        let count = |refused: &Mutex<Refusals>| {
            *refused.lock().entry((error, error_type)).or_default() += 1;
        };
        match source {
            Some(source) => count(&topics.of(source).refused),
            None => count(&topics.refused_nowhere),
        }
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::{Filter, Secret};

    use super::*;
    use crate::testing;

    #[test]
    fn section_8_1_dropped_deliveries_say_why_the_subscription_went() {
        let noon = Timestamp::from_seconds(43_200);
        let plain = testing::subscription(1, Filter::default());
        let expired = EventSubscription {
            expires: Some(noon),
            ..plain.clone()
        };
        let unvisited = EventSubscription {
            state: ProvisioningState::AwaitingManualAction {
                token: Secret::default(),
                code: Secret::default(),
                until: noon,
            },
            ..plain.clone()
        };
        let early = noon - Duration::from_secs(1);
        assert_eq!(drop_reason(&plain, noon), "SubscriptionDeleted");
        assert_eq!(drop_reason(&expired, noon), "SubscriptionExpired");
        assert_eq!(drop_reason(&expired, early), "SubscriptionDeleted");
        assert_eq!(drop_reason(&unvisited, noon), "SubscriptionNotValidated");
        assert_eq!(drop_reason(&unvisited, early), "SubscriptionDeleted");
    }

    #[test]
    fn names_of_deleted_subscriptions_are_bounded() {
        let topics = Topics::default();
        let mut one = testing::subscription(1, Filter::default());
        topics.of(&one.source).published(1, 0, Duration::ZERO);
        for number in 0..DROPPED_NAMES + 5 {
            one.name = format!("es{number}");
            topics.dropped(&one, 2, Timestamp::EPOCH);
        }
        let metrics = topics.report(Vec::new());
        let dropped = &metrics.topics[0].dropped;
        assert_eq!(dropped.len(), DROPPED_NAMES + 1);
        assert_eq!(dropped[&(OTHER_NAMES.into(), "SubscriptionDeleted")], 10);
        assert_eq!(dropped[&("es3".into(), "SubscriptionDeleted")], 2);
    }
}
