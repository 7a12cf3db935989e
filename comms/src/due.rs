//! Work that is due at a moment, as rows.
//!
//! Promise: whoever writes such a row wakes the agenda for it, and rows are read in the order of their moments.
//! Not here: what the work is and who does it (`sms::due`, `chat::due`), when to look (`agenda`).

use gridpost_model::Timestamp;
use gridpost_store::{Partition, Scan, Snapshot, StoreError, Table, Txn};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::agenda::Wake;

/// Work and its moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Due<W> {
    pub(crate) at: Timestamp,
    pub(crate) work: W,
}

/// What is to be done.
pub(crate) trait Work: Serialize + DeserializeOwned + 'static {
    /// Where it waits.
    const TABLE: Table<Due<Self>>;

    /// What tells it apart from other work of the same moment.
    fn name(&self) -> String;
}

impl<W: Work> Due<W> {
    pub(crate) fn put(&self, txn: &mut Txn<'_>, wake: &mut Wake) -> Result<(), StoreError> {
        wake.at(self.at);
        txn.put(&W::TABLE, self.key(), self)
    }

    pub(crate) fn remove(&self, txn: &mut Txn<'_>) -> Result<(), StoreError> {
        txn.remove(&W::TABLE, self.key())
    }

    /// Takes the row, unless another transaction has made the work pointless since the row was read.
    pub(crate) fn take(&self, txn: &mut Txn<'_>) -> Result<bool, StoreError> {
        let is_there = txn.get(&W::TABLE, self.key())?.is_some();
        if is_there {
            self.remove(txn)?;
        }
        Ok(is_there)
    }

    /// The work of a partition that is due, at most so much, and the moment of what comes after it.
    pub(crate) fn ready(
        snapshot: &Snapshot,
        partition: Partition,
        now: Timestamp,
        most: usize,
    ) -> Result<(Vec<Self>, Option<Timestamp>), StoreError> {
        // Read one more than is done, so that what remains names its moment.
        let rows = snapshot.scan(&W::TABLE, partition, Scan::all().limit(most + 1))?;
        let mut rows: Vec<Self> = rows.into_iter().map(|(_, due)| due).collect();
        let is_ready = |due: &&Self| due.at <= now;
        let ready = rows.iter().take(most).take_while(is_ready).count();
        let next = rows.get(ready).map(|due| due.at);
        rows.truncate(ready);
        Ok((rows, next))
    }

    fn key(&self) -> (Timestamp, String) {
        (self.at, self.work.name())
    }
}
