//! Deliveries that are due later: the table of them, and one lane's view of what in it is due.
//!
//! Promise: rows are handed out in the order they fall due, each to one worker at a time. What is in memory is a
//! small batch, however many rows there are.
//! Not here: what a row tells of attempts (`history`), when it falls due (`retry`), writing rows (`settle`).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use gridpost_model::subscription::LaneId;
use gridpost_model::{Event, Timestamp};
use gridpost_store::{PARTITIONS, Partition, Scan, Snapshot, StoreError, Table};
use serde::{Deserialize, Serialize};

use crate::kept::KeptEvent;

mod history;

pub(crate) use history::{History, LastAttempt, Tried};

/// Deliveries that are due later, by lane and moment.
pub(crate) const WAITING: Table<WaitingRow> = Table::new(40, "waiting");

/// How many due rows a lane reads at once.
const BATCH: usize = 64;

/// One delivery that is due later.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitingRow {
    /// The event.
    pub(crate) event: KeptEvent,
    /// What was tried so far.
    pub(crate) history: History,
}

/// The name of a row within its lane. The number keeps deliveries of one moment apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaitingKey {
    pub(crate) due: Timestamp,
    pub(crate) number: u64,
}

impl WaitingKey {
    const FIRST: Self = Self {
        due: Timestamp::from_ticks(i64::MIN),
        number: 0,
    };

    /// The key as the table takes it.
    pub(crate) fn of(self, lane: LaneId) -> (LaneId, Timestamp, u64) {
        (lane, self.due, self.number)
    }

    /// Reads a key of the table: lane, due, number, eight bytes each.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (_, rest) = bytes.split_first_chunk::<8>()?;
        let (due, rest) = rest.split_first_chunk::<8>()?;
        let number = rest.try_into().ok()?;
        let ticks = (u64::from_be_bytes(*due) ^ (1 << 63)).cast_signed();
        let key = Self {
            due: Timestamp::from_ticks(ticks),
            number: u64::from_be_bytes(number),
        };
        Some(key)
    }
}

/// A due delivery.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) key: WaitingKey,
    pub(crate) event: Arc<Event>,
    pub(crate) history: History,
}

/// One lane's view of its rows.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Read and not handed out.
    ready: VecDeque<Due>,
    /// Read, and their rows still stand.
    held: HashSet<WaitingKey>,
    /// Rows below are held or gone, so that reading does not start at the graves of those before.
    from: WaitingKey,
    /// The lowest row put while a read was under way: the read may have missed it.
    put_meanwhile: Option<WaitingKey>,
    /// The rows that went while a read was under way: the read may still have seen them. `None`: nobody reads.
    gone_meanwhile: Option<HashSet<WaitingKey>>,
    /// When the first row that is not held falls due. Early when not known.
    next_due: Option<Timestamp>,
    ages: Ages,
}

/// How many rows there are of each age: by the second since which they have been under way. A day has few of those.
#[derive(Debug, Default)]
pub(crate) struct Ages(BTreeMap<i64, i64>);

impl Ages {
    fn add(&mut self, since: Timestamp, rows: i64) {
        let second = since.seconds();
        let count = self.0.entry(second).or_default();
        *count += rows;
        if *count == 0 {
            self.0.remove(&second);
        }
    }

    fn oldest(&self) -> Option<Timestamp> {
        let first = self.0.iter().find(|(_, rows)| 0 < **rows);
        first.map(|(second, _)| Timestamp::from_seconds(*second))
    }

    fn rows(&self) -> u64 {
        u64::try_from(self.0.values().sum::<i64>()).unwrap_or(0)
    }
}

/// What a read found.
#[derive(Debug)]
pub(crate) struct Found {
    due: Vec<Due>,
    next: Option<Timestamp>,
    from: WaitingKey,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            held: HashSet::new(),
            from: WaitingKey::FIRST,
            put_meanwhile: None,
            gone_meanwhile: None,
            next_due: Some(WaitingKey::FIRST.due),
            ages: Ages::default(),
        }
    }
}

impl Waiting {
    /// The next due delivery, when one was read.
    pub(crate) fn take(&mut self) -> Option<Due> {
        self.ready.pop_front()
    }

    /// The next due delivery, if it was tried as often, belongs to the same replay, if any, and is not larger than that.
    pub(crate) fn take_like(&mut self, like: &History, bytes: usize) -> Option<Due> {
        let next = self.ready.front()?;
        let alike = next.history.attempts == like.attempts
            && next.history.replay == like.replay
            && next.event.json.len() <= bytes;
        if alike { self.ready.pop_front() } else { None }
    }

    /// Takes a delivery back that was handed out and not tried.
    pub(crate) fn give_back(&mut self, due: Due) {
        self.ready.push_front(due);
    }

    /// Whether there are due rows to read.
    pub(crate) fn wants_reading(&self, now: Timestamp) -> bool {
        self.ready.is_empty() && self.next_due.is_some_and(|due| due <= now)
    }

    /// Whether something was read that is due.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether something is due, read or not.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.is_ready() || self.next_due.is_some_and(|due| due <= now)
    }

    /// Since when the oldest delivery has been under way.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.ages.oldest()
    }

    /// When the next row that was not read falls due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }

    /// A read begins. Where it should start, and how many rows it will see that are held.
    pub(crate) fn begin_reading(&mut self) -> (WaitingKey, usize) {
        self.put_meanwhile = None;
        self.gone_meanwhile = Some(HashSet::new());
        (self.from, self.held.len())
    }

    /// A read ended.
    pub(crate) fn end_reading(&mut self, found: Found) {
        self.next_due = found.next;
        self.from = found.from;
        let gone = self.gone_meanwhile.take().unwrap_or_default();
        for due in found.due {
            if !gone.contains(&due.key) && self.held.insert(due.key) {
                self.ready.push_back(due);
            }
        }
        if let Some(put) = self.put_meanwhile.take() {
            self.note(put);
        }
    }

    /// A read failed.
    pub(crate) fn abandon_reading(&mut self) {
        self.gone_meanwhile = None;
    }

    /// A row was written.
    pub(crate) fn put(&mut self, key: WaitingKey, since: Timestamp) {
        self.ages.add(since, 1);
        self.note(key);
    }

    fn note(&mut self, key: WaitingKey) {
        self.from = self.from.min(key);
        self.put_meanwhile = Some(self.put_meanwhile.map_or(key, |lowest| lowest.min(key)));
        self.next_due = Some(self.next_due.map_or(key.due, |due| due.min(key.due)));
    }

    /// A row that was handed out is gone.
    pub(crate) fn gone(&mut self, key: WaitingKey, since: Timestamp) {
        self.ages.add(since, -1);
        self.held.remove(&key);
        if let Some(gone) = &mut self.gone_meanwhile {
            gone.insert(key);
        }
    }

    /// There are no rows.
    pub(crate) fn are_none(&mut self) {
        self.next_due = None;
    }

    /// These were there when the process started.
    pub(crate) fn were_there(&mut self, ages: Ages) {
        for (second, rows) in ages.0 {
            self.ages.add(Timestamp::from_seconds(second), rows);
        }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> u64 {
        self.ages.rows()
    }
}

/// Reads what is due, up to so many bytes of rows and one row more. No lock is held meanwhile.
pub(crate) fn read(
    snapshot: &Snapshot,
    partition: Partition,
    lane: LaneId,
    (from, held): (WaitingKey, usize),
    now: Timestamp,
    bytes: usize,
) -> Result<Found, StoreError> {
    let scan = Scan::from(from.of(lane))
        .to(LaneId(lane.0 + 1))
        .limit(BATCH + held)
        .bytes(bytes);
    let rows = snapshot.scan(&WAITING, partition, scan)?;
    let is_end = rows.is_empty();
    let mut found = Found {
        due: Vec::new(),
        next: None,
        from,
    };
    for (bytes, row) in rows {
        let Some(key) = WaitingKey::parse(&bytes) else {
            gridpost_model::never!("a key of the waiting table has {} bytes", bytes.len());
            continue;
        };
        if now < key.due {
            found.next = Some(key.due);
            return Ok(found);
        }
        found.from = WaitingKey {
            number: key.number.saturating_add(1),
            ..key
        };
        found.due.push(Due {
            key,
            event: Arc::new(row.event.into_event()),
            history: row.history,
        });
    }
    // Rows that are large end a read early: only one that finds nothing has come to the end.
    if !is_end {
        found.next = Some(found.from.due);
    }
    Ok(found)
}

/// A row, for those who look at its age only.
#[derive(Deserialize)]
struct Glance {
    history: Since,
}

#[derive(Deserialize)]
struct Since {
    since: Timestamp,
}

const GLANCES: Table<Glance> = Table::new(WAITING.id(), WAITING.name());

/// Whether certainly no lane has rows.
pub(crate) fn is_empty(snapshot: &Snapshot) -> bool {
    snapshot
        .scan_all(&GLANCES, Scan::all().limit(1))
        .is_ok_and(|rows| rows.is_empty())
}

/// The lanes that have rows: one look per lane, however many rows it has.
pub(crate) fn lanes(snapshot: &Snapshot) -> Result<Vec<(Partition, LaneId)>, StoreError> {
    let mut lanes = Vec::new();
    for partition in (0..PARTITIONS).map(Partition) {
        let mut from = LaneId(0);
        loop {
            let rows = snapshot.scan(&GLANCES, partition, Scan::from(from).limit(1))?;
            let first = rows.first().and_then(|(key, _)| key.first_chunk::<8>());
            let Some(first) = first else { break };
            let lane = LaneId(u64::from_be_bytes(*first));
            lanes.push((partition, lane));
            from = LaneId(lane.0 + 1);
        }
    }
    Ok(lanes)
}

/// Counts a lane's rows by age without reading them into memory.
pub(crate) fn ages(
    snapshot: &Snapshot,
    partition: Partition,
    lane: LaneId,
) -> Result<Ages, StoreError> {
    const PAGE: usize = 1_000;
    let (mut ages, mut from) = (Ages::default(), WaitingKey::FIRST);
    loop {
        let scan = Scan::from(from.of(lane)).to(LaneId(lane.0 + 1)).limit(PAGE);
        let rows = snapshot.scan(&GLANCES, partition, scan)?;
        rows.iter()
            .for_each(|(_, row)| ages.add(row.history.since, 1));
        match rows.last().and_then(|(bytes, _)| WaitingKey::parse(bytes)) {
            Some(last) if rows.len() == PAGE => {
                from = WaitingKey {
                    number: last.number.saturating_add(1),
                    ..last
                };
            }
            _ => return Ok(ages),
        }
    }
}

#[cfg(test)]
mod tests {
    use gridpost_store::{Key as _, Txn};

    use super::*;
    use crate::testing;

    fn key(seconds: i64, number: u64) -> WaitingKey {
        WaitingKey {
            due: Timestamp::from_seconds(seconds),
            number,
        }
    }

    fn due(key: WaitingKey) -> Due {
        let event = Event {
            schema: gridpost_model::EventSchema::EventGrid,
            id: "1".into(),
            topic: "/t".into(),
            event_type: "x".into(),
            subject: "s".into(),
            data_version: "".into(),
            published: Timestamp::EPOCH,
            trace: None,
            json: bytes::Bytes::from_static(b"{}"),
        };
        Due {
            key,
            event: Arc::new(event),
            history: History::fresh(Timestamp::EPOCH),
        }
    }

    /// What a read finds when one row is due.
    fn found(one: WaitingKey) -> Found {
        let from = WaitingKey {
            number: one.number + 1,
            ..one
        };
        Found {
            due: vec![due(one)],
            next: None,
            from,
        }
    }

    #[test]
    fn a_key_is_read_back() {
        let mut bytes = Vec::new();
        key(-5, 7).of(LaneId(3)).write(&mut bytes).unwrap();
        assert_eq!(WaitingKey::parse(&bytes), Some(key(-5, 7)));
    }

    #[test]
    fn a_row_put_during_a_read_is_not_missed() {
        let mut waiting = Waiting::default();
        waiting.begin_reading();
        waiting.put(key(5, 1), Timestamp::EPOCH);
        // The read began before the row was there, and went past its place.
        waiting.end_reading(found(key(9, 0)));
        assert_eq!(waiting.next_due(), Some(Timestamp::from_seconds(5)));
        assert_eq!(waiting.begin_reading().0, key(5, 1));
    }

    #[test]
    fn a_row_that_went_during_a_read_is_not_handed_out_again() {
        let mut waiting = Waiting::default();
        waiting.begin_reading();
        waiting.end_reading(found(key(1, 0)));
        assert!(waiting.take().is_some());
        // A lower row makes the next read begin before this one, and it sees the table as it was before this one went.
        waiting.put(key(0, 0), Timestamp::EPOCH);
        waiting.begin_reading();
        waiting.gone(key(1, 0), Timestamp::EPOCH);
        waiting.end_reading(found(key(1, 0)));
        assert!(waiting.take().is_none());
    }

    #[test]
    fn a_row_that_is_handed_out_is_not_handed_out_again() {
        let mut waiting = Waiting::default();
        waiting.begin_reading();
        waiting.end_reading(found(key(1, 0)));
        assert!(waiting.take().is_some());
        waiting.put(key(0, 0), Timestamp::EPOCH);
        waiting.begin_reading();
        waiting.end_reading(found(key(1, 0)));
        assert!(waiting.take().is_none());
    }

    #[tokio::test]
    async fn a_read_is_bounded_in_bytes_and_the_next_one_goes_on_behind_it() {
        let (_folder, store) = testing::store();
        let change = |txn: &mut Txn<'_>| {
            for number in 0..5 {
                let event = Event {
                    json: format!("\"{}\"", "x".repeat(1_000)).into(),
                    ..testing::event("x", "s")
                };
                let row = WaitingRow {
                    event: KeptEvent::new(&event),
                    history: History::fresh(Timestamp::EPOCH),
                };
                txn.put(&WAITING, key(1, number).of(LaneId(1)), &row)?;
            }
            Ok::<_, StoreError>(())
        };
        store.write(Partition(0), change).await.unwrap();
        let snapshot = store.snapshot();
        let (mut waiting, mut read_at_once, mut numbers) = (Waiting::default(), 0, Vec::new());
        let now = Timestamp::from_seconds(2);
        while waiting.wants_reading(now) {
            let start = waiting.begin_reading();
            let found = read(&snapshot, Partition(0), LaneId(1), start, now, 2_000).unwrap();
            read_at_once = read_at_once.max(found.due.len());
            waiting.end_reading(found);
            while let Some(due) = waiting.take() {
                numbers.push(due.key.number);
            }
        }
        assert_eq!(read_at_once, 2);
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        store.close().await;
    }
}
