//! Transactions: what one closure reads and changes, and the batch they are collected in.
//!
//! Promise: a transaction sees its own changes and those before it in the batch; an error leaves no trace of it.
//! Not here: making the batch durable (`writer`).

use std::sync::Arc;

use gridpost_model::subscription::LaneId;
use gridpost_model::{Event, EventSchema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use crate::journal::frame::{Builder, Mark};
use crate::rows::{Layers, Row, RowKey, SPACE_BYTES, Space};
use crate::{Appended, Key, Keyed, Partition, Position, Scan, StoreError, Table, WriteError};

/// One transaction's record is at most this large; it must fit a segment several times over.
const MAX_TXN_BYTES: usize = 8 << 20;
/// One transaction's events have at most so many lanes together, which are 32 MiB while it is under way. A batch of 5,000
/// events for 500 subscriptions, the most that the service documents, has 2,500,000.
const MAX_TXN_LANES: usize = 4 << 20;
/// Changed rows that checkpoints have not taken yet, at most. Reached only when the tables cannot be written.
const MAX_ROW_BYTES: usize = 256 << 20;

/// The changes of one write, over one partition. Sees its own changes.
#[derive(Debug)]
pub struct Txn<'a> {
    partition: Partition,
    workspace: &'a mut Workspace,
    /// Whether the record says already which partition its rows are of.
    named: bool,
    /// The size of the batch before it.
    began_at: usize,
}

impl Txn<'_> {
    /// How much of a record its changes and events take so far, in bytes. At most 8 MiB are kept at once.
    pub fn size_bytes(&self) -> usize {
        self.workspace.frame.size() - self.began_at
    }

    /// The partition it reads and changes.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// One row.
    ///
    /// # Errors
    /// The tables cannot be read, or the row is not a `V`.
    pub fn get<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        key: impl Key,
    ) -> Result<Option<V>, StoreError> {
        self.workspace.layers.get(table, self.partition, &key)
    }

    /// Rows in the order of their keys, each with its key.
    ///
    /// # Errors
    /// The tables cannot be read, or a row is not a `V`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a scan is built where it is used"
    )]
    pub fn scan<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        scan: Scan,
    ) -> Result<Vec<Keyed<V>>, StoreError> {
        self.workspace.layers.scan(table, self.partition, &scan)
    }

    /// Writes a row, new or over the old one.
    ///
    /// # Errors
    /// The value cannot be written as JSON, the key cannot be stored, or the tables wait for space.
    pub fn put<V: Serialize>(
        &mut self,
        table: &Table<V>,
        key: impl Key,
        row: &V,
    ) -> Result<(), StoreError> {
        let row = serde_json::to_vec(row).map_err(|e| StoreError::Codec {
            what: table.name(),
            why: e.to_string().into(),
        })?;
        let key = Space {
            table: table.id(),
            partition: self.partition,
        }
        .key(&key)?;
        if MAX_ROW_BYTES < self.workspace.row_bytes {
            return Err(StoreError::NoSpace);
        }
        self.name_partition();
        self.workspace
            .frame
            .put(table.id(), &key[SPACE_BYTES..], &row);
        self.workspace.change(key.into(), Some(row.into()));
        Ok(())
    }

    /// Removes a row; nothing happens when there is none.
    ///
    /// # Errors
    /// The key cannot be stored.
    pub fn remove<V>(&mut self, table: &Table<V>, key: impl Key) -> Result<(), StoreError> {
        let key = Space {
            table: table.id(),
            partition: self.partition,
        }
        .key(&key)?;
        self.name_partition();
        self.workspace.frame.remove(table.id(), &key[SPACE_BYTES..]);
        self.workspace.change(key.into(), None);
        Ok(())
    }

    /// Appends an event for the lanes that matched it.
    pub fn append(&mut self, event: Arc<Event>, lanes: &[LaneId]) {
        let frame = &mut self.workspace.frame;
        // The object of a CloudEvent is its publisher's to the letter, and its source any text.
        let topic = (event.schema == EventSchema::CloudEvents).then_some(&*event.topic);
        let behind_start = frame.event_of(
            topic,
            event.schema,
            event.published,
            event.trace,
            lanes,
            &event.json,
        );
        self.workspace.events.push(Appended {
            // Relative to the batch until the batch has an address.
            position: Position(behind_start),
            next: Position::START,
            lanes: SmallVec::from_slice(lanes),
            event,
        });
    }

    /// Says in the same transaction that a lane is done with an event.
    pub fn settle(&mut self, lane: LaneId, position: Position) {
        self.workspace
            .frame
            .settled(lane, std::iter::once(position));
    }

    fn name_partition(&mut self) {
        if !self.named {
            self.workspace.frame.partition(self.partition);
            self.named = true;
        }
    }
}

/// The batch being collected, and the tables as they are after it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) frame: Builder,
    pub(crate) events: Vec<Appended>,
    pub(crate) layers: Layers,
    /// Whether the batch changed rows.
    pub(crate) rows_changed: bool,
    /// Bytes of rows changed since the last checkpoint began.
    pub(crate) row_bytes: usize,
    /// How to take the current transaction's changes back, newest last.
    undo: Vec<(RowKey, Option<Row>)>,
}

impl Workspace {
    /// An empty batch over tables as they were recovered.
    pub(crate) fn recovered(layers: Layers, row_bytes: usize) -> Self {
        Self {
            frame: Builder::new(),
            events: Vec::new(),
            layers,
            rows_changed: false,
            row_bytes,
            undo: Vec::new(),
        }
    }

    /// Runs one transaction. Unless it agrees, everything is as before.
    pub(crate) fn attempt<T, E>(
        &mut self,
        partition: Partition,
        change: impl FnOnce(&mut Txn<'_>) -> Result<T, WriteError<E>>,
    ) -> Result<T, WriteError<E>> {
        let before = (self.frame.mark(), self.events.len(), self.row_bytes);
        let size_before = self.frame.size();
        self.undo.clear();
        let mut txn = Txn {
            partition,
            workspace: self,
            named: false,
            began_at: size_before,
        };
        let done = change(&mut txn);
        let size_bytes = self.frame.size() - size_before;
        let events = &self.events[before.1..];
        let lanes: usize = events.iter().map(|event| event.lanes.len()).sum();
        let too_large = |size_bytes, limit_bytes| {
            Err(WriteError::NotStored(StoreError::TooLarge {
                size_bytes,
                limit_bytes,
            }))
        };
        let done = match done {
            Ok(_) if MAX_TXN_BYTES < size_bytes => too_large(size_bytes, MAX_TXN_BYTES),
            Ok(_) if MAX_TXN_LANES < lanes => {
                const BYTES: usize = size_of::<LaneId>();
                too_large(lanes * BYTES, MAX_TXN_LANES * BYTES)
            }
            done => done,
        };
        match done {
            Ok(_) => self.rows_changed |= !self.undo.is_empty(),
            Err(_) => self.take_back(before),
        }
        done
    }

    fn take_back(&mut self, (mark, events, row_bytes): (Mark, usize, usize)) {
        self.frame.rewind(mark);
        self.events.truncate(events);
        self.row_bytes = row_bytes;
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(row) => drop(self.layers.active.insert(key, row)),
                None => drop(self.layers.active.remove(&key)),
            }
        }
    }

    fn change(&mut self, key: RowKey, row: Row) {
        // The key's and the row's own headers and their place in the map count too.
        const OVERHEAD_BYTES: usize = 96;
        self.row_bytes += OVERHEAD_BYTES + key.len() + row.as_ref().map_or(0, |row| row.len());
        let before = self.layers.active.insert(Arc::clone(&key), row);
        self.undo.push((key, before));
    }

    /// Forgets the batch's record; its rows stay.
    pub(crate) fn clear(&mut self) {
        self.frame.clear();
        self.events.clear();
        self.rows_changed = false;
    }
}
