//! Why an event went where it went.
//!
//! Promise: for an event that is still kept, in the journal or by a delivery that waits or was given up, each
//! subscription of its source is shown with what became of the event there, or with the first clause that refused it
//! and the value it found; every attempt of a delivery that waits or was given up is told of, however long ago it was.
//! Not here: how an event is matched (`matching`) and delivered (`lane`), which exchanges are remembered (`recent`);
//! this only looks, and never at more of the journal than its bound.

use std::sync::Arc;
use std::time::Duration;

use gridpost_model::filter::{Refusal, TopicKind};
use gridpost_model::subscription::{EventSubscription, LaneId};
use gridpost_model::{Event, ResourceId, Timestamp};
use gridpost_store::{Appended, Position, ReadError, ReadLimit, Store, StoreError};

use crate::lane::Lane;
use crate::replay::ReplayId;
use crate::retry::{Outcome, Reason, Verdict};
use crate::tail::{self, Attempted};
use crate::waiting::Tried;
use crate::{Grid, Inner};
use rows::{ROWS, Rows, Sought};

mod rows;

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
    /// Where it stands in the journal; nowhere any more when only its deliveries are left.
    pub position: Option<Position>,
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
    /// The attempts that are known, oldest first.
    pub attempts: Vec<Attempted>,
    /// The destination keeps failing and is left alone until then.
    pub probation: Option<Timestamp>,
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
        /// The replay it belongs to.
        replay: Option<ReplayId>,
    },
    /// It matched, and is a dead letter.
    DeadLettered {
        /// Why.
        reason: Reason,
        /// Since when.
        at: Timestamp,
        /// The replay it belongs to.
        replay: Option<ReplayId>,
    },
    /// It matched and was delivered, or was a dead letter that was deleted.
    Delivered,
    /// It matched and was tried. So many rows of the subscription were looked through that it is not known whether it
    /// waits, is a dead letter, or was delivered.
    Unknown,
    /// It matched, and was dropped when the subscription failed.
    Dropped,
    /// It left the journal, and with it who wanted it.
    Forgotten,
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
        let mut found: Vec<Found> = find(&self.0.store, event_id)?
            .into_iter()
            .map(Found::from)
            .collect();
        if found.is_empty() {
            found = self.0.find_in_tables(event_id)?;
        }
        found.iter().map(|one| self.0.explained(one)).collect()
    }
}

/// An event that was found, and who wanted it.
struct Found {
    event: Arc<Event>,
    position: Option<Position>,
    lanes: Vec<LaneId>,
}

impl From<Appended> for Found {
    fn from(one: Appended) -> Self {
        Self {
            event: one.event,
            position: Some(one.position),
            lanes: one.lanes.to_vec(),
        }
    }
}

/// Reads the journal window by window, newest first.
pub(crate) fn find(store: &Store, event_id: &str) -> Result<Vec<Appended>, ReadError> {
    let (mut found, mut left) = (Vec::new(), REACH_BYTES);
    for piece in store.pieces().iter().rev() {
        let mut end = piece.end;
        while piece.start < end && found.len() < EVENTS && 0 < left {
            let span = (end.0 - piece.start.0).min(WINDOW_BYTES).min(left);
            let start = Position(end.0 - span);
            let mut window = find_between(store, event_id, start, end)?;
            window.reverse();
            found.append(&mut window);
            end = start;
            left -= span;
        }
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
    /// Events that left the journal, as far as deliveries of them wait or were given up.
    fn find_in_tables(&self, event_id: &str) -> Result<Vec<Found>, StoreError> {
        let (state, snapshot) = (self.registry.read(), self.store.snapshot());
        let mut found: Vec<Found> = Vec::new();
        for subscription in state.lanes.values() {
            let rows = Rows {
                snapshot: &snapshot,
                subscription,
                is_it: &|event| *event.id == *event_id,
                since: Timestamp::EPOCH,
                most: ROWS,
            };
            let Sought::Found(row) = rows.find()? else {
                continue;
            };
            let event = row.event;
            let same = |one: &&mut Found| one.event.published == event.published;
            match found.iter_mut().find(same) {
                Some(known) => known.lanes.push(subscription.lane),
                None => found.push(Found {
                    event: Arc::new(event),
                    position: None,
                    lanes: vec![subscription.lane],
                }),
            }
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.event.published));
        found.truncate(EVENTS);
        Ok(found)
    }

    fn explained(&self, one: &Found) -> Result<Explanation, ExplainError> {
        let state = self.registry.read();
        let source = one.event.topic.parse::<ResourceId>().ok();
        let mut subscriptions = Vec::new();
        for source in source.iter().flat_map(|id| state.audience(id)) {
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
        one: &Found,
    ) -> Result<Explained, ExplainError> {
        let lane = self.delivery.lane(subscription.lane);
        let now = self.settings.clock.now();
        let mut explained = Explained {
            subscription: Arc::clone(subscription),
            fate: Fate::Dropped,
            attempts: Vec::new(),
            probation: lane.as_ref().and_then(|lane| lane.probation_until(now)),
        };
        let matched = one.lanes.contains(&subscription.lane);
        if (matched || self.replays.concern(subscription.lane))
            && let Some(lane) = lane
        {
            (explained.fate, explained.attempts) = self.whereabouts(&lane, subscription, one)?;
        }
        let is_replayed = matches!(
            explained.fate,
            Fate::Waiting { .. } | Fate::DeadLettered { .. }
        );
        if !matched && !is_replayed {
            // The lanes were decided when the event was accepted; the filter is asked for its reason now.
            let refusal = subscription.filter.refusal(kind, &one.event);
            explained.fate = match refusal {
                Some(refusal) => Fate::Refused(refusal),
                None if one.position.is_none() => Fate::Forgotten,
                None => Fate::NotThen,
            };
        }
        Ok(explained)
    }

    fn whereabouts(
        &self,
        lane: &Lane,
        subscription: &EventSubscription,
        one: &Found,
    ) -> Result<(Fate, Vec<Attempted>), ExplainError> {
        // Looked at before the tables: what settles in between is found in them.
        let settled = one.position.is_none_or(|position| {
            let progress = lane.progress(position);
            position < progress.floor || progress.settled.contains(&position)
        });
        let mut attempts = lane.recent();
        let id = tail::kept_id(&one.event.id);
        // Time tells apart those that share an id, here and in the rows.
        attempts
            .retain(|attempt| attempt.event_id == id && attempt.published == one.event.published);
        let snapshot = self.store.snapshot();
        let rows = Rows {
            snapshot: &snapshot,
            subscription,
            is_it: &|event| event.id == one.event.id && event.published == one.event.published,
            since: one.event.published,
            most: ROWS,
        };
        Ok(match rows.find()? {
            Sought::Found(row) => (row.fate, told(&one.event, &row.tried, row.replay, attempts)),
            _ if !settled => (Fate::Pending, attempts),
            Sought::Nowhere => (Fate::Delivered, attempts),
            Sought::TooMany => (Fate::Unknown, attempts),
        })
    }
}

/// The attempts that a row tells of, those of them that are remembered in full, and those that are only remembered.
fn told(
    event: &Event,
    tried: &[Tried],
    replay: Option<ReplayId>,
    mut remembered: Vec<Attempted>,
) -> Vec<Attempted> {
    let (mut first, in_full) = (Timestamp::EPOCH, remembered.len());
    for one in tried {
        let at = Timestamp::from_ticks(one.at);
        if one.number == 1 {
            first = at;
        }
        let is_remembered = |known: &Attempted| known.at == at && known.number == one.number;
        if remembered[..in_full].iter().any(is_remembered) {
            continue;
        }
        remembered.push(Attempted {
            at,
            event_id: tail::kept_id(&event.id).to_owned(),
            published: event.published,
            number: one.number,
            first,
            outcome: one.outcome,
            status: one.status,
            took: Duration::from_micros(one.took_us),
            verdict: match (one.due.map(Timestamp::from_ticks), one.reason) {
                (Some(due), _) => Verdict::Retry { due },
                (None, Some(reason)) => Verdict::GiveUp(reason),
                (None, None) => Verdict::Delivered,
            },
            replay,
            exchange: None,
        });
    }
    remembered.sort_by_key(|attempt| attempt.at);
    remembered
}
