//! Verdicts written down: delivered, due again, given up.
//!
//! Promise: what a verdict changes is written in one transaction, so a delivery is at every moment in exactly one
//! place: the journal, the waiting table, or the dead letters. Changes of many workers share a transaction.
//! A fresh event that was delivered at the first attempt does not pass here: it costs one settlement in the journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gridpost_model::{Event, Timestamp};
use gridpost_store::{Position, StoreError, Txn, WriteError};
use http::header::RETRY_AFTER;
use tracing::{debug, warn};

use crate::dead_letter::{DEAD_LETTERS, DeadLetterRow};
use crate::dead_letter_blob::{self, UNWRITTEN, UnwrittenRow};
use crate::kept::KeptEvent;
use crate::lane::{Item, Job, Lane, Origin, Plan};
use crate::outbound::Outcome as Received;
use crate::retry::{self, Answer, Attempt, Outcome, Reason, Verdict};
use crate::tail::{Activity, Attempted, What};
use crate::waiting::{History, LastAttempt, WAITING, WaitingKey, WaitingRow};

/// Changes in one transaction.
const BATCH: usize = 256;

/// Bytes of events in one transaction, well below what the journal takes at once.
const BATCH_BYTES: usize = 2 << 20;

/// Changes that may wait to be written; beyond it the lane sends nothing more.
const LEDGER: usize = 2_048;

/// Bytes of events in them.
const LEDGER_BYTES: usize = 16 << 20;

/// How long we wait after the store refused.
const AGAIN: Duration = Duration::from_secs(1);

/// What a verdict changes.
#[derive(Clone)]
pub(crate) enum Change {
    /// A waiting delivery arrived.
    Delivered {
        /// Its row.
        key: WaitingKey,
        /// Since when it was under way.
        since: Timestamp,
    },
    /// A delivery is due later.
    Waiting {
        /// Where it was.
        origin: Origin,
        /// Its new row.
        key: WaitingKey,
        /// What stands in it.
        row: Arc<WaitingRow>,
        /// The size of its event.
        bytes: usize,
    },
    /// A delivery became a dead letter.
    Dead {
        /// Where it was.
        origin: Origin,
        /// Since when it was under way.
        since: Timestamp,
        /// Its number among the lane's dead letters.
        number: u64,
        /// What is kept of it.
        row: Arc<DeadLetterRow>,
        /// The blob it shall be written into, when its subscription names one.
        blob: Option<UnwrittenRow>,
        /// The size of its event.
        bytes: usize,
    },
}

/// Changes of one lane that are still to be written.
#[derive(Default)]
pub(crate) struct Ledger {
    changes: Vec<Change>,
    bytes: usize,
    writing: usize,
    /// Whether somebody writes them.
    busy: bool,
}

impl Ledger {
    /// Adds a change. Returns whether somebody has to start writing.
    pub(crate) fn push(&mut self, change: Change) -> bool {
        self.bytes += change.bytes();
        self.changes.push(change);
        !std::mem::replace(&mut self.busy, true)
    }

    /// The next changes to be written together; `None` ends the writing.
    fn next_batch(&mut self) -> Option<Vec<Change>> {
        self.writing = 0;
        if self.changes.is_empty() {
            self.busy = false;
            return None;
        }
        let mut bytes = 0;
        let mut count = 0;
        for change in self.changes.iter().take(BATCH) {
            bytes += change.bytes();
            if 0 < count && BATCH_BYTES < bytes {
                break;
            }
            count += 1;
        }
        let batch: Vec<_> = self.changes.drain(..count).collect();
        self.bytes -= batch.iter().map(Change::bytes).sum::<usize>();
        self.writing = count;
        Some(batch)
    }

    /// Takes changes back that were not written.
    fn put_back(&mut self, batch: &[Change]) {
        self.writing = 0;
        self.bytes += batch.iter().map(Change::bytes).sum::<usize>();
        self.changes.splice(0..0, batch.iter().cloned());
    }

    pub(crate) fn is_full(&self) -> bool {
        LEDGER <= self.changes.len() || LEDGER_BYTES <= self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.changes.len() + self.writing
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Change {
    /// Where the delivery was, and since when it was under way.
    fn was(&self) -> (Origin, Timestamp) {
        match self {
            Self::Delivered { key, since } => (Origin::Waiting(*key), *since),
            Self::Waiting { origin, row, .. } => (*origin, row.history.since),
            Self::Dead { origin, since, .. } => (*origin, *since),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Delivered { .. } => 0,
            Self::Waiting { bytes, .. } | Self::Dead { bytes, .. } => *bytes,
        }
    }
}

/// The pause that an answer asks for. Destinations date by their own clocks, so a date is judged by the clock of others.
pub(crate) fn asked_pause(received: &Received, wall: Timestamp) -> Duration {
    let Received::Answered(response) = received else {
        return Duration::ZERO;
    };
    let header = response.headers.get(RETRY_AFTER);
    header
        .and_then(|value| value.to_str().ok())
        .map_or(Duration::ZERO, |text| retry::asked_pause(text, wall))
}

/// What follows from what came back, for an event of the job. `jitter` is one for the whole job, so that events that
/// went together fall due together.
pub(crate) fn judge(
    plan: &Plan,
    job: &Job,
    item: &Item,
    received: &Received,
    asked: Duration,
    jitter: f64,
    now: Timestamp,
) -> (Verdict, Outcome, Option<u16>) {
    let (answer, outcome, status) = match received {
        Received::Answered(response) => {
            let status = response.status.as_u16();
            (
                Answer::Status(status),
                Outcome::of_status(status),
                Some(status),
            )
        }
        Received::Failed(failure) => {
            let outcome = Outcome::of_failure(failure);
            (Answer::Said(outcome), outcome, None)
        }
    };
    let attempt = Attempt {
        number: item.history.attempts + 1,
        first: item.history.first.unwrap_or(job.started),
    };
    let policy = &plan.subscription.retry_policy;
    (
        retry::judge(policy, attempt, answer, asked, now, jitter),
        outcome,
        status,
    )
}

/// An attempt failed: each delivery waits, or becomes a dead letter, by its own count.
pub(crate) fn failed(
    lane: &Arc<Lane>,
    plan: &Plan,
    job: &Job,
    attempts: Vec<Attempted>,
    now: Timestamp,
) {
    let changes = job.items.iter().zip(attempts).map(|(item, attempt)| {
        debug!(
            lane = lane.id.0,
            event.id = %item.event.id,
            outcome = %attempt.outcome,
            "an attempt failed"
        );
        let change = after_failure(lane, plan, job, item, &attempt, now);
        (attempt, change)
    });
    let ends = changes.collect();
    lane.failed(job, ends, now);
}

fn after_failure(
    lane: &Lane,
    plan: &Plan,
    job: &Job,
    item: &Item,
    attempt: &Attempted,
    now: Timestamp,
) -> Change {
    let last = LastAttempt {
        at: now,
        outcome: attempt.outcome,
        status: attempt.status,
    };
    let history = History {
        since: item.history.since,
        attempts: attempt.number,
        first: Some(item.history.first.unwrap_or(job.started)),
        last: Some(last),
        tried: item.history.tried_and(attempt),
        replay: item.history.replay,
    };
    match attempt.verdict {
        Verdict::GiveUp(reason) => dead(lane, plan, item, &history, reason, now),
        Verdict::Retry { due } => wait(lane, item.origin, &item.event, history, due),
        // A delivered event does not come here; if it did, trying again is the harmless reading.
        Verdict::Delivered => wait(lane, item.origin, &item.event, history, now),
    }
}

/// Deliveries that outlived their time to live before their attempt was due. `probe`: they were all there was of a probe.
pub(crate) fn expired(lane: &Arc<Lane>, plan: &Plan, items: &[Item], probe: bool, now: Timestamp) {
    const REASON: Reason = Reason::TimeToLiveExceeded;
    if lane.shared.tail.is_listened() {
        for item in items {
            lane.shared.tail.tell(Activity {
                at: now,
                event: Arc::clone(&item.event),
                what: What::GivenUp {
                    lane: lane.id,
                    subscription: Arc::clone(&plan.name),
                    reason: REASON,
                },
            });
        }
    }
    let changes = items
        .iter()
        .map(|item| dead(lane, plan, item, &item.history, REASON, now))
        .collect();
    lane.given_up(REASON, changes, probe, now);
}

/// A fresh delivery that moves to the waiting table untried, to free the journal.
pub(crate) fn moved(lane: &Lane, position: Position, event: &Event, now: Timestamp) -> Change {
    wait(
        lane,
        Origin::Fresh(position),
        event,
        History::fresh(event.published),
        now,
    )
}

fn wait(lane: &Lane, origin: Origin, event: &Event, history: History, due: Timestamp) -> Change {
    Change::Waiting {
        origin,
        key: WaitingKey {
            due,
            number: lane.shared.next_number(),
        },
        row: Arc::new(WaitingRow {
            event: KeptEvent::new(event),
            history,
        }),
        bytes: event.json.len(),
    }
}

fn dead(
    lane: &Lane,
    plan: &Plan,
    item: &Item,
    history: &History,
    reason: Reason,
    now: Timestamp,
) -> Change {
    let row = DeadLetterRow {
        event: KeptEvent::new(&item.event),
        subscription: plan.name.as_ref().into(),
        source: plan.subscription.source.clone(),
        schema: plan.subscription.delivery_schema,
        reason,
        attempts: history.attempts,
        last: history.last,
        tried: history.tried.clone(),
        replay: history.replay,
        at: now,
        blob_error: None,
    };
    Change::Dead {
        origin: item.origin,
        since: history.since,
        number: lane.shared.next_number(),
        row: Arc::new(row),
        blob: dead_letter_blob::target(&lane.shared.client, &plan.subscription, now),
        bytes: item.event.json.len(),
    }
}

/// Writes a lane's changes until there are none. One such task per lane at a time, and none while nothing fails.
pub(crate) async fn write_down(lane: Arc<Lane>) {
    let mut writing = Writing {
        lane: Arc::clone(&lane),
        batch: Arc::default(),
    };
    loop {
        let Some(batch) = lane.lock().ledger.next_batch() else {
            break;
        };
        let batch = Arc::new(batch);
        writing.batch = Arc::clone(&batch);
        let mut complained = false;
        while let Err(error) = write(&lane, &batch).await {
            if matches!(error, WriteError::NotStored(StoreError::Closed)) {
                // Whatever was not written is still where it was, and will be tried again by the next process.
                lane.lock().ledger = Ledger {
                    busy: true,
                    ..Ledger::default()
                };
                lane.shared.calmer.notify_waiters();
                return;
            }
            // A full disk fails every lane every second: one line of each tells of it.
            if !std::mem::replace(&mut complained, true) {
                warn!(lane = lane.id.0, %error, "outcomes of deliveries could not be written; trying again");
            }
            lane.shared
                .clock
                .sleep_until(lane.shared.clock.now() + AGAIN)
                .await;
        }
        writing.batch = Arc::default();
        written(&lane, &batch);
    }
    lane.shared.calmer.notify_waiters();
}

/// Changes being written. Should a defect of ours end the writing, they go back, and somebody else writes them.
struct Writing {
    lane: Arc<Lane>,
    batch: Arc<Vec<Change>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.lane.lock().ledger.put_back(&self.batch);
        let lane = Arc::clone(&self.lane);
        let again = async move {
            let clock = &lane.shared.clock;
            clock.sleep_until(clock.now() + AGAIN).await;
            write_down(Arc::clone(&lane)).await;
        };
        (self.lane.shared.spawn)("settle", Box::pin(again));
    }
}

async fn write(lane: &Arc<Lane>, batch: &Arc<Vec<Change>>) -> Result<(), WriteError<StoreError>> {
    let (writer, batch) = (Arc::clone(lane), Arc::clone(batch));
    let change = move |txn: &mut Txn<'_>| {
        batch
            .iter()
            .try_for_each(|change| writer.put_down(txn, change))
    };
    lane.shared.store.write_soon(lane.partition, change).await?;
    Ok(())
}

impl Lane {
    /// Puts one change into a transaction.
    fn put_down(&self, txn: &mut Txn<'_>, change: &Change) -> Result<(), StoreError> {
        match change.was().0 {
            Origin::Fresh(position) => txn.settle(self.id, position),
            Origin::Waiting(key) => txn.remove(&WAITING, key.of(self.id))?,
        }
        match change {
            Change::Delivered { .. } => Ok(()),
            // Asked here, on the writer: a row put after the lane's rows were removed would stay for ever.
            Change::Waiting { .. } if self.retired.load(Ordering::Acquire) => Ok(()),
            Change::Waiting { key, row, .. } => txn.put(&WAITING, key.of(self.id), row.as_ref()),
            Change::Dead {
                number, row, blob, ..
            } => {
                let key = (self.id, *number);
                txn.put(&DEAD_LETTERS, key, row.as_ref())?;
                match blob {
                    Some(blob) => txn.put(&UNWRITTEN, key, blob),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The batch is written: the lane's memory follows.
fn written(lane: &Arc<Lane>, batch: &[Change]) {
    let now = lane.shared.clock.now();
    let mut state = lane.lock();
    for change in batch {
        let (origin, since) = change.was();
        match origin {
            Origin::Fresh(position) => state.backlog.settle(position),
            Origin::Waiting(key) => state.waiting.gone(key, since),
        }
        match change {
            Change::Waiting { key, .. } => state.waiting.put(*key, since),
            Change::Dead {
                row, blob, bytes, ..
            } => {
                let retention = lane.shared.limits.dead_letters;
                lane.shared.kept.note(*bytes, retention);
                if blob.is_some() {
                    lane.shared.unwritten.note(lane.partition, lane.id, row.at);
                }
            }
            Change::Delivered { .. } => (),
        }
    }
    let call = lane.stir(&mut state, now);
    drop(state);
    lane.carry_out(call);
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::outbound::{Failure, Response};

    #[test]
    fn section_5_2_a_date_in_retry_after_is_of_the_destination_s_clock() {
        let wall = Timestamp::from_http_date("Sun, 22 Nov 2026 00:00:00 GMT").unwrap();
        let date = HeaderValue::from_static("Sun, 22 Nov 2026 00:01:30 GMT");
        let received = Received::Answered(Response {
            status: StatusCode::SERVICE_UNAVAILABLE,
            headers: HeaderMap::from_iter([(RETRY_AFTER, date)]),
            body: bytes::Bytes::new(),
        });
        assert_eq!(asked_pause(&received, wall), Duration::from_secs(90));
        let moved = wall + Duration::from_secs(24 * 60 * 60);
        assert_eq!(asked_pause(&received, moved), Duration::ZERO);
        let silent = Received::Failed(Failure::TimedOut);
        assert_eq!(asked_pause(&silent, wall), Duration::ZERO);
    }
}
