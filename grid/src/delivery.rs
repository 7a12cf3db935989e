//! All lanes together: who is told of committed events, how lanes come and go, and what is still to be delivered.
//!
//! Promise: an event that was committed is offered to every lane that matched it, on the writer's thread and in the
//! order of the journal, whatever became of the task that published it.
//! Not here: what a lane does with an event (`lane`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use gridpost_model::subscription::{EventSubscription, LaneId};
use gridpost_store::{Appended, Follower, Position, Progress, Recovery, Replayed, Store};
use parking_lot::RwLock;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::alarm::Alarm;
use crate::dead_letter;
use crate::dead_letter_blob::{self, Unwritten};
use crate::dead_letter_removal::{self, Kept};
use crate::faults::Faults;
use crate::lane::{Lane, Shared};
use crate::metrics::{Metrics, Pending, Topics};
use crate::outbound::Client;
use crate::tail::{Activity, Attempted, Tail, What};
use crate::tap::Taps;
use crate::tokens::Tokens;
use crate::waiting;
use crate::{OpenError, Settings, orphans};

/// How long attempts under way may take when we close.
const LAST_ATTEMPTS: Duration = Duration::from_secs(5);

/// The longest a publisher is kept waiting by lanes that have much to send.
const PACE_WAIT: Duration = Duration::from_millis(5);

/// All lanes, and what they share.
pub(crate) struct Delivery {
    lanes: RwLock<HashMap<LaneId, Arc<Lane>>>,
    shared: Arc<Shared>,
    started: AtomicBool,
    relieving: AtomicBool,
    closed: Arc<Notify>,
}

impl Delivery {
    pub(crate) fn new(store: Store, settings: &Settings) -> Result<Arc<Self>, OpenError> {
        let clock = Arc::clone(&settings.clock);
        let numbers = u64::try_from(clock.now().ticks()).unwrap_or(0);
        let shared = Shared {
            store,
            client: Client::new(&settings.outbound, Arc::clone(&clock))?,
            tokens: Tokens::new(settings.tokens.clone(), Arc::clone(&clock)),
            tracing: settings.tracing.clone(),
            clock,
            chance: Arc::clone(&settings.chance),
            spawn: Arc::clone(&settings.spawn),
            limits: settings.limits.clone(),
            tail: Tail::new(),
            taps: Taps::default(),
            alarm: Alarm::default(),
            faults: Faults::default(),
            unwritten: Unwritten::default(),
            kept: Kept::default(),
            topics: Topics::default(),
            // Ticks are finer than anything we number, so a later life begins above an earlier one, unless the clock
            // stood or went back in between: `recover` looks at what is stored.
            numbers: AtomicU64::new(numbers),
            calmer: Notify::new(),
        };
        Ok(Arc::new(Self {
            lanes: RwLock::default(),
            shared: Arc::new(shared),
            started: AtomicBool::new(false),
            relieving: AtomicBool::new(false),
            closed: Arc::new(Notify::new()),
        }))
    }

    /// Makes the lanes of what was stored, and shows them the journal from the checkpoint on.
    pub(crate) fn recover(
        self: &Arc<Self>,
        subscriptions: Vec<Arc<EventSubscription>>,
        recovery: &Recovery,
    ) -> Result<(), OpenError> {
        let snapshot = self.shared.store.snapshot();
        for subscription in subscriptions {
            let known = recovery.progress.get(&subscription.lane).cloned();
            // A lane the checkpoint does not know was made after it, so nothing before concerns it.
            let progress = known.unwrap_or(Progress {
                floor: recovery.checkpoint,
                settled: Vec::new(),
            });
            let live = recovery.checkpoint <= progress.floor;
            let lane = self.insert(subscription, progress, live);
            let highest = dead_letter::highest_number(&snapshot, lane.partition, lane.id)?;
            if let Some(highest) = highest {
                let above = highest.saturating_add(1);
                self.shared.numbers.fetch_max(above, Ordering::Relaxed);
            }
        }
        let lanes = self.lanes.read();
        self.shared.store.replay(&mut |step| match step {
            Replayed::Event(appended) => {
                for lane in appended.lanes.iter().filter_map(|lane| lanes.get(lane)) {
                    lane.lock()
                        .backlog
                        .offer(appended.position, &appended.event);
                }
            }
            Replayed::Settled { lane, position } => {
                if let Some(lane) = lanes.get(&lane) {
                    lane.lock().backlog.settle(position);
                }
            }
        })?;
        drop(lanes);
        self.shared
            .store
            .follow(Arc::new(Follow(Arc::downgrade(self))));
        Ok(())
    }

    fn insert(
        &self,
        subscription: Arc<EventSubscription>,
        progress: Progress,
        live: bool,
    ) -> Arc<Lane> {
        let lane = Arc::new(Lane::new(
            subscription,
            progress,
            live,
            Arc::clone(&self.shared),
        ));
        self.lanes.write().insert(lane.id, Arc::clone(&lane));
        // So that what happens to its deliveries has a place, whether or not anything is published.
        drop(self.topics().of(&lane.plan.load().subscription.source));
        lane
    }

    /// Starts sending. `expired` is told when a subscription's `expires` has come.
    pub(crate) fn start(self: &Arc<Self>, expired: Arc<Notify>) {
        // Taken before anything is sent, so that it counts exactly the rows of earlier lives.
        let snapshot = self.shared.store.snapshot();
        self.started.store(true, Ordering::Release);
        let lanes = self.all();
        let none_wait = waiting::is_empty(&snapshot);
        for lane in &lanes {
            if none_wait {
                lane.lock().waiting.are_none();
            }
            lane.open();
        }
        let ring = ring(
            Arc::downgrade(self),
            Arc::clone(&self.shared),
            Arc::clone(&self.closed),
            expired,
        );
        (self.shared.spawn)("alarm", Box::pin(ring));
        let blobs = dead_letter_blob::run(Arc::clone(&self.shared));
        (self.shared.spawn)("dead-letter blobs", Box::pin(blobs));
        let removal = dead_letter_removal::run(Arc::clone(&self.shared));
        (self.shared.spawn)("dead-letter removal", Box::pin(removal));
        let count = async move {
            for lane in lanes {
                match waiting::ages(&snapshot, lane.partition, lane.id) {
                    Ok(ages) => lane.lock().waiting.were_there(ages),
                    Err(error) => warn!(%error, "waiting deliveries could not be counted"),
                }
                tokio::task::yield_now().await;
            }
        };
        (self.shared.spawn)("count waiting", Box::pin(count));
    }

    /// The guarded client, for handshakes and notices.
    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The counters of sources.
    pub(crate) fn topics(&self) -> &Topics {
        &self.shared.topics
    }

    /// What all lanes share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// One lane.
    pub(crate) fn lane(&self, id: LaneId) -> Option<Arc<Lane>> {
        self.lanes.read().get(&id).cloned()
    }

    fn all(&self) -> Vec<Arc<Lane>> {
        let mut lanes: Vec<_> = self.lanes.read().values().cloned().collect();
        lanes.sort_by_key(|lane| lane.id);
        lanes
    }

    /// Opens the lane of a new subscription: after its row is committed, before `Registry::matched` names it.
    pub(crate) fn open_lane(self: &Arc<Self>, subscription: Arc<EventSubscription>) {
        // Nothing in the journal is for it yet, so it begins where the journal ends.
        let progress = Progress {
            floor: self.shared.store.tail(),
            settled: Vec::new(),
        };
        let lane = self.insert(subscription, progress, true);
        lane.lock().waiting.are_none();
        if self.started.load(Ordering::Acquire) {
            lane.open();
        }
    }

    /// Tells a lane that its subscription was changed: another state, destination, policy, expiry.
    pub(crate) fn change_lane(&self, subscription: Arc<EventSubscription>) {
        if let Some(lane) = self.lane(subscription.lane) {
            lane.change(subscription);
        }
    }

    /// Closes the lane of a deleted subscription: after `Registry::matched` has stopped naming it. What was still
    /// to be delivered is dropped and counted; its waiting rows are removed; its dead letters stay.
    pub(crate) async fn close_lane(&self, id: LaneId) {
        let Some(lane) = self.lanes.write().remove(&id) else {
            return;
        };
        lane.retired.store(true, Ordering::Release);
        lane.shut();
        let dropped = lane.undelivered();
        let now = self.shared.clock.now();
        self.topics()
            .dropped(&lane.plan.load().subscription, dropped, now);
        match orphans::remove_rows(&self.shared.store, lane.partition, id).await {
            Ok(_) => info!(
                lane = id.0,
                dropped, "a subscription's deliveries were dropped"
            ),
            Err(error) => {
                warn!(lane = id.0, %error, "deliveries of a deleted subscription stay stored");
            }
        }
    }

    /// Lets a publisher wait for lanes that keep up but have more to send than they should.
    pub(crate) async fn pace(&self, lanes: &[LaneId]) {
        let pressed: SmallVec<[Arc<Lane>; 4]> = {
            let all = self.lanes.read();
            let wanted = lanes.iter().filter_map(|id| all.get(id));
            wanted.filter(|lane| lane.is_pressed()).cloned().collect()
        };
        if pressed.is_empty() {
            return;
        }
        let limit = self
            .shared
            .clock
            .sleep_until(self.shared.clock.now() + PACE_WAIT);
        let drained = async {
            for lane in &pressed {
                lane.drained().await;
            }
        };
        tokio::select! {
            () = drained => (),
            () = limit => (),
        }
    }

    /// Stops sending and waits for attempts under way.
    pub(crate) async fn close(&self) {
        let lanes = self.all();
        lanes.iter().for_each(|lane| lane.shut());
        self.closed.notify_one();
        self.shared.unwritten.close();
        self.shared.kept.close();
        let limit = self
            .shared
            .clock
            .sleep_until(self.shared.clock.now() + LAST_ATTEMPTS);
        let calm = async {
            for lane in &lanes {
                loop {
                    let calmer = self.shared.calmer.notified();
                    if lane.is_calm() {
                        break;
                    }
                    calmer.await;
                }
            }
        };
        tokio::select! {
            () = calm => (),
            () = limit => info!("attempts still under way were left; they will be made again"),
        }
    }

    pub(crate) fn pending(&self) -> Pending {
        let mut pending = Pending::default();
        self.all()
            .iter()
            .for_each(|lane| lane.add_pending(&mut pending));
        let now = self.shared.clock.now();
        pending.in_flight += self.shared.unwritten.under_way(now);
        pending
    }

    /// All counters. `evaluated` are those of advanced filters, which nobody here evaluates.
    pub(crate) fn metrics(&self, evaluated: &HashMap<LaneId, u64>) -> Metrics {
        let now = self.shared.clock.now();
        let of_lane = |lane: &Arc<Lane>| {
            let mut metrics = lane.metrics(now);
            metrics.counts.filters_evaluated = evaluated.get(&lane.id).copied().unwrap_or(0);
            metrics
        };
        let lanes = self.all().iter().map(of_lane).collect();
        self.topics().report(lanes)
    }

    /// The attempts a lane remembers, oldest first.
    pub(crate) fn recent(&self, lane: LaneId) -> Vec<Attempted> {
        self.lane(lane)
            .map(|lane| lane.recent())
            .unwrap_or_default()
    }

    /// Moves what still pins old segments into the waiting table.
    async fn move_out(&self, before: Position) {
        for lane in self.all() {
            while lane.progress(Position::START).floor < before {
                let calmer = self.shared.calmer.notified();
                match lane.move_out(before) {
                    MovedOut::Some => (),
                    MovedOut::Wait => calmer.await,
                    MovedOut::Nothing => break,
                }
            }
        }
        self.relieving.store(false, Ordering::Release);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // Nobody asked us to close: whoever still works for a lane finds it shut, and ends.
        self.lanes.get_mut().values().for_each(|lane| lane.shut());
        self.closed.notify_one();
    }
}

/// Rings lanes when their moment has come, as long as there are any. Does not keep them.
async fn ring(
    delivery: Weak<Delivery>,
    shared: Arc<Shared>,
    closed: Arc<Notify>,
    expired: Arc<Notify>,
) {
    loop {
        let due = tokio::select! {
            due = shared.alarm.next(&*shared.clock) => due,
            () = closed.notified() => return,
        };
        let Some(delivery) = delivery.upgrade() else {
            return;
        };
        let now = shared.clock.now();
        for lane in due.into_iter().filter_map(|id| delivery.lane(id)) {
            if lane
                .plan
                .load()
                .subscription
                .expires
                .is_some_and(|expires| expires <= now)
            {
                lane.shut();
                expired.notify_one();
            } else {
                lane.ring(now);
            }
        }
    }
}

/// What one step of moving out did.
pub(crate) enum MovedOut {
    /// Some deliveries.
    Some,
    /// Nothing, until others have been written down.
    Wait,
    /// Nothing more: what is left is under way, or at or beyond the position.
    Nothing,
}

/// Events of one batch, by lane: few enough to stay on the stack mostly.
type ByLane = SmallVec<[(LaneId, u32); 64]>;

/// What the store keeps of us: not enough to keep us alive.
struct Follow(Weak<Delivery>);

impl Follower for Follow {
    fn committed(&self, events: &[Appended]) {
        if let Some(delivery) = self.0.upgrade() {
            delivery.committed(events);
        }
    }

    fn progress(&self, report: &mut dyn FnMut(LaneId, Progress)) {
        let Some(delivery) = self.0.upgrade() else {
            return;
        };
        let tail = delivery.shared.store.tail();
        for lane in delivery.lanes.read().values() {
            report(lane.id, lane.progress(tail));
        }
    }

    fn relieve(&self, before: Position) {
        let Some(delivery) = self.0.upgrade() else {
            return;
        };
        if delivery.relieving.swap(true, Ordering::AcqRel) {
            return;
        }
        let spawn = Arc::clone(&delivery.shared.spawn);
        spawn(
            "move out",
            Box::pin(async move { delivery.move_out(before).await }),
        );
    }
}

impl Delivery {
    fn committed(&self, events: &[Appended]) {
        if self.shared.tail.is_listened() {
            self.tell_accepted(events);
        }
        self.shared.taps.tell(events);
        let mut by_lane = ByLane::new();
        for (index, event) in (0..).zip(events) {
            by_lane.extend(event.lanes.iter().map(|lane| (*lane, index)));
        }
        // The index is part of what is compared, so the order of the journal holds within a lane.
        by_lane.sort_unstable();
        let lanes = self.lanes.read();
        for part in by_lane.chunk_by(|one, other| one.0 == other.0) {
            if let Some(lane) = lanes.get(&part[0].0) {
                lane.offer(part.iter().map(|(_, index)| &events[*index as usize]));
            }
        }
    }

    fn tell_accepted(&self, events: &[Appended]) {
        let at = self.shared.clock.now();
        for appended in events {
            self.shared.tail.tell(Activity {
                at,
                event: Arc::clone(&appended.event),
                what: What::Accepted {
                    lanes: appended.lanes.len(),
                },
            });
        }
    }
}
