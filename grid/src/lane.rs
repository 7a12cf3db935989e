//! One subscription's queue: what is due, who takes it, and when to look again.
//!
//! Promise: a lane hands out each delivery to one worker at a time, fresh ones and due retries in turn, and nothing
//! while its destination is on probation or its subscription waits for a visitor. A slow destination costs its own
//! lane and nothing else.
//! Not here: what may be handed out now (`state`), how much at once (`terms`), what it reads from disk (`reading`), sending (`worker`), what an answer means (`retry`), writing it down (`settle`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use gridpost_model::subscription::{EventSubscription, LaneId, ProvisioningState};
use gridpost_model::{Chance, Clock, Timestamp};
use gridpost_store::{Appended, Partition, Progress, Store};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::alarm::Alarm;
use crate::backlog::{Backlog, Bound};
use crate::dead_letter_blob::Unwritten;
use crate::dead_letter_removal::Kept;
use crate::destination::Prepared;
use crate::faults::Faults;
use crate::metrics::Topics;
use crate::outbound::{BadUrl, Client};
use crate::probation::Probation;
use crate::recent::{SUCCESSES, Sampler};
use crate::retry::{Outcome, Reason, Verdict};
use crate::settle::{self, Change};
use crate::tail::{Attempted, Tail};
use crate::tap::Taps;
use crate::tokens::Tokens;
use crate::trace::Tracing;
use crate::waiting::WaitingKey;
use crate::{Limits, Spawn};

mod crew;
mod figures;
mod reading;
mod remarks;
mod state;
mod terms;

pub(crate) use crew::{Call, Rest};
pub(crate) use state::{Delivered, Item, Job, Origin, State, Take};
use state::{Gate, PACE};
use terms::Terms;

/// A destination that took nothing for this long is not worth waiting for either: it may hang.
const PACE_SILENCE: Duration = Duration::from_millis(20);

/// What all lanes share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    pub(crate) client: Client,
    pub(crate) tokens: Tokens,
    pub(crate) tracing: Tracing,
    pub(crate) spawn: Spawn,
    pub(crate) limits: Limits,
    pub(crate) tail: Tail,
    pub(crate) taps: Taps,
    pub(crate) alarm: Alarm,
    pub(crate) faults: Faults,
    pub(crate) unwritten: Unwritten,
    pub(crate) kept: Kept,
    /// The counters of sources.
    pub(crate) topics: Topics,
    pub(crate) numbers: AtomicU64,
    /// Told whenever a worker leaves or a ledger is empty.
    pub(crate) calmer: Notify,
}

impl Shared {
    /// A number for a row that no other row has: larger than all before, in this life and earlier ones.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

/// One subscription's queue.
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) partition: Partition,
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: ArcSwap<Plan>,
    state: Mutex<State>,
    drained: Notify,
    /// Which successes are remembered in full.
    pub(crate) sampler: Sampler,
    /// The subscription was deleted: nothing may be written for it any more.
    pub(crate) retired: AtomicBool,
}

/// What a lane does with an event, prepared once per change of its subscription.
pub(crate) struct Plan {
    pub(crate) subscription: Arc<EventSubscription>,
    pub(crate) name: Arc<str>,
    pub(crate) destination: Result<Prepared, BadUrl>,
}

impl Plan {
    pub(crate) fn new(subscription: Arc<EventSubscription>, client: &Client) -> Self {
        let destination = Prepared::new(&subscription, client);
        Self {
            name: subscription.name.as_str().into(),
            destination,
            subscription,
        }
    }
}

impl Lane {
    pub(crate) fn new(
        subscription: Arc<EventSubscription>,
        progress: Progress,
        live: bool,
        shared: Arc<Shared>,
    ) -> Self {
        let bound = Bound {
            events: shared.limits.events,
            bytes: shared.limits.bytes,
        };
        let terms = Terms::of(&subscription.destination);
        Self {
            id: subscription.lane,
            partition: Partition::of(&subscription.source),
            plan: ArcSwap::from_pointee(Plan::new(subscription, &shared.client)),
            state: Mutex::new(State::new(Backlog::new(progress, live, bound), terms)),
            drained: Notify::new(),
            sampler: Sampler::default(),
            retired: AtomicBool::new(false),
            shared,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Events of one committed batch that this lane matched, in journal order.
    pub(crate) fn offer<'a>(self: &Arc<Self>, events: impl Iterator<Item = &'a Appended>) {
        let mut state = self.lock();
        for event in events {
            state.counts.matched += 1;
            state.backlog.offer(event.position, &event.event);
        }
        // A lane that sends freely needs no clock to know that there is work.
        let now = if state.needs_clock() {
            self.shared.clock.now()
        } else {
            Timestamp::EPOCH
        };
        let call = if state.peek(now).is_some() {
            self.call(&mut state)
        } else {
            self.heed_rate(&mut state, now);
            Call::Nobody
        };
        drop(state);
        self.carry_out(call);
    }

    /// Notes how the last job ended, when it ended well, and finds the next thing to do.
    pub(crate) fn take(self: &Arc<Self>, mut done: Option<Delivered>, now: Timestamp) -> Take {
        let mut state = self.lock();
        let mut distrusted = false;
        if let Some(done) = &mut done {
            distrusted = !matches!(state.probation, Probation::Trusted { .. });
            self.delivered(&mut state, done);
            if distrusted {
                // While a probe was out no alarm was set for what falls due.
                self.set_alarm(&mut state, now);
            }
        }
        let take = state.take(now);
        let call = match take {
            Take::Park => Call::Nobody,
            _ if state.peek(now).is_some() => self.call(&mut state),
            _ => Call::Nobody,
        };
        self.heed_rate(&mut state, now);
        let drained = state.backlog.fresh() < PACE;
        drop(state);
        for item in done.iter().flat_map(|done| &done.job.items) {
            if let Origin::Fresh(position) = item.origin {
                self.shared.store.settle(self.id, position);
            }
        }
        if drained && matches!(take, Take::Send(_)) {
            self.drained.notify_one();
        }
        self.carry_out(call);
        if distrusted {
            self.remark_return();
        }
        take
    }

    fn delivered(self: &Arc<Self>, state: &mut State, done: &mut Delivered) {
        let Delivered { job, ended, .. } = done;
        let took = ended.since(job.started);
        state.attempt_ended(took, job.items.len());
        state.counts.delivered += job.items.len() as u64;
        state.last_taken = *ended;
        state.probation.learn(Outcome::Delivered, *ended);
        if done.told.is_empty() {
            let forgotten = job.items.len().saturating_sub(SUCCESSES);
            for item in job.items.iter().skip(forgotten) {
                state.recent.succeeded(
                    job.started,
                    (&item.event.id, item.event.published),
                    item.history.attempts + 1,
                    Some(done.status),
                    took,
                    item.history.replay,
                );
            }
        }
        for attempt in done.told.drain(..) {
            state.recent.push(attempt, &self.shared.tail.budget);
        }
        for item in &job.items {
            state.counts.latency.record(ended.since(item.history.since));
            match item.origin {
                Origin::Fresh(position) => state.backlog.settle(position),
                Origin::Waiting(key) => {
                    let since = item.history.since;
                    self.write_down(state, Change::Delivered { key, since });
                }
            }
        }
    }

    /// Sets the alarm for the moment at which the endpoint's own rate lets go.
    fn heed_rate(&self, state: &mut State, now: Timestamp) {
        if state.rate_holds(now).is_some() {
            self.set_alarm(state, now);
        }
    }

    /// Notes an attempt that did not end well: what is remembered of it and what changes, event by event.
    pub(crate) fn failed(
        self: &Arc<Self>,
        job: &Job,
        ends: Vec<(Attempted, Change)>,
        now: Timestamp,
    ) {
        let Some((first, _)) = ends.first() else {
            return;
        };
        let (outcome, took) = (first.outcome, first.took);
        let mut state = self.lock();
        state.attempt_ended(took, job.items.len());
        // One request speaks once of the destination, however many events it carried.
        let was_trusted = matches!(state.probation, Probation::Trusted { .. });
        let left_alone = state.probation.learn(outcome, now);
        let until = match state.probation {
            Probation::Left { until, .. } if was_trusted => Some(until),
            _ => None,
        };
        let came_back = job.probe && !left_alone;
        if came_back {
            // An answer that speaks of the event alone shows that the destination is there.
            state.probation = Probation::default();
        }
        for (attempt, change) in ends {
            state.counts.failed(attempt.outcome);
            match attempt.verdict {
                Verdict::Retry { .. } => state.counts.retried += 1,
                Verdict::GiveUp(reason) => state.lost(reason),
                Verdict::Delivered => (),
            }
            state.recent.push(attempt, &self.shared.tail.budget);
            self.write_down(&mut state, change);
        }
        let lost = state.remarks.due(now);
        let call = self.stir(&mut state, now);
        drop(state);
        self.drained.notify_waiters();
        self.carry_out(call);
        self.remark_lost(lost);
        match until {
            Some(until) => self.remark_probation(outcome, until),
            None if came_back => self.remark_return(),
            None => (),
        }
    }

    /// Notes deliveries of a job that ended without an attempt. `probe`: the job was a probe, and nothing is left of it.
    pub(crate) fn given_up(
        self: &Arc<Self>,
        reason: Reason,
        changes: Vec<Change>,
        probe: bool,
        now: Timestamp,
    ) {
        let mut state = self.lock();
        state.in_flight -= changes.len();
        if probe {
            state.probation.probe_given_up();
        }
        for change in changes {
            state.lost(reason);
            self.write_down(&mut state, change);
        }
        let lost = state.remarks.due(now);
        let call = self.stir(&mut state, now);
        drop(state);
        self.carry_out(call);
        self.remark_lost(lost);
    }

    fn write_down(self: &Arc<Self>, state: &mut State, change: Change) {
        if state.ledger.push(change) {
            let lane = Arc::clone(self);
            (self.shared.spawn)("settle", Box::pin(settle::write_down(lane)));
        }
    }

    /// Looks whether something is to be done now, and sets the alarm for when something will be.
    pub(crate) fn stir(&self, state: &mut State, now: Timestamp) -> Call {
        self.set_alarm(state, now);
        if state.peek(now).is_some() {
            self.call(state)
        } else {
            Call::Nobody
        }
    }

    fn set_alarm(&self, state: &mut State, now: Timestamp) {
        let expires = self.plan.load().subscription.expires;
        if let Some(at) = state.next_moment(now).into_iter().chain(expires).min()
            && state.alarm.is_none_or(|set| at < set)
        {
            state.alarm = Some(at);
            self.shared.alarm.set(at, self.id);
        }
    }

    /// The alarm rang.
    pub(crate) fn ring(self: &Arc<Self>, now: Timestamp) {
        let mut state = self.lock();
        state.alarm = None;
        if state.read_pause.is_some_and(|until| until <= now) {
            state.read_pause = None;
        }
        let lost = state.remarks.due(now);
        let call = self.stir(&mut state, now);
        drop(state);
        self.carry_out(call);
        self.remark_lost(lost);
    }

    /// Begins to send, or goes on as the subscription's new state says.
    pub(crate) fn open(self: &Arc<Self>) {
        let now = self.shared.clock.now();
        let mut state = self.lock();
        state.gate = match self.plan.load().subscription.state {
            ProvisioningState::Succeeded => Gate::Open,
            ProvisioningState::AwaitingManualAction { .. } | ProvisioningState::Failed => {
                Gate::Held
            }
        };
        let call = self.stir(&mut state, now);
        drop(state);
        self.carry_out(call);
    }

    /// The subscription was changed. What the old destination did says nothing of the new one.
    pub(crate) fn change(self: &Arc<Self>, subscription: Arc<EventSubscription>) {
        let plan = Plan::new(subscription, &self.shared.client);
        let terms = Terms::of(&plan.subscription.destination);
        let old = self.plan.swap(Arc::new(plan));
        let mut state = self.lock();
        if old.subscription.destination != self.plan.load().subscription.destination {
            state.probation = Probation::default();
            state.terms = terms;
        }
        drop(state);
        self.open();
    }

    /// Stops handing out. Attempts under way go on.
    pub(crate) fn shut(&self) {
        let mut state = self.lock();
        state.gate = Gate::Shut;
        // It may have rung already. Whoever opens the lane again sets another.
        state.alarm = None;
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        self.drained.notify_waiters();
        parked.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Whether nothing is under way and everything is written down.
    pub(crate) fn is_calm(&self) -> bool {
        let state = self.lock();
        state.in_flight == 0 && state.ledger.is_empty()
    }

    /// Waits until the backlog is short again, if it is long and the destination keeps up: a lane that fails, is slow
    /// or does not send keeps nobody. May wait for long; the caller limits it.
    pub(crate) async fn drained(&self) {
        let drained = self.drained.notified();
        if self.is_pressed() {
            drained.await;
        }
    }

    /// Whether a publisher should wait for this lane.
    pub(crate) fn is_pressed(&self) -> bool {
        let state = self.lock();
        state.is_long() && self.shared.clock.now().since(state.last_taken) < PACE_SILENCE
    }

    /// Rows were put into the waiting table for this lane: they are due at once.
    pub(crate) fn told_of_rows(self: &Arc<Self>, keys: &[WaitingKey], now: Timestamp) {
        let mut state = self.lock();
        for key in keys {
            state.waiting.put(*key, now);
        }
        let call = self.stir(&mut state, now);
        drop(state);
        self.carry_out(call);
    }
}
