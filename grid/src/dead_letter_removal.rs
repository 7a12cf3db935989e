//! Dead letters that go: those that somebody deletes, and those that are too old or too many.
//!
//! Promise: the oldest go first, whatever became of their subscription and whether or not they stand in a blob. What
//! goes by itself is counted as dropped and told in the log. Between the moments when something has to go nothing is
//! read, however much is kept.
//! Not here: bringing dead letters back (`dead_letter`), writing them into blobs (`dead_letter_blob`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gridpost_model::subscription::LaneId;
use gridpost_model::{ResourceId, Timestamp};
use gridpost_store::{PARTITIONS, Partition, Raw, Scan, Store, StoreError, Table, Txn, WriteError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tracing::warn;

use crate::Grid;
use crate::dead_letter::{DEAD_LETTERS, DeadLetterId, DeadLetterQuery, READ, find};
use crate::lane::Shared;
use crate::metrics::Topics;

/// How much of dead letters is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// How long each.
    pub age: Duration,
    /// How many bytes of them in all.
    pub bytes: u64,
}

/// A month is long enough for somebody to come and look, and 1 GiB is what the journal keeps of settled events.
impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(30 * 24 * 3600),
            bytes: 1 << 30,
        }
    }
}

/// `DropReason` of dead letters that were too old or too many.
const EXPIRED: &str = "DeadLetterExpired";

/// Rows read or removed at once, and bytes read at once.
const ROWS: usize = 500;
const BYTES: usize = 4 << 20;

/// How long we wait before we try again what failed.
const PATIENCE: Duration = Duration::from_secs(60);

impl Grid {
    /// Deletes dead letters for good. Without a limit all that are meant go. Returns how many went.
    ///
    /// # Errors
    /// A table cannot be read or written; those deleted before stay so.
    pub async fn delete_dead_letters(&self, query: &DeadLetterQuery) -> Result<u64, StoreError> {
        let mut query = query.clone();
        let mut left = query.limit.unwrap_or(usize::MAX);
        let (store, mut deleted) = (&self.0.store, 0);
        while 0 < left {
            let (page, _) = find(&store.snapshot(), &query, left.min(READ))?;
            let Some(last) = page.last() else { break };
            query.after = Some(last.id);
            let mut parts: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
            for letter in &page {
                let (partition, key) = letter.id.row();
                parts.entry(partition.0).or_default().push(key);
            }
            for (partition, keys) in parts {
                let gone = remove(store, Partition(partition), keys).await?;
                left -= gone;
                deleted += gone as u64;
            }
        }
        Ok(deleted)
    }
}

/// What the task that lets dead letters go is told.
#[derive(Default)]
pub(crate) struct Kept {
    /// Bytes that are kept, or more: what is brought back or deleted is taken off at the next count.
    bytes: AtomicU64,
    called: Notify,
    closed: AtomicBool,
}

impl Kept {
    /// A dead letter of that size was written.
    pub(crate) fn note(&self, bytes: usize, retention: Retention) {
        let bytes = bytes as u64;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before == 0 || retention.bytes < before.saturating_add(bytes) {
            self.called.notify_one();
        }
    }

    /// Ends the task.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.called.notify_one();
    }
}

/// Lets dead letters go as they become too old or too many, until it is told to end.
pub(crate) async fn run(shared: Arc<Shared>) {
    while !shared.kept.closed.load(Ordering::Acquire) {
        let called = shared.kept.called.notified();
        let alarm = match tidy(&shared).await {
            Ok(alarm) => alarm,
            Err(StoreError::Closed) => return,
            Err(error) => {
                warn!(%error, "dead letters that should go stay; trying again");
                Some(shared.clock.now() + PATIENCE)
            }
        };
        // With none kept there is no moment to wait for, and no alarm that a clock could be turned to.
        let Some(alarm) = alarm else {
            called.await;
            continue;
        };
        tokio::select! {
            () = called => (),
            () = shared.clock.sleep_until(alarm) => (),
        }
    }
}

/// Counts what is kept and removes what has to go. Returns when the oldest that stays will be too old.
async fn tidy(shared: &Shared) -> Result<Option<Timestamp>, StoreError> {
    let (retention, now) = (shared.limits.dead_letters, shared.clock.now());
    let before = shared.kept.bytes.load(Ordering::Relaxed);
    let census = Census::take(&shared.store, now - retention.age).await?;
    // What was noted during the count is counted twice, until the next time.
    let more = census.bytes().wrapping_sub(before);
    shared.kept.bytes.fetch_add(more, Ordering::Relaxed);
    let mut oldest = census.oldest;
    if let Some(mut cut) = census.cut(now - retention.age, retention.bytes) {
        let (letters, bytes) = remove_beyond(&shared.store, &mut cut, &shared.topics).await?;
        shared.kept.bytes.fetch_sub(bytes, Ordering::Relaxed);
        warn!(
            letters,
            "{letters} dead letters were dropped: they were older than {} hours, or more than {} MiB were kept",
            retention.age.as_secs() / 3600,
            retention.bytes >> 20
        );
        oldest = Census::take(&shared.store, Timestamp::EPOCH).await?.oldest;
    }
    Ok(oldest.map(|oldest| (oldest + retention.age).max(now + PATIENCE)))
}

/// How many bytes of dead letters there are of each minute. A month has few of those.
#[derive(Debug, Default)]
struct Census {
    minutes: BTreeMap<i64, u64>,
    oldest: Option<Timestamp>,
    has_expired: bool,
}

/// Which dead letters go: those given up by `age` or before `minute`, and of `minute` so many bytes.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    age: Timestamp,
    minute: i64,
    left_bytes: u64,
}

/// A row as it stands in the table.
const RAW: Table<Box<RawValue>> = Table::new(DEAD_LETTERS.id(), DEAD_LETTERS.name());

/// A row, for those who look at its age only.
#[derive(Deserialize)]
struct Age {
    at: Timestamp,
}

/// A row, for those who remove it.
#[derive(Deserialize)]
struct Going {
    at: Timestamp,
    source: ResourceId,
    subscription: Box<str>,
}

const GOING: Table<Going> = Table::new(DEAD_LETTERS.id(), DEAD_LETTERS.name());

fn minute(at: Timestamp) -> i64 {
    at.seconds().div_euclid(60)
}

fn few_at_once(scan: Scan) -> Scan {
    scan.limit(ROWS).bytes(BYTES)
}

impl Census {
    /// Reads the whole table, a few rows at a time, and lets others run in between.
    async fn take(store: &Store, expired: Timestamp) -> Result<Self, StoreError> {
        let (mut census, snapshot) = (Self::default(), store.snapshot());
        for partition in (0..PARTITIONS).map(Partition) {
            let mut scan = few_at_once(Scan::all());
            while let Some(rows) = snapshot.next_page(&RAW, partition, &mut scan)? {
                for (_, row) in &rows {
                    let Age { at } = read(row)?;
                    census.add(at, row.get().len() as u64, expired);
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(census)
    }

    fn add(&mut self, at: Timestamp, bytes: u64, expired: Timestamp) {
        *self.minutes.entry(minute(at)).or_default() += bytes;
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
        self.has_expired |= at <= expired;
    }

    fn bytes(&self) -> u64 {
        self.minutes.values().sum()
    }

    /// What has to go, if anything. When there is too much a sixteenth more goes, so that the next letter does not make
    /// it too much again.
    fn cut(&self, age: Timestamp, most: u64) -> Option<Cut> {
        let mut cut = Cut {
            age,
            minute: i64::MIN,
            left_bytes: 0,
        };
        let bytes = self.bytes();
        if bytes <= most {
            return self.has_expired.then_some(cut);
        }
        let mut excess = bytes - (most - most / 16);
        for (minute, bytes) in &self.minutes {
            (cut.minute, cut.left_bytes) = (*minute, excess);
            if excess <= *bytes {
                break;
            }
            excess -= bytes;
        }
        Some(cut)
    }
}

impl Cut {
    fn takes(&mut self, at: Timestamp, bytes: u64) -> bool {
        let minute = minute(at);
        if at <= self.age || minute < self.minute {
            return true;
        }
        let takes = minute == self.minute && 0 < self.left_bytes;
        if takes {
            self.left_bytes = self.left_bytes.saturating_sub(bytes);
        }
        takes
    }
}

/// Removes what a cut takes. Returns how many letters, and how many bytes, went.
async fn remove_beyond(
    store: &Store,
    cut: &mut Cut,
    topics: &Topics,
) -> Result<(u64, u64), StoreError> {
    let (mut letters, mut bytes, snapshot) = (0, 0, store.snapshot());
    for partition in (0..PARTITIONS).map(Partition) {
        let mut scan = few_at_once(Scan::all());
        while let Some(rows) = snapshot.next_page(&RAW, partition, &mut scan)? {
            let mut going: BTreeMap<(ResourceId, Box<str>), Vec<Vec<u8>>> = BTreeMap::new();
            for (key, row) in &rows {
                let one: Going = read(row)?;
                let size = row.get().len() as u64;
                if cut.takes(one.at, size) {
                    let subscription = (one.source, one.subscription);
                    going.entry(subscription).or_default().push(key.to_vec());
                    bytes += size;
                } else if let Some(id) = DeadLetterId::of_row(partition, key) {
                    // Within a lane the older ones come first: the next to be looked at is of another.
                    scan = few_at_once(Scan::from(LaneId(id.lane().0.saturating_add(1))));
                    break;
                }
            }
            for ((source, subscription), keys) in going {
                let gone = remove(store, partition, keys).await? as u64;
                topics.dropped_for(&source, &subscription, EXPIRED, gone);
                letters += gone;
            }
        }
    }
    Ok((letters, bytes))
}

fn read<'a, T: Deserialize<'a>>(row: &'a RawValue) -> Result<T, StoreError> {
    serde_json::from_str(row.get()).map_err(|error| StoreError::Codec {
        what: RAW.name(),
        why: error.to_string().into(),
    })
}

/// Removes rows of one partition that are still there, and counts them.
async fn remove(
    store: &Store,
    partition: Partition,
    keys: Vec<Vec<u8>>,
) -> Result<usize, StoreError> {
    let change = move |txn: &mut Txn<'_>| {
        let mut gone = 0;
        for key in &keys {
            if txn.get(&GOING, Raw(key))?.is_some() {
                txn.remove(&DEAD_LETTERS, Raw(key))?;
                gone += 1;
            }
        }
        Ok::<_, StoreError>(gone)
    };
    let removed = store.write_soon(partition, change).await;
    Ok(removed.map_err(WriteError::into_inner)?.into_inner())
}

#[cfg(test)]
mod tests {
    use gridpost_model::Filter;

    use super::*;
    use crate::testing;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_seconds(minute * 60 + 7)
    }

    fn census(expired: Timestamp) -> Census {
        let mut census = Census::default();
        for (minute, bytes) in [(3, 40), (1, 30), (2, 30), (2, 30)] {
            census.add(at(minute), bytes, expired);
        }
        census
    }

    #[test]
    fn nothing_goes_while_nothing_is_too_old_and_not_too_much_is_kept() {
        let census = census(at(0));
        assert_eq!((census.bytes(), census.oldest), (130, Some(at(1))));
        assert_eq!(census.cut(at(0), 130), None);
    }

    #[test]
    fn what_is_too_old_goes_however_little_it_is() {
        let mut cut = census(at(1)).cut(at(1), 1_000).unwrap();
        assert!(cut.takes(at(1), 30));
        assert!(!cut.takes(at(2), 30));
    }

    #[test]
    fn of_what_is_too_much_the_oldest_goes_first() {
        // 130 bytes of at most 80: 55 of them go, so that 75 are left.
        let mut cut = census(at(0)).cut(at(0), 80).unwrap();
        assert!(!cut.takes(at(3), 40));
        assert!(cut.takes(at(1), 30));
        assert!(cut.takes(at(2), 30));
        assert!(!cut.takes(at(2), 30), "one of that minute is enough");
    }

    #[test]
    fn the_task_is_called_by_the_first_letter_and_by_one_too_many() {
        let kept = Kept::default();
        let retention = Retention {
            bytes: 100,
            ..Retention::default()
        };
        let called = || {
            use futures_util::FutureExt as _;
            kept.called.notified().now_or_never().is_some()
        };
        kept.note(60, retention);
        assert!(called());
        kept.note(40, retention);
        assert!(!called());
        kept.note(1, retention);
        assert!(called());
    }

    #[tokio::test]
    async fn the_oldest_of_all_lanes_go_and_are_counted_for_their_subscriptions() {
        let (_folder, store) = testing::store();
        testing::bury(&store, 1, 0..4).await;
        testing::bury(&store, 2, 2..6).await;
        let topics = Topics::default();
        topics.of(&testing::subscription(1, Filter::default()).source);
        let census = Census::take(&store, Timestamp::EPOCH).await.unwrap();
        let bytes = census.bytes();
        // All are of one size, but for their subscription's name. Three of eight shall go: those of minutes 0, 1, and one of 2.
        let mut cut = Cut {
            age: Timestamp::EPOCH,
            minute: 2,
            left_bytes: 1,
        };
        let gone = remove_beyond(&store, &mut cut, &topics).await.unwrap();
        assert_eq!(gone.0, 3);
        let left = Census::take(&store, Timestamp::EPOCH).await.unwrap();
        assert_eq!(left.bytes(), bytes - gone.1);
        assert_eq!(left.oldest, Some(Timestamp::from_seconds(120)));
        let counted = &topics.report(Vec::new()).topics[0].dropped;
        assert_eq!(*counted, BTreeMap::from([(("es1".into(), EXPIRED), 3)]));
        store.close().await;
    }
}
