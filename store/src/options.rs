//! How a store is opened, and the hook through which tests make its disk fail.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gridpost_model::Clock;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// The data folder; made when missing.
    pub folder: PathBuf,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// How long settled events are kept readable.
    pub retention: Duration,
    /// How many bytes of settled segments are kept, whatever their age.
    pub retention_bytes: u64,
    /// A checkpoint is made after this much journal.
    pub checkpoint_bytes: u64,
    /// A checkpoint is made after this much changed rows.
    pub checkpoint_row_bytes: usize,
    /// A checkpoint is made this long after the first change it lacks.
    pub checkpoint_after: Duration,
    /// Followers are asked to let go of old events when the journal is larger than this.
    pub relieve_bytes: u64,
    /// Opens a damaged journal and continues without what cannot be read.
    pub accept_damage: bool,
    /// Makes the disk fail, in tests.
    pub faults: Option<Arc<dyn Faults>>,
}

impl Options {
    /// The usual settings.
    pub fn new(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            folder: folder.into(),
            clock,
            retention: Duration::from_hours(24),
            retention_bytes: 1 << 30,
            checkpoint_bytes: 64 << 20,
            checkpoint_row_bytes: 16 << 20,
            checkpoint_after: Duration::from_secs(30),
            relieve_bytes: 4 << 30,
            accept_damage: false,
            faults: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Decides which operations on the disk fail. For tests and the simulator.
pub trait Faults: Send + Sync + 'static {
    /// Asked before each operation that changes the disk; `None` lets it happen.
    fn strike(&self, file: FileKind, operation: Operation) -> Option<Fault>;
}

/// Which kind of file an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A segment of the journal, by number.
    Segment(u64),
    /// The file of the tables.
    Tables,
}

/// What is about to be done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making the file, or giving it its size.
    Create,
    /// Writing this many bytes.
    Write {
        /// How many.
        size_bytes: usize,
    },
    /// Making what was written durable.
    Sync,
}

/// How an operation fails.
#[derive(Debug)]
pub struct Fault {
    /// How many bytes reach the file before the error; meant for writes.
    pub written_bytes: usize,
    /// What the system says.
    pub error: io::Error,
}
