//! One subscription's queue: what is due, who takes it, and when to look again.
//!
//! Promise: a lane hands out each delivery to one worker at a time, fresh ones and due retries in turn, and nothing
//! while its destination is on probation or its subscription waits for a visitor. A slow destination costs its own
//! lane and nothing else.
//! Not here: what may be handed out now (`state`), sending (`worker`), what an answer means (`retry`), writing it down (`settle`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use arc_swap::ArcSwap;
use gridpost_model::subscription::{EventSubscription, LaneId, ProvisioningState};
use gridpost_model::{Chance, Clock, Timestamp};
use gridpost_store::{Appended, Partition, Position, Progress, ReadLimit, Store};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tracing::warn;

use crate::alarm::Alarm;
use crate::backlog::{Backlog, Bound};
use crate::delivery::MovedOut;
use crate::destination::Prepared;
use crate::metrics::{LaneMetrics, Pending};
use crate::outbound::{BadUrl, Client};
use crate::probation::{Permit, Probation};
use crate::retry::{Outcome, Reason, Verdict};
use crate::settle::{self, Change};
use crate::tail::{Attempted, Tail};
use crate::waiting::{self, WaitingKey};
use crate::worker;
use crate::{Limits, Spawn};

mod state;

pub(crate) use state::{Delivered, Job, Origin, State, Take};
use state::{Gate, PACE};

/// Deliveries moved into the waiting table in one go.
const MOVED_AT_ONCE: usize = 256;

/// A destination that took nothing for this long is not worth waiting for either: it may hang.
const PACE_SILENCE: Duration = Duration::from_millis(20);

/// How much journal a lane that is behind looks at in one go.
const SCAN_BYTES: usize = 8 << 20;

/// How long a lane leaves a store alone that could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// What all lanes share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    pub(crate) client: Client,
    pub(crate) spawn: Spawn,
    pub(crate) limits: Limits,
    pub(crate) tail: Tail,
    pub(crate) alarm: Alarm,
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

/// A worker to be called once the lock is released.
#[must_use]
pub(crate) enum Call {
    Nobody,
    Wake(Waker),
    Start(u64),
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
        Self {
            id: subscription.lane,
            partition: Partition::of(&subscription.source),
            plan: ArcSwap::from_pointee(Plan::new(subscription, &shared.client)),
            state: Mutex::new(State::new(Backlog::new(progress, live, bound))),
            drained: Notify::new(),
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
        let now = match state.probation {
            Probation::Trusted { .. } => Timestamp::EPOCH,
            Probation::Left { .. } => self.shared.clock.now(),
        };
        let call = if state.peek(now).is_some() {
            self.call(&mut state)
        } else {
            Call::Nobody
        };
        drop(state);
        self.carry_out(call);
    }

    /// Notes how the last job ended, when it ended well, and finds the next thing to do.
    pub(crate) fn take(self: &Arc<Self>, done: Option<Delivered>, now: Timestamp) -> Take {
        let mut settled = None;
        let mut state = self.lock();
        if let Some(done) = done {
            let distrusted = !matches!(state.probation, Probation::Trusted { .. });
            settled = self.delivered(&mut state, done);
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
        let drained = state.backlog.fresh() < PACE;
        drop(state);
        if let Some(position) = settled {
            self.shared.store.settle(self.id, position);
        }
        if drained && matches!(take, Take::Send(_)) {
            self.drained.notify_one();
        }
        self.carry_out(call);
        take
    }

    /// Returns the position to be settled in the journal.
    fn delivered(self: &Arc<Self>, state: &mut State, done: Delivered) -> Option<Position> {
        let Delivered { job, status, ended } = done;
        let took = ended.since(job.started);
        state.attempt_ended(took);
        state.counts.delivered += 1;
        state.last_taken = ended;
        state.probation.learn(Outcome::Delivered, ended);
        state.recent.remember(
            job.started,
            &job.event.id,
            job.history.attempts + 1,
            Outcome::Delivered,
            Some(status),
            took,
            Verdict::Delivered,
            None,
        );
        match job.origin {
            Origin::Fresh(position) => {
                state.backlog.settle(position);
                Some(position)
            }
            Origin::Waiting(key) => {
                self.write_down(
                    state,
                    Change::Delivered {
                        key,
                        since: job.history.since,
                    },
                );
                None
            }
        }
    }

    /// Notes an attempt that did not end well.
    pub(crate) fn failed(
        self: &Arc<Self>,
        attempt: Attempted,
        probe: bool,
        now: Timestamp,
        change: Change,
    ) {
        let mut state = self.lock();
        state.attempt_ended(attempt.took);
        state.counts.failed(attempt.outcome);
        match attempt.verdict {
            Verdict::Retry { .. } => state.counts.retried += 1,
            Verdict::GiveUp(reason) => state.counts.dead_lettered(reason),
            Verdict::Delivered => (),
        }
        let outcome = attempt.outcome;
        state.recent.push(attempt);
        let left_alone = state.probation.learn(outcome, now);
        if probe && !left_alone {
            // An answer that speaks of the event alone shows that the destination is there.
            state.probation = Probation::default();
        }
        self.write_down(&mut state, change);
        let call = self.stir(&mut state, now);
        drop(state);
        self.drained.notify_waiters();
        self.carry_out(call);
    }

    /// Notes that a job ended without an attempt.
    pub(crate) fn given_up(self: &Arc<Self>, job: &Job, reason: Reason, change: Change) {
        let mut state = self.lock();
        state.in_flight -= 1;
        state.counts.dead_lettered(reason);
        if job.probe {
            state.probation.probe_given_up();
        }
        self.write_down(&mut state, change);
        let call = self.stir(&mut state, job.started);
        drop(state);
        self.carry_out(call);
    }

    fn write_down(self: &Arc<Self>, state: &mut State, change: Change) {
        if state.ledger.push(change) {
            let lane = Arc::clone(self);
            (self.shared.spawn)("settle", Box::pin(settle::write_down(lane)));
        }
    }

    /// Reads on in the journal for a lane that is behind.
    pub(crate) fn read_journal(self: &Arc<Self>, from: Position, room: Bound) {
        let limit = ReadLimit {
            events: room.events,
            kept_bytes: room.bytes,
            scanned_bytes: SCAN_BYTES,
        };
        let mut want = |lanes: &[LaneId]| lanes.contains(&self.id);
        let read = self.shared.store.read_events(from, limit, &mut want);
        let mut state = self.lock();
        state.reading = false;
        match read {
            Ok(batch) => {
                for event in &batch.events {
                    state.backlog.refill(event.position, &event.event);
                }
                // Whoever commits after the tail was seen here finds the lane live when it comes to offer.
                let at_tail = batch.at_tail && self.shared.store.tail() <= batch.next;
                state.backlog.read_to(batch.next, at_tail);
            }
            Err(error) => {
                warn!(lane = self.id.0, %error, "a lane could not read the journal");
                self.pause_reading(&mut state);
            }
        }
        let call = self.stir(&mut state, self.shared.clock.now());
        drop(state);
        self.carry_out(call);
    }

    /// Reads what is due in the table.
    pub(crate) fn read_table(self: &Arc<Self>, from: WaitingKey, held: usize, now: Timestamp) {
        let snapshot = self.shared.store.snapshot();
        let found = waiting::read(&snapshot, self.partition, self.id, (from, held), now);
        let mut state = self.lock();
        state.reading = false;
        match found {
            Ok(found) => state.waiting.end_reading(found),
            Err(error) => {
                warn!(lane = self.id.0, %error, "a lane could not read its waiting deliveries");
                state.waiting.abandon_reading();
                self.pause_reading(&mut state);
            }
        }
        let call = self.stir(&mut state, now);
        drop(state);
        self.carry_out(call);
    }

    fn pause_reading(&self, state: &mut State) {
        state.read_pause = Some(self.shared.clock.now() + READ_PAUSE);
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
        let call = self.stir(&mut state, now);
        drop(state);
        self.carry_out(call);
    }

    /// Calls one worker: the one that lay down last, or a new one.
    fn call(&self, state: &mut State) -> Call {
        if let Some((_, waker)) = state.parked.pop() {
            return Call::Wake(waker);
        }
        if self.shared.limits.connections <= state.workers {
            return Call::Nobody;
        }
        state.workers += 1;
        Call::Start(self.shared.next_number())
    }

    pub(crate) fn carry_out(self: &Arc<Self>, call: Call) {
        match call {
            Call::Nobody => (),
            Call::Wake(waker) => waker.wake(),
            Call::Start(id) => {
                (self.shared.spawn)("lane", Box::pin(worker::work(Arc::clone(self), id)));
            }
        }
    }

    /// A worker lies down. Says whether it should get up again at once, or leave.
    pub(crate) fn park(&self, id: u64, waker: &Waker) -> Rest {
        let mut state = self.lock();
        if state.gate == Gate::Shut {
            return Rest::Leave;
        }
        // A worker that was woken for what fell due must see that it did.
        let needs_clock = !matches!(state.probation, Probation::Trusted { .. })
            || state.waiting.next_due().is_some();
        let now = if needs_clock {
            self.shared.clock.now()
        } else {
            Timestamp::EPOCH
        };
        if state.peek(now).is_some() {
            state.parked.retain(|(parked, _)| *parked != id);
            return Rest::GetUp;
        }
        match state.parked.iter_mut().find(|(parked, _)| *parked == id) {
            Some((_, old)) => old.clone_from(waker),
            None => state.parked.push((id, waker.clone())),
        }
        Rest::Lie
    }

    /// A worker has lain idle for long. Says whether it may leave: not when it was just called.
    pub(crate) fn may_leave(&self, id: u64) -> bool {
        let mut state = self.lock();
        let before = state.parked.len();
        state.parked.retain(|(parked, _)| *parked != id);
        state.parked.len() < before
    }

    /// A worker is gone, for whatever reason; the job it had, if any, was not tried.
    pub(crate) fn worker_left(self: &Arc<Self>, id: u64, job: Option<Job>) {
        let mut state = self.lock();
        state.workers -= 1;
        state.parked.retain(|(parked, _)| *parked != id);
        let gave_back = job.is_some();
        if let Some(job) = job {
            state.take_back(job);
        }
        let call = if state.gate == Gate::Open && (gave_back || state.workers == 0) {
            self.stir(&mut state, self.shared.clock.now())
        } else {
            Call::Nobody
        };
        drop(state);
        self.carry_out(call);
        self.shared.calmer.notify_waiters();
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
        let old = self.plan.swap(Arc::new(plan));
        if old.subscription.destination != self.plan.load().subscription.destination {
            self.lock().probation = Probation::default();
        }
        self.open();
    }

    /// Stops handing out. Attempts under way go on.
    pub(crate) fn shut(&self) {
        let mut state = self.lock();
        state.gate = Gate::Shut;
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

    /// Moves some fresh deliveries before `before` into the waiting table, where they pin no segment.
    pub(crate) fn move_out(self: &Arc<Self>, before: Position) -> MovedOut {
        let now = self.shared.clock.now();
        let mut state = self.lock();
        if !state.ledger.is_empty() {
            return MovedOut::Wait;
        }
        let mut moved = 0;
        while moved < MOVED_AT_ONCE {
            let Some((position, event)) = state.backlog.take_before(before) else {
                break;
            };
            let change = settle::moved(self, position, &event, now);
            self.write_down(&mut state, change);
            moved += 1;
        }
        if moved > 0 {
            return MovedOut::Some;
        }
        match state.backlog.wants_refill() {
            Some(from) if from < before && !state.reading && state.read_pause.is_none() => {
                state.reading = true;
                let room = state.backlog.room();
                drop(state);
                self.read_journal(from, room);
                MovedOut::Some
            }
            _ => MovedOut::Nothing,
        }
    }

    /// Counts as dropped what will not be delivered any more, and returns how much that is.
    pub(crate) fn drop_undelivered(&self) -> u64 {
        let mut state = self.lock();
        let dropped = state.backlog.fresh() as u64 + state.waiting.rows();
        state.counts.dropped += dropped;
        dropped
    }

    pub(crate) fn progress(&self, tail: Position) -> Progress {
        self.lock().backlog.progress(tail)
    }

    pub(crate) fn add_pending(&self, pending: &mut Pending) {
        let now = self.shared.clock.now();
        let state = self.lock();
        let fresh = state.backlog.fresh() as u64 + u64::from(state.backlog.is_behind());
        let sends = state.gate == Gate::Open
            && matches!(state.probation.permit(now), Permit::Free | Permit::Probe);
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
            counts: state.counts.clone(),
            fresh: state.backlog.fresh() as u64,
            behind: state.backlog.is_behind(),
            in_flight: state.in_flight as u64,
            waiting: state.waiting.rows(),
            probation: matches!(state.probation, Probation::Left { .. }),
            oldest_undelivered: state.oldest().map(|since| now.since(since)),
        }
    }

    /// The attempts that are remembered, oldest first.
    pub(crate) fn recent(&self) -> Vec<Attempted> {
        self.lock().recent.iter().cloned().collect()
    }
}

/// What a worker without work does.
pub(crate) enum Rest {
    /// Lies until it is woken.
    Lie,
    /// Takes what has come meanwhile.
    GetUp,
    /// Goes.
    Leave,
}
