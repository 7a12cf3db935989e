//! Why an event went where it went.
//!
//! Promise: for an event that is still kept, each subscription of its source is shown with what became of the event
//! there, or with the first clause that refused it and the value it found.
//! Not here: how an event is matched (`matching`) and delivered (`lane`); this only looks, and never at more of the
//! journal than its bound.

use std::sync::Arc;

use gridpost_model::filter::{Refusal, TopicKind};
use gridpost_model::subscription::{EventSubscription, LaneId};
use gridpost_model::{Event, ResourceId, Timestamp};
use gridpost_store::{
    Appended, Partition, Position, Raw, ReadError, ReadLimit, Scan, Snapshot, Store, StoreError,
    Table,
};
use serde::de::DeserializeOwned;

use crate::dead_letter::DEAD_LETTERS;
use crate::retry::{Outcome, Reason};
use crate::tail::Attempted;
use crate::waiting::WAITING;
use crate::{Grid, Inner};

/// How far back an event is looked for: a few seconds of reading.
const REACH_BYTES: u64 = 1 << 30;

/// How much is read at once, from the newest to the oldest: most people ask about what has just happened.
const WINDOW_BYTES: u64 = 8 << 20;

/// Ids are not unique. The newest of those that share one are explained.
const EVENTS: usize = 10;

/// What became of one event.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The event.
    pub event: Arc<Event>,
    /// Where it stands in the journal.
    pub position: Position,
    /// The event subscriptions its source has now, by name.
    pub subscriptions: Vec<Explained>,
    /// How many subscriptions matched it that were deleted since.
    pub deleted: usize,
}

/// What became of an event at one subscription.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The subscription.
    pub subscription: Arc<EventSubscription>,
    /// What became of it.
    pub fate: Fate,
    /// The attempts that are remembered, oldest first.
    pub attempts: Vec<Attempted>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// A clause of the filter refused it.
    Refused(Refusal),
    /// The filter would take it now, but the subscription did not exist or had another filter when it was accepted.
    NotThen,
    /// It matched, and was not delivered yet.
    Pending,
    /// It matched, and will be tried again.
    Waiting {
        /// When.
        due: Timestamp,
        /// Attempts made so far.
        attempts: u32,
        /// How the last one ended.
        last: Option<Outcome>,
    },
    /// It matched, and is a dead letter.
    DeadLettered {
        /// Why.
        reason: Reason,
        /// Since when.
        at: Timestamp,
    },
    /// It matched and was delivered, or was a dead letter that somebody removed.
    Delivered,
    /// It matched, and was dropped when the subscription failed.
    Dropped,
}

/// An event could not be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The journal could not be read.
    #[error("the journal could not be read")]
    Journal(#[from] ReadError),
    /// The tables could not be read.
    #[error("the tables could not be read")]
    Tables(#[from] StoreError),
}

impl Grid {
    /// Explains the newest events of that id. Empty when none is kept any more, or none ever was. Reads files: call it
    /// where that may take a moment.
    ///
    /// # Errors
    /// The journal or the tables cannot be read.
    pub fn explain(&self, event_id: &str) -> Result<Vec<Explanation>, ExplainError> {
        let found = find(&self.0.store, event_id)?;
        found.iter().map(|one| self.0.explained(one)).collect()
    }
}

/// Reads the journal window by window, newest first.
fn find(store: &Store, event_id: &str) -> Result<Vec<Appended>, ReadError> {
    let mut found = Vec::new();
    let mut end = store.tail();
    let floor = store
        .oldest()
        .max(Position(end.0.saturating_sub(REACH_BYTES)));
    while floor < end && found.len() < EVENTS {
        let start = Position(end.0.saturating_sub(WINDOW_BYTES)).max(floor);
        let mut window = find_between(store, event_id, start, end)?;
        window.reverse();
        found.append(&mut window);
        end = start;
    }
    found.truncate(EVENTS);
    Ok(found)
}

/// The events of that id from `start` up to `end`, oldest first.
fn find_between(
    store: &Store,
    event_id: &str,
    start: Position,
    end: Position,
) -> Result<Vec<Appended>, ReadError> {
    let limit = ReadLimit {
        events: 4_096,
        kept_bytes: 4 << 20,
        scanned_bytes: 8 << 20,
    };
    let (mut found, mut at) = (Vec::new(), start);
    loop {
        let batch = store.read_events(at, limit, &mut |_| true)?;
        // A batch may begin before the window and end behind it; what lies outside belongs to another window.
        let inside = |one: &Appended| (start..end).contains(&one.position);
        found.extend(
            batch
                .events
                .into_iter()
                .filter(|one| inside(one) && &*one.event.id == event_id),
        );
        if batch.at_tail || end <= batch.next || batch.next <= at {
            return Ok(found);
        }
        at = batch.next;
    }
}

impl Inner {
    fn explained(&self, one: &Appended) -> Result<Explanation, ExplainError> {
        let state = self.registry.read();
        let source = one.event.topic.parse::<ResourceId>().ok();
        let source = source.and_then(|id| state.sources.get(&id));
        let mut subscriptions = Vec::new();
        if let Some(source) = source {
            for subscription in source.subscriptions.values() {
                subscriptions.push(self.explained_to(source.kind, subscription, one)?);
            }
        }
        let known = |lane: &&LaneId| {
            subscriptions
                .iter()
                .any(|one| one.subscription.lane == **lane)
        };
        let deleted = one.lanes.len() - one.lanes.iter().filter(known).count();
        Ok(Explanation {
            event: Arc::clone(&one.event),
            position: one.position,
            subscriptions,
            deleted,
        })
    }

    fn explained_to(
        &self,
        kind: TopicKind,
        subscription: &Arc<EventSubscription>,
        one: &Appended,
    ) -> Result<Explained, ExplainError> {
        let (fate, attempts) = if one.lanes.contains(&subscription.lane) {
            self.whereabouts(subscription, one)?
        } else {
            // The lanes were decided when the event was accepted; the filter is asked for its reason now.
            let refusal = subscription.filter.refusal(kind, &one.event);
            (refusal.map_or(Fate::NotThen, Fate::Refused), Vec::new())
        };
        Ok(Explained {
            subscription: Arc::clone(subscription),
            fate,
            attempts,
        })
    }

    fn whereabouts(
        &self,
        subscription: &EventSubscription,
        one: &Appended,
    ) -> Result<(Fate, Vec<Attempted>), ExplainError> {
        let Some(lane) = self.delivery.lane(subscription.lane) else {
            return Ok((Fate::Dropped, Vec::new()));
        };
        // Looked at before the tables: what settles in between is found in them.
        let progress = lane.progress(one.position);
        let settled = one.position < progress.floor || progress.settled.contains(&one.position);
        let tables = Tables {
            snapshot: self.store.snapshot(),
            subscription,
            event: &one.event,
        };
        let fate = match tables.waiting()? {
            Some(waiting) => waiting,
            None => match tables.dead_letter()? {
                Some(dead_lettered) => dead_lettered,
                None if settled => Fate::Delivered,
                None => Fate::Pending,
            },
        };
        let mut attempts = self.delivery.recent(subscription.lane);
        attempts.retain(|attempt| *attempt.event_id == *one.event.id);
        Ok((fate, attempts))
    }
}

/// How many rows of a lane are looked through, and how many at once.
const ROWS: usize = 100_000;
const PAGE: usize = 1_000;

/// Where the deliveries of an event to one subscription may stand outside the journal.
struct Tables<'a> {
    snapshot: Snapshot,
    subscription: &'a EventSubscription,
    event: &'a Event,
}

impl Tables<'_> {
    fn waiting(&self) -> Result<Option<Fate>, StoreError> {
        self.find(&WAITING, |key, row| {
            let (history, kept) = (row.history, row.event.into_event());
            let last = history.last.map(|last| last.outcome);
            let due = due_of(key).unwrap_or(kept.published);
            (
                kept,
                Fate::Waiting {
                    due,
                    attempts: history.attempts,
                    last,
                },
            )
        })
    }

    fn dead_letter(&self) -> Result<Option<Fate>, StoreError> {
        self.find(&DEAD_LETTERS, |_, row| {
            (
                row.event.into_event(),
                Fate::DeadLettered {
                    reason: row.reason,
                    at: row.at,
                },
            )
        })
    }

    /// Looks for the event in the lane's rows of a table. Time tells apart those that share an id.
    fn find<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        read: impl Fn(&[u8], V) -> (Event, Fate),
    ) -> Result<Option<Fate>, StoreError> {
        let LaneId(lane) = self.subscription.lane;
        let partition = Partition::of(&self.subscription.source);
        let mut scan = Scan::from(LaneId(lane));
        for _ in 0..ROWS / PAGE {
            let page = scan.to(LaneId(lane + 1)).limit(PAGE);
            let rows = self.snapshot.scan(table, partition, page)?;
            let Some((last, _)) = rows.last() else {
                return Ok(None);
            };
            let behind_last = [last, &[0][..]].concat();
            for (key, row) in rows {
                let (kept, fate) = read(&key, row);
                if kept.id == self.event.id && kept.published == self.event.published {
                    return Ok(Some(fate));
                }
            }
            scan = Scan::from(Raw(&behind_last));
        }
        Ok(None)
    }
}

/// The moment in a key of the waiting table: the lane, the moment, a number, eight bytes each.
fn due_of(key: &[u8]) -> Option<Timestamp> {
    let (_, rest) = key.split_first_chunk::<8>()?;
    let (due, _) = rest.split_first_chunk::<8>()?;
    // Moments are written with their sign turned over, so that they sort.
    Some(Timestamp::from_ticks(
        (u64::from_be_bytes(*due) ^ (1 << 63)).cast_signed(),
    ))
}

#[cfg(test)]
mod tests {
    use gridpost_store::Key as _;

    use super::*;

    #[test]
    fn the_moment_is_read_back_from_a_key() {
        for ticks in [-5, 0, 17_000_000_000_000_000] {
            let (mut key, due) = (Vec::new(), Timestamp::from_ticks(ticks));
            (LaneId(3), due, 9_u64).write(&mut key).unwrap();
            assert_eq!(due_of(&key), Some(due));
        }
        assert_eq!(due_of(b"short"), None);
    }
}
