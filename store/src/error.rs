//! What can go wrong, and what the caller can do about it.

use std::path::PathBuf;
use std::sync::Arc;

use gridpost_model::event::NotAnEvent;

use crate::{BadKey, Position};

/// Why a change was not kept or a row not read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. Nothing was kept; try again once there is space, the store resumes by itself.
    #[error("no space is left on the disk")]
    NoSpace,
    /// Too many writes are waiting. Nothing was kept; try again in a moment.
    #[error("too many writes are waiting")]
    Busy,
    /// One transaction is larger than a journal record may be, or its events are for more lanes than one can be.
    /// Trying again does not help.
    #[error("the transaction has {size_bytes} bytes; at most {limit_bytes} are kept at once")]
    TooLarge {
        /// What was asked for.
        size_bytes: usize,
        /// What is possible.
        limit_bytes: usize,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The disk refused; whether the change is on it is unknown, and it is not in any table.
    #[error("the store failed: {0}")]
    Failed(Arc<str>),
    /// A value cannot be written as, or read back from, its stored form.
    #[error("{what} cannot be stored or read back: {why}")]
    Codec {
        /// The table or record.
        what: &'static str,
        /// What the reader or writer said.
        why: Arc<str>,
    },
    /// A key cannot be stored.
    #[error(transparent)]
    Key(#[from] BadKey),
}

/// An event whose payload cannot be written as JSON was not stored either.
impl From<NotAnEvent> for StoreError {
    fn from(error: NotAnEvent) -> Self {
        Self::Codec {
            what: "an event",
            why: error.to_string().into(),
        }
    }
}

/// Why a write did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The closure said no.
    #[error("{0}")]
    Refused(E),
    /// The closure agreed, but its changes were not stored.
    #[error("the change was not stored: {0}")]
    NotStored(StoreError),
}

impl<E: From<StoreError>> WriteError<E> {
    /// One error type out of two.
    pub fn into_inner(self) -> E {
        match self {
            Self::Refused(error) => error,
            Self::NotStored(error) => error.into(),
        }
    }
}

/// Why events could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// What is on the disk is not what was written.
    #[error("the journal is damaged at {at:?}: {what}")]
    Damaged {
        /// Where.
        at: Position,
        /// What was found there.
        what: Arc<str>,
    },
    /// The disk refused.
    #[error("the journal cannot be read: {0}")]
    Failed(Arc<str>),
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// A newer Gridpost wrote it.
    #[error(
        "{file} has format version {found}; this version of Gridpost reads up to {supported}. \
         Start the newer version that wrote it, or restore a backup made before the upgrade"
    )]
    NewerFormat {
        /// Which file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// What this program reads.
        supported: u32,
    },
    /// Data that was synced is not readable any more. Opening would lose it, so the operator decides.
    #[error(
        "the journal is damaged at {at:?} ({what}), and records that were acknowledged lie behind it. \
         Restore a backup, or open with accept_damage to continue without what cannot be read"
    )]
    Damaged {
        /// Where the damage begins.
        at: Position,
        /// What was found there and what follows it.
        what: String,
    },
    /// The file system refused.
    #[error("{doing} {file}")]
    File {
        /// What we were doing.
        doing: &'static str,
        /// To which file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The table engine refused.
    #[error("the tables cannot be opened: {0}")]
    Tables(String),
}
