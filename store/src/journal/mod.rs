//! The journal: the one thing that is made durable before anybody is answered.
//!
//! Promise: batches are kept in the order they were appended, and one that was only half written is as if it never
//! was. Nothing above this trait knows where the journal lies.
//! Not here: what batches mean (`crate::writer`), when they are made (`crate::writer`).

mod entries;
pub(crate) mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub(crate) mod local;
pub(crate) mod recover;
pub(crate) mod segment;
pub(crate) mod spares;

use std::ops::ControlFlow;
use std::sync::Arc;

use gridpost_model::Timestamp;

use crate::{Position, ReadError, StoreError};
use frame::{Builder, Frame};

/// The writing side; owned by the writer.
pub(crate) trait Journal: Send + 'static {
    /// Adds a batch behind the last one. With `Durability::Synced` it returns once the batch survives a crash, and
    /// all batches before it. After an error the batch is not in the journal, and the next one may be tried.
    fn append(
        &mut self,
        batch: &mut Builder,
        durability: Durability,
        now: Timestamp,
    ) -> Result<Span, StoreError>;

    /// Shows readers everything up to the last batch.
    fn reveal(&mut self);

    /// Makes every batch durable.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Gives back the space of what lies before `before`; it may keep some of it.
    fn trim(&mut self, before: Position);

    fn reader(&self) -> Arc<dyn JournalReader>;
}

/// When an append returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The batch survives the end of the process.
    Written,
    /// The batch survives the end of the machine.
    Synced,
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Position,
    pub(crate) end: Position,
}

/// The reading side; shared, never waits for the writer.
pub(crate) trait JournalReader: Send + Sync + 'static {
    /// Visits the batches that hold or follow `from`, up to what was revealed, until the visitor breaks. Returns the
    /// position behind the last batch it visited.
    fn read(
        &self,
        from: Position,
        visit: &mut dyn FnMut(&Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Position, ReadError>;

    /// Behind the last revealed batch.
    fn tail(&self) -> Position;

    /// The first position that is kept.
    fn oldest(&self) -> Position;

    /// What is kept, oldest first; the last one is still written.
    fn pieces(&self) -> Vec<Piece>;

    fn figures(&self) -> Figures;
}

/// A stretch of the journal that goes as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its first position.
    pub start: Position,
    /// The first position behind it.
    pub end: Position,
    /// When it was begun.
    pub created: Timestamp,
}

impl Piece {
    pub(crate) fn size_bytes(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
}

/// What was done since opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) syncs: u64,
    pub(crate) written_bytes: u64,
    pub(crate) batches: u64,
}
