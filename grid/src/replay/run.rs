//! Handing the events of a replay over to its subscription, step by step.
//!
//! Promise: a step is one transaction: the deliveries and how far the replay has come. Whatever ends the process, the
//! next one goes on where that stands, and hands nothing over twice.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gridpost_model::{Event, Timestamp};
use gridpost_store::{StoreError, Txn, WriteError};
use tracing::{info, warn};

use super::search::Search;
use super::{REPLAYS, Replay, ReplayId, ReplayState};
use crate::Inner;
use crate::kept::KeptEvent;
use crate::lane::Lane;
use crate::waiting::{History, WAITING, WaitingKey, WaitingRow};

/// The highest rate: more than one subscription's endpoint takes on one machine.
pub(super) const RATE_LIMIT: u32 = 10_000;

/// How often a fast replay hands events over.
const STEPS_PER_SECOND: u32 = 10;

/// Deliveries that wait in the subscription's queue beyond which a replay waits too: the endpoint does not keep up,
/// and rows in a table are dearer than events in the journal.
const AHEAD: u64 = 1_000;

/// How long it waits then, and when the store or the journal fails.
const PAUSE: Duration = Duration::from_secs(1);

/// What follows a step.
enum Step {
    /// The next one, not before then.
    Next(Timestamp),
    /// Nothing.
    Over,
}

impl Inner {
    /// Starts the task that carries a replay out. It ends with the router.
    pub(super) fn run(self: &Arc<Self>, id: ReplayId) {
        let task = run(Arc::downgrade(self), id);
        (self.settings.spawn)("replay", Box::pin(task));
    }

    async fn step(&self, id: ReplayId) -> Step {
        let replay = self.replays.0.lock().get(&id).cloned();
        let Some(replay) = replay.filter(Replay::is_running) else {
            return Step::Over;
        };
        let now = self.settings.clock.now();
        let Some(lane) = self.delivery.lane(replay.lane) else {
            let why = "the event subscription was deleted or has failed".to_owned();
            return self.end(replay, ReplayState::Failed(why), now).await;
        };
        if AHEAD < lane.lock().waiting.rows() {
            return Step::Next(now + PAUSE);
        }
        match self.gather(replay) {
            Ok((replay, events)) => self.hand_over(lane, replay, events, now).await,
            Err(error) => {
                warn!(%error, "a replay could not read the journal; trying again");
                Step::Next(now + PAUSE)
            }
        }
    }

    /// Looks for what comes next, and notes how far it looked.
    fn gather(
        &self,
        mut replay: Replay,
    ) -> Result<(Replay, Vec<Arc<Event>>), gridpost_store::ReadError> {
        let oldest = self.store.oldest();
        if replay.next < oldest {
            replay.missed = true;
            replay.next = oldest.min(replay.end);
        }
        let search = Search {
            source: replay.source.clone(),
            kind: self.kind_of(&replay.source),
            filter: replay.selection.filter.clone(),
            selection: replay.selection.clone(),
        };
        let most = usize::try_from(replay.rate.div_ceil(STEPS_PER_SECOND)).unwrap_or(1);
        if replay.next < replay.end {
            let found = search.piece(&self.store, replay.next, replay.end, most)?;
            replay.next = found.next;
            return Ok((replay, found.events));
        }
        Ok((replay, Vec::new()))
    }

    async fn hand_over(
        &self,
        lane: Arc<Lane>,
        mut replay: Replay,
        events: Vec<Arc<Event>>,
        now: Timestamp,
    ) -> Step {
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        replay.handed_over += u64::from(count);
        let is_over = replay.end <= replay.next;
        if is_over {
            replay.state = ReplayState::Done;
            replay.ended = Some(now);
        }
        if events.is_empty() && !is_over {
            // Nothing here: worth remembering, not worth a transaction.
            return if self.went_on(replay) {
                Step::Next(now)
            } else {
                Step::Over
            };
        }
        match write(&lane, replay.clone(), events, now).await {
            Ok(Some(keys)) => {
                lane.told_of_rows(&keys, now);
                if !self.went_on(replay.clone()) {
                    return Step::Over;
                }
                if is_over {
                    info!(replay.id = %replay.id, "a replay has handed over {} events", replay.handed_over);
                    return Step::Over;
                }
                Step::Next(now + Duration::from_secs(1) * count / replay.rate)
            }
            // Cancelled, forgotten, or its subscription is going; the next step sees which.
            Ok(None) => Step::Next(now + PAUSE),
            Err(StoreError::Closed) => Step::Over,
            Err(error) => {
                warn!(%error, "a replay could not hand events over; trying again");
                Step::Next(now + PAUSE)
            }
        }
    }

    /// Shows how far a replay has come, unless it was ended meanwhile.
    fn went_on(&self, replay: Replay) -> bool {
        let mut all = self.replays.0.lock();
        match all.get_mut(&replay.id) {
            Some(known) if known.is_running() => {
                *known = replay;
                true
            }
            _ => false,
        }
    }

    async fn end(&self, replay: Replay, state: ReplayState, now: Timestamp) -> Step {
        let ended = Replay {
            state,
            ended: Some(now),
            ..replay
        };
        let row = ended.clone();
        let change = move |txn: &mut Txn<'_>| {
            // What was cancelled or forgotten meanwhile stays so.
            let known = txn.get(&REPLAYS, row.id.0)?;
            if known.is_some_and(|known| known.is_running()) {
                txn.put(&REPLAYS, row.id.0, &row)?;
            }
            Ok::<_, StoreError>(())
        };
        let kept = self.store.write(ended.partition(), change).await;
        match kept.map_err(WriteError::into_inner) {
            Ok(_) => {
                self.went_on(ended);
                Step::Over
            }
            Err(StoreError::Closed) => Step::Over,
            Err(_) => Step::Next(now + PAUSE),
        }
    }
}

async fn run(router: Weak<Inner>, id: ReplayId) {
    while let Some(inner) = router.upgrade() {
        let step = inner.step(id).await;
        let Step::Next(at) = step else { return };
        let clock = Arc::clone(&inner.settings.clock);
        // The task must not keep the router alive while it waits.
        drop(inner);
        if clock.now() < at {
            clock.sleep_until(at).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// One step in one transaction. `None`: nothing was written, because the replay or its subscription has ended.
async fn write(
    lane: &Arc<Lane>,
    replay: Replay,
    events: Vec<Arc<Event>>,
    now: Timestamp,
) -> Result<Option<Vec<WaitingKey>>, StoreError> {
    let writer = Arc::clone(lane);
    let change = move |txn: &mut Txn<'_>| {
        // Asked here, on the writer: a row put after the lane's rows were removed would stay for ever.
        if writer.retired.load(Ordering::Acquire) {
            return Ok(None);
        }
        let row = txn.get(&REPLAYS, replay.id.0)?;
        if !row.is_some_and(|row| row.is_running()) {
            return Ok(None);
        }
        let mut keys = Vec::with_capacity(events.len());
        for event in &events {
            let key = WaitingKey {
                due: now,
                number: writer.shared.next_number(),
            };
            let row = WaitingRow {
                event: KeptEvent::new(event),
                history: History::again(now, Vec::new(), Some(replay.id)),
            };
            txn.put(&WAITING, key.of(writer.id), &row)?;
            keys.push(key);
        }
        txn.put(&REPLAYS, replay.id.0, &replay)?;
        Ok::<_, StoreError>(Some(keys))
    };
    let written = lane.shared.store.write_soon(lane.partition, change).await;
    Ok(written.map_err(WriteError::into_inner)?.into_inner())
}
