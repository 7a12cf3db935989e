//! Durable state: tables, an event log, and transactions over both.
//!
//! Promise: what `Store::write` has answered survives a crash, as a whole; an error from its closure leaves no trace.
//! Readers use snapshots and never wait for the writer.
//! Not here: what any row or event means (`grid`, `comms`), and how anything is sent.
//!
//! Read in this order: `store` (the calls), `txn` (what a change may do), `writer` (the loop that makes it
//! durable), `journal` (the only thing that is synced), `checkpoint` (how tables follow the journal).

mod checkpoint;
mod demand;
mod disk;
mod engine;
mod error;
mod follower;
mod job;
mod journal;
mod key;
mod options;
mod place;
mod queue;
mod read;
mod retention;
mod rows;
pub mod schema;
mod store;
mod table;
mod txn;
mod writer;

pub use error::{OpenError, ReadError, StoreError, WriteError};
pub use follower::{Appended, Follower, Progress, Recovery, Replayed};
pub use journal::Piece;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use journal::fuzzing;
pub use key::{BadKey, Key, Raw};
pub use options::{Fault, Faults, FileKind, Operation, Options};
pub use place::{PARTITIONS, Partition, Position};
pub use read::{ReadBatch, ReadLimit, Snapshot};
pub use store::{Committed, Health, Status, Store};
pub use table::{Keyed, Placed, Scan, Table};
pub use txn::Txn;
