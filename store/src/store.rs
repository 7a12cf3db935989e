//! The calls: open, write, read, follow, close.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use gridpost_model::subscription::LaneId;
use serde::de::DeserializeOwned;

use crate::{
    Appended, Follower, Key, OpenError, Options, Partition, Position, ReadError, Recovery,
    Replayed, Scan, StoreError, Table, Txn, WriteError,
};

/// Durable state. Cheap to clone; all clones are one store.
#[derive(Clone, Debug)]
pub struct Store {}

impl Store {
    /// Opens the folder, or makes a new store in it. Blocks: replays the journal from the last checkpoint.
    ///
    /// # Errors
    /// The folder is in use, damaged, or from a newer version.
    pub fn open(_options: Options) -> Result<(Self, Recovery), OpenError> {
        Ok((Self {}, Recovery::default()))
    }

    /// Shows events and settlements from the checkpoint to where the journal ended at opening, in order.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn replay(&self, _visit: &mut dyn FnMut(Replayed)) -> Result<(), ReadError> {
        Ok(())
    }

    /// Names the one who is told of events: once, before the first write that appends one. The store keeps it until
    /// it is closed, so a follower that owns the store must let `close` break the circle.
    pub fn follow(&self, _follower: Arc<dyn Follower>) {}

    /// Runs `change` on the partition's single writer and answers once its changes survive a crash.
    ///
    /// # Errors
    /// The closure refused, or its changes were not stored. Either way nothing of it remains.
    pub async fn write<T, E, F>(
        &self,
        _partition: Partition,
        _change: F,
    ) -> Result<Committed<T>, WriteError<E>>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        Err(WriteError::NotStored(StoreError::Closed))
    }

    /// As `write`, but never forces a sync: answered once the record is in the file (it survives the end of the
    /// process), within 10 ms, and made durable by the next sync.
    ///
    /// # Errors
    /// As `write`.
    pub async fn write_soon<T, E, F>(
        &self,
        _partition: Partition,
        _change: F,
    ) -> Result<Committed<T>, WriteError<E>>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        Err(WriteError::NotStored(StoreError::Closed))
    }

    /// Notes that a lane is done with an event. Buffered; in the journal within 10 ms; never forces a sync. Lost in a
    /// crash it costs one repeated delivery.
    pub fn settle(&self, _lane: LaneId, _position: Position) {}

    /// A consistent view of all tables as of now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {}
    }

    /// Reads events in journal order, keeping those whose lanes are wanted. A position below the oldest kept segment
    /// starts at the oldest.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn read_events(
        &self,
        _from: Position,
        _limit: ReadLimit,
        _want: &mut dyn FnMut(&[LaneId]) -> bool,
    ) -> Result<ReadBatch, ReadError> {
        Ok(ReadBatch { events: Vec::new(), next: Position::START, at_tail: true })
    }

    /// The first position that nothing was written to yet.
    pub fn tail(&self) -> Position {
        Position::START
    }

    /// The start of the oldest segment that is kept.
    pub fn oldest(&self) -> Position {
        Position::START
    }

    /// How the store is doing.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Writes buffered settlements, makes a checkpoint and stops the writer. Later writes answer `Closed`.
    pub async fn close(&self) {}
}

/// Proof that what `T` tells of is stored: only the store makes one.
#[derive(Debug)]
pub struct Committed<T>(T);

impl<T> Committed<T> {
    /// What the closure returned.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Committed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// All tables as of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {}

impl Snapshot {
    /// One row.
    ///
    /// # Errors
    /// The tables cannot be read, or the row is not a `V`.
    pub fn get<V: DeserializeOwned>(
        &self,
        _table: &Table<V>,
        _partition: Partition,
        _key: impl Key,
    ) -> Result<Option<V>, StoreError> {
        Ok(None)
    }

    /// Rows of one partition in the order of their keys, each with its key.
    ///
    /// # Errors
    /// The tables cannot be read, or a row is not a `V`.
    pub fn scan<V: DeserializeOwned>(
        &self,
        _table: &Table<V>,
        _partition: Partition,
        _scan: Scan,
    ) -> Result<Vec<(Box<[u8]>, V)>, StoreError> {
        Ok(Vec::new())
    }

    /// Rows of all partitions, partition by partition.
    ///
    /// # Errors
    /// The tables cannot be read, or a row is not a `V`.
    pub fn scan_all<V: DeserializeOwned>(
        &self,
        _table: &Table<V>,
        _scan: Scan,
    ) -> Result<Vec<(Partition, Box<[u8]>, V)>, StoreError> {
        Ok(Vec::new())
    }
}

/// How much one `read_events` may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Events kept.
    pub events: usize,
    /// Bytes of their bodies; the event that crosses it is the last.
    pub kept_bytes: usize,
    /// Bytes of journal looked at.
    pub scanned_bytes: usize,
}

/// What one `read_events` found.
#[derive(Clone, Debug)]
pub struct ReadBatch {
    /// The wanted events.
    pub events: Vec<Appended>,
    /// Where to go on.
    pub next: Position,
    /// Nothing was written behind `next` when it was read.
    pub at_tail: bool,
}

/// How the store is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether it takes writes.
    pub health: Health,
    /// Bytes of journal that are kept.
    pub journal_bytes: u64,
    /// Segments that are kept.
    pub segments: u64,
    /// Syncs of the journal since opening.
    pub syncs: u64,
    /// Bytes written to the journal since opening.
    pub written_bytes: u64,
    /// Batches written since opening.
    pub batches: u64,
    /// How long ago the last checkpoint was made.
    pub checkpoint_age: Duration,
}

/// Whether the store takes writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It does.
    #[default]
    Healthy,
    /// The last batch found the disk full; the next one tries again.
    NoSpace,
    /// The last batch failed otherwise; the next one tries again.
    Failed(Arc<str>),
}
