//! What operators and their tools ask: alive, ready, and the numbers.

use std::time::Duration;

use axum::Router;

use crate::Shared;

/// How the store and the process are doing. Implemented by `server`, because nothing here may know the store.
pub trait Watch: Send + Sync + 'static {
    /// The store's condition at this moment.
    fn store(&self) -> StoreStatus;
    /// The process's condition at this moment.
    fn process(&self) -> ProcessStatus;
}

/// The store's condition.
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    /// Why writes are refused just now, in words; `None` when they are not.
    pub trouble: Option<String>,
    /// Bytes of journal on disk.
    pub journal_bytes: u64,
    /// Segments of journal on disk.
    pub segments: u64,
    /// Forced writes since the start.
    pub syncs: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// Group commits since the start.
    pub batches: u64,
    /// Since when changes await a checkpoint.
    pub checkpoint_age: Duration,
}

/// The process's condition.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessStatus {
    /// Memory in use.
    pub resident_bytes: u64,
    /// Processor time used.
    pub cpu: Duration,
    /// Open files and sockets.
    pub open_files: u64,
}

/// `/livez`, `/readyz`, `/metrics`.
pub fn routes() -> Router<Shared> {
    Router::new()
}
