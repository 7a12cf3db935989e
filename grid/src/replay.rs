//! Events delivered once more: one, those of a time, or those that fit a filter, to one subscription.
//!
//! Promise: a replay that was accepted is carried out, over restarts too: what is handed to the subscription and how
//! far the replay has come are one transaction. Its deliveries are marked, live as long as a fresh event from when they
//! are handed over, and can be told from first deliveries. It neither outruns its rate nor piles up deliveries that
//! its subscription cannot make.
//! Not here: going through the journal (`search`), handing over (`run`), delivering (`lane`).

mod run;
mod search;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use gridpost_model::filter::TopicKind;
use gridpost_model::subscription::{EventSubscription, LaneId};
use gridpost_model::{Filter, ResourceId, Timestamp};
use gridpost_store::{
    Partition, Position, ReadError, Scan, Store, StoreError, Table, Txn, WriteError,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::manage::Invalid;
use crate::{Grid, Inner, explain, validation};
use search::Search;

/// Replays by number, in the partition of their subscription's source.
const REPLAYS: Table<Replay> = Table::new(42, "replays");

/// Replays under way at once: each reads the journal.
pub const RUNNING: usize = 16;

/// Replays that ended and are still shown.
const ENDED: usize = 100;

/// The name of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplayId(pub(crate) u64);

/// The text does not name a replay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a replay")]
pub struct BadReplayId;

impl fmt::Display for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for ReplayId {
    type Err = BadReplayId;

    fn from_str(text: &str) -> Result<Self, BadReplayId> {
        let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16);
        number.ok().filter(|_| plain).map(Self).ok_or(BadReplayId)
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ReplaySpec {
    /// The source of the subscription, whose events are meant. `None`: that of the only subscription of that name.
    pub source: Option<ResourceId>,
    /// The event subscription that receives them, compared without case.
    pub subscription: String,
    /// Which events.
    pub selection: Selection,
    /// Events handed over per second, 1 to 10,000.
    pub rate: u32,
}

/// Which events are replayed. Everything that is set has to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selection {
    /// The newest event with this id, whatever the subscription's filter says.
    pub event_id: Option<String>,
    /// Published at this moment or later.
    pub from: Option<Timestamp>,
    /// Published before this moment.
    pub to: Option<Timestamp>,
    /// Those that fit this filter. Without it, and without an id, those that fit the subscription's own.
    pub filter: Option<Filter>,
}

/// A replay, as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Its name.
    pub id: ReplayId,
    /// Whose events.
    pub source: ResourceId,
    /// The subscription that receives them.
    pub subscription: String,
    /// Its queue.
    pub lane: LaneId,
    /// Which events.
    pub selection: Selection,
    /// Events handed over per second.
    pub rate: u32,
    /// The part of the journal that is gone through.
    begin: Position,
    end: Position,
    /// Where it goes on.
    next: Position,
    /// Events handed to the subscription so far.
    pub handed_over: u64,
    /// Some of the journal was given up before the replay came to it.
    pub missed: bool,
    /// How it stands.
    pub state: ReplayState,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// How a replay stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplayState {
    /// It goes on.
    Running,
    /// Everything was handed over.
    Done,
    /// Somebody ended it.
    Cancelled,
    /// It cannot go on, and why.
    Failed(String),
}

impl Replay {
    /// How much of the journal was gone through, from 0 to 1.
    pub fn progress(&self) -> f64 {
        let span = self.end.0.saturating_sub(self.begin.0);
        if self.state == ReplayState::Done || span == 0 {
            return 1.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share that is shown to people"
        )]
        let share = self.next.0.saturating_sub(self.begin.0) as f64 / span as f64;
        share.clamp(0.0, 1.0)
    }

    fn is_running(&self) -> bool {
        self.state == ReplayState::Running
    }

    fn partition(&self) -> Partition {
        Partition::of(&self.source)
    }
}

/// What a replay would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// How many events it would hand over.
    pub events: u64,
    /// When the first of them was published.
    pub first: Option<Timestamp>,
    /// When the last of them was.
    pub last: Option<Timestamp>,
}

/// A replay cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// What is asked for makes no sense; the field is named.
    #[error("{}", .0.message)]
    Invalid(Invalid),
    /// There is no such subscription.
    #[error("there is no event subscription '{0}'")]
    NoSubscription(String),
    /// Several sources have a subscription of that name.
    #[error("several sources have an event subscription '{0}'; name the source")]
    WhichSource(String),
    /// The subscription does not deliver any more.
    #[error("the event subscription '{0}' has failed and delivers nothing")]
    Failed(String),
    /// The event is not in the journal.
    #[error("no event with the id '{0}' is kept for this source")]
    NoEvent(String),
    /// There are too many.
    #[error("{RUNNING} replays are under way; wait for one to end, or cancel one")]
    TooMany,
    /// The journal could not be read.
    #[error("the journal could not be read")]
    Journal(#[from] ReadError),
    /// It could not be kept.
    #[error("the replay could not be stored")]
    NotStored(#[from] StoreError),
}

/// What became of a replay that somebody asked to end.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It was under way, and goes no further.
    Cancelled(Box<Replay>),
    /// It had ended before, and is forgotten.
    Forgotten,
    /// There is none of that name.
    Unknown,
}

/// All replays.
pub(crate) struct Replays(Mutex<BTreeMap<ReplayId, Replay>>);

impl Replays {
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let rows = store.snapshot().scan_all(&REPLAYS, Scan::all())?;
        let by_id = rows.into_iter().map(|(_, _, replay)| (replay.id, replay));
        Ok(Self(Mutex::new(by_id.collect())))
    }

    /// Whether a subscription was ever replayed to, as far as that is remembered.
    pub(crate) fn concern(&self, lane: LaneId) -> bool {
        self.0.lock().values().any(|replay| replay.lane == lane)
    }

    fn put(&self, replay: Replay) {
        self.0.lock().insert(replay.id, replay);
    }
}

/// What is gone through, and for whom.
struct Plan {
    subscription: Arc<EventSubscription>,
    search: Search,
    begin: Position,
    end: Position,
}

impl Grid {
    /// Counts what a replay would hand over. Reads files: call it where that may take a moment.
    ///
    /// # Errors
    /// The same as those of the replay.
    pub fn preview_replay(&self, spec: &ReplaySpec) -> Result<Preview, ReplayError> {
        let plan = self.0.plan(spec)?;
        let (mut preview, mut at) = (Preview::default(), plan.begin);
        while at < plan.end {
            let piece = plan.search.piece(&self.0.store, at, plan.end, usize::MAX)?;
            for event in &piece.events {
                preview.events += 1;
                preview.first = preview.first.or(Some(event.published));
                preview.last = Some(event.published);
            }
            at = piece.next;
        }
        Ok(preview)
    }

    /// Accepts a replay and begins it. Reads files: call it where that may take a moment.
    ///
    /// # Errors
    /// It makes no sense, there is nothing to replay from or to, or it could not be stored.
    pub async fn replay(&self, spec: &ReplaySpec) -> Result<Replay, ReplayError> {
        let plan = self.0.plan(spec)?;
        let subscription = &plan.subscription;
        let replay = Replay {
            id: ReplayId(self.0.delivery.shared().next_number()),
            source: subscription.source.clone(),
            subscription: subscription.name.clone(),
            lane: subscription.lane,
            selection: Selection {
                // Kept as it is now: a replay means what it meant when it was asked for.
                filter: plan.search.filter.clone(),
                ..spec.selection.clone()
            },
            rate: spec.rate,
            begin: plan.begin,
            end: plan.end,
            next: plan.begin,
            handed_over: 0,
            missed: false,
            state: ReplayState::Running,
            created: self.0.settings.clock.now(),
            ended: None,
        };
        self.0.make_room(&replay)?;
        if let Err(error) = self.0.keep(&replay).await {
            self.0.replays.0.lock().remove(&replay.id);
            return Err(error.into());
        }
        self.0.forget_old_ones().await?;
        self.0.run(replay.id);
        Ok(replay)
    }

    /// All replays that are known, the newest first.
    pub fn replays(&self) -> Vec<Replay> {
        let replays = self.0.replays.0.lock();
        replays.values().rev().cloned().collect()
    }

    /// One replay.
    pub fn replay_named(&self, id: ReplayId) -> Option<Replay> {
        self.0.replays.0.lock().get(&id).cloned()
    }

    /// Ends a replay that is under way: nothing more is handed over, and what was is still delivered. Forgets one that
    /// has ended.
    ///
    /// # Errors
    /// It could not be stored; the replay goes on.
    pub async fn end_replay(&self, id: ReplayId) -> Result<Ended, StoreError> {
        let Some(replay) = self.replay_named(id) else {
            return Ok(Ended::Unknown);
        };
        if !replay.is_running() {
            self.0.forget(&replay).await?;
            return Ok(Ended::Forgotten);
        }
        let now = self.0.settings.clock.now();
        let cancel = move |txn: &mut Txn<'_>| {
            let Some(mut row) = txn.get(&REPLAYS, id.0)? else {
                return Ok::<_, StoreError>(None);
            };
            if row.is_running() {
                row.state = ReplayState::Cancelled;
                row.ended = Some(now);
                txn.put(&REPLAYS, id.0, &row)?;
            }
            Ok(Some(row))
        };
        let row = self.0.store.write(replay.partition(), cancel).await;
        let row = row.map_err(WriteError::into_inner)?.into_inner();
        Ok(match row {
            Some(row) => {
                self.0.replays.put(row.clone());
                Ended::Cancelled(Box::new(row))
            }
            None => Ended::Unknown,
        })
    }

    /// Goes on with replays that were under way when the router was last closed.
    pub(crate) fn resume_replays(&self) {
        for replay in self.replays() {
            if replay.is_running() {
                self.0.run(replay.id);
            }
        }
    }
}

impl Inner {
    fn plan(&self, spec: &ReplaySpec) -> Result<Plan, ReplayError> {
        let invalid =
            |field: &'static str, why: String| Err(ReplayError::Invalid(Invalid::new(field, why)));
        if !(1..=run::RATE_LIMIT).contains(&spec.rate) {
            let limit = run::RATE_LIMIT;
            return invalid("rate", format!("'rate' must be from 1 to {limit}."));
        }
        let chosen = &spec.selection;
        if let (Some(from), Some(to)) = (chosen.from, chosen.to)
            && to <= from
        {
            return invalid("to", "'to' must be later than 'from'.".to_owned());
        }
        let subscription = self.subscription_of(spec)?;
        if self.delivery.lane(subscription.lane).is_none() {
            return Err(ReplayError::Failed(subscription.name.clone()));
        }
        let kind = self.kind_of(&subscription.source);
        let filter = match (&chosen.filter, &chosen.event_id) {
            (Some(filter), _) => {
                let checked = validation::check_filter(filter.clone(), kind);
                Some(checked.map_err(ReplayError::Invalid)?)
            }
            (None, Some(_)) => None,
            (None, None) => Some(subscription.filter.clone()),
        };
        let search = Search {
            source: subscription.source.clone(),
            kind,
            filter,
            selection: chosen.clone(),
        };
        let (begin, end) = match &chosen.event_id {
            Some(id) => {
                let found = explain::find(&self.store, id)?;
                let is_of_source = |event: &_| search.is_of_source(event);
                let newest = found.iter().find(|one| is_of_source(&*one.event));
                let newest = newest.ok_or_else(|| ReplayError::NoEvent(id.clone()))?;
                (newest.position, Position(newest.position.0 + 1))
            }
            None => (search.begin(&self.store)?, self.store.tail()),
        };
        Ok(Plan {
            subscription,
            search,
            begin,
            end,
        })
    }

    fn subscription_of(&self, spec: &ReplaySpec) -> Result<Arc<EventSubscription>, ReplayError> {
        let state = self.registry.read();
        let mut named = state.lanes.values().filter(|one| {
            one.name.eq_ignore_ascii_case(&spec.subscription)
                && spec
                    .source
                    .as_ref()
                    .is_none_or(|source| *source == one.source)
        });
        let name = || spec.subscription.clone();
        let first = named
            .next()
            .ok_or_else(|| ReplayError::NoSubscription(name()))?;
        match named.next() {
            Some(_) => Err(ReplayError::WhichSource(name())),
            None => Ok(Arc::clone(first)),
        }
    }

    fn kind_of(&self, source: &ResourceId) -> TopicKind {
        let state = self.registry.read();
        let source = state.sources.get(source);
        source.map_or(TopicKind::Custom, |source| source.kind)
    }

    /// Takes the replay up among those under way, unless there are too many.
    fn make_room(&self, replay: &Replay) -> Result<(), ReplayError> {
        let mut all = self.replays.0.lock();
        if RUNNING <= all.values().filter(|one| one.is_running()).count() {
            return Err(ReplayError::TooMany);
        }
        all.insert(replay.id, replay.clone());
        Ok(())
    }

    async fn keep(&self, replay: &Replay) -> Result<(), StoreError> {
        let row = replay.clone();
        let put = move |txn: &mut Txn<'_>| txn.put(&REPLAYS, row.id.0, &row);
        let kept = self.store.write(replay.partition(), put).await;
        kept.map(|_| ()).map_err(WriteError::into_inner)
    }

    async fn forget_old_ones(&self) -> Result<(), StoreError> {
        loop {
            let oldest = {
                let all = self.replays.0.lock();
                let ended: Vec<_> = all.values().filter(|one| !one.is_running()).collect();
                let oldest = ended.iter().min_by_key(|one| one.ended);
                oldest
                    .filter(|_| ENDED < ended.len())
                    .map(|one| Replay::clone(one))
            };
            match oldest {
                Some(oldest) => self.forget(&oldest).await?,
                None => return Ok(()),
            }
        }
    }

    async fn forget(&self, replay: &Replay) -> Result<(), StoreError> {
        let id = replay.id;
        let remove = move |txn: &mut Txn<'_>| txn.remove(&REPLAYS, id.0);
        let removed = self.store.write(replay.partition(), remove).await;
        removed.map_err(WriteError::into_inner)?;
        self.replays.0.lock().remove(&id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        assert_eq!(ReplayId(0xbeef).to_string().parse(), Ok(ReplayId(0xbeef)));
        assert!("+1".parse::<ReplayId>().is_err() && "x".parse::<ReplayId>().is_err());
    }
}
