//! The ranges of the audit log in which whoever has most rows gives way.
//!
//! Promise: a principal is limited to its share: when a range is full, the oldest row of whoever has most makes room, so
//! that no number of calls of one removes the few rows of another.
//! Not here: what rows are and how they are read (`audit`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gridpost_model::Timestamp;
use gridpost_store::{Partition, Scan, Snapshot, Store, StoreError, Table, WriteError};
use parking_lot::Mutex;

use super::{
    Appended, Entry, MOST_LOOKS, MOST_REFUSALS, REFUSALS_A_MINUTE, Row, append, number_of,
};
use crate::registry::{AUDIT_LOOKS, AUDIT_REFUSALS};

/// How many rows are read at once at the first use.
const BATCH: usize = 1_000;

/// Both of them.
pub(crate) struct Sides {
    pub(super) looks: Side,
    pub(super) refusals: Side,
    often: Mutex<Often>,
}

impl Default for Sides {
    fn default() -> Self {
        Self {
            looks: Side::new(&AUDIT_LOOKS, MOST_LOOKS),
            refusals: Side::new(&AUDIT_REFUSALS, MOST_REFUSALS),
            often: Mutex::default(),
        }
    }
}

impl Sides {
    /// Counts a refusal. True when it is one of too many of its principal within a minute.
    pub(super) fn is_too_often(&self, entry: &Entry) -> bool {
        let counted = self.often.lock().count(&entry.principal, entry.at);
        if counted == REFUSALS_A_MINUTE + 1 {
            tracing::warn!(
                principal.id = %entry.principal,
                "more than {REFUSALS_A_MINUTE} calls of one principal were refused within a minute; the audit log has the first"
            );
        }
        counted > REFUSALS_A_MINUTE
    }
}

/// How many calls of whom were refused within a minute. Only principals that exist are refused, so they are few.
#[derive(Default)]
struct Often {
    minute: i64,
    counted: HashMap<String, u32>,
}

impl Often {
    fn count(&mut self, who: &str, at: Timestamp) -> u32 {
        let minute = at.seconds().div_euclid(60);
        if self.minute != minute {
            self.counted.clear();
            self.minute = minute;
        }
        let counted = self.counted.entry(who.to_owned()).or_default();
        *counted = counted.saturating_add(1);
        *counted
    }
}

/// One range.
pub(super) struct Side {
    table: &'static Table<Row>,
    most: usize,
    /// Read from the table at the first use. Held while a row is written: one makes room at a time.
    shares: tokio::sync::Mutex<Option<Shares>>,
}

impl Side {
    fn new(table: &'static Table<Row>, most: usize) -> Self {
        Self {
            table,
            most,
            shares: tokio::sync::Mutex::default(),
        }
    }

    /// Writes a row. When the range is full, the oldest row of whoever has most makes room.
    pub(super) async fn write(&self, store: &Store, entry: Entry) -> Result<(), StoreError> {
        let mut held = self.shares.lock().await;
        let shares = match held.as_mut() {
            Some(shares) => shares,
            None => held.insert(self.read(store).await?),
        };
        let who: Arc<str> = entry.principal.as_str().into();
        let gone = shares.room_for(self.most);
        let table = self.table;
        let write = store.write(Partition::DIRECTORY, move |txn| {
            let appended = append(txn, table, entry)?;
            if let Some(number) = gone {
                txn.remove(table, number)?;
            }
            Ok::<_, StoreError>(appended)
        });
        let Appended { number, removed } =
            write.await.map_err(WriteError::into_inner)?.into_inner();
        for number in gone.into_iter().chain(removed) {
            shares.remove(number);
        }
        shares.add(number, who);
        Ok(())
    }

    async fn read(&self, store: &Store) -> Result<Shares, StoreError> {
        let (snapshot, table) = (store.snapshot(), self.table);
        let read = tokio::task::spawn_blocking(move || Shares::read(&snapshot, table));
        read.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Whose rows there are.
#[derive(Default)]
struct Shares {
    /// Whose row has which number.
    whose: BTreeMap<u64, Arc<str>>,
    /// How many each has.
    count: HashMap<Arc<str>, usize>,
}

impl Shares {
    fn read(snapshot: &Snapshot, table: &Table<Row>) -> Result<Self, StoreError> {
        let mut shares = Self::default();
        let mut scan = Scan::all().limit(BATCH);
        while let Some(rows) = snapshot.next_page(table, Partition::DIRECTORY, &mut scan)? {
            for (key, row) in rows {
                shares.add(number_of(&key), row.entry.principal.as_str().into());
            }
        }
        Ok(shares)
    }

    fn add(&mut self, number: u64, who: Arc<str>) {
        *self.count.entry(Arc::clone(&who)).or_default() += 1;
        self.whose.insert(number, who);
    }

    fn remove(&mut self, number: u64) {
        let Some(who) = self.whose.remove(&number) else {
            return;
        };
        if let Some(count) = self.count.get_mut(&who) {
            *count -= 1;
            if *count == 0 {
                self.count.remove(&who);
            }
        }
    }

    /// The row that makes room for another: the oldest of whoever has most. None while there is room.
    fn room_for(&self, most: usize) -> Option<u64> {
        if self.whose.len() < most {
            return None;
        }
        let most = self.count.values().max()?;
        let mut rows = self.whose.iter();
        let oldest = rows.find(|(_, who)| self.count.get(*who) == Some(most));
        oldest.map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_most_gives_way() {
        let mut shares = Shares::default();
        for (number, who) in [(1, "owner"), (2, "noisy"), (3, "ci"), (4, "ci")] {
            shares.add(number, who.into());
        }
        for number in 5..100 {
            if let Some(gone) = shares.room_for(10) {
                shares.remove(gone);
            }
            shares.add(number, "noisy".into());
        }
        let left: Vec<_> = shares.whose.keys().copied().collect();
        assert_eq!(left, [1, 3, 4, 93, 94, 95, 96, 97, 98, 99]);
        assert_eq!(shares.count.len(), 3);
    }

    fn row(who: &str) -> Entry {
        Entry {
            at: Timestamp::EPOCH,
            principal: who.into(),
            object_id: None,
            address: None,
            action: "x/read".into(),
            scope: "/".into(),
            status: 403,
            code: None,
            correlation_id: "c".into(),
            client_request_id: None,
            command: None,
            request: None,
        }
    }

    #[tokio::test]
    async fn who_is_refused_without_end_does_not_push_out_what_others_did() {
        let (_folder, store) = crate::testing::store();
        let write = async |side: &Side, who| side.write(&store, row(who)).await.unwrap();
        let side = Side::new(&AUDIT_REFUSALS, 5);
        write(&side, "owner").await;
        for _ in 0..20 {
            write(&side, "noisy").await;
        }
        // A server that starts again finds whose rows there are.
        let side = Side::new(&AUDIT_REFUSALS, 5);
        for who in ["noisy", "ci", "noisy"] {
            write(&side, who).await;
        }
        let scan = store.snapshot();
        let left = scan.scan(&AUDIT_REFUSALS, Partition::DIRECTORY, Scan::all());
        let left = left.unwrap().into_iter();
        let whose: Vec<_> = left.map(|(_, row)| row.entry.principal).collect();
        assert_eq!(whose, ["owner", "noisy", "noisy", "ci", "noisy"]);
    }

    #[test]
    fn refusals_are_counted_for_each_principal_and_minute() {
        let mut often = Often::default();
        let now = Timestamp::EPOCH;
        assert_eq!((often.count("a", now), often.count("a", now)), (1, 2));
        assert_eq!(often.count("b", now), 1);
        let next = now + std::time::Duration::from_secs(60);
        assert_eq!(often.count("a", next), 1);
    }
}
