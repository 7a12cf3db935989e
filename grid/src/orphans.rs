//! Waiting rows whose event subscription is gone.
//!
//! A subscription goes in one transaction; its waiting rows, which may be a million, go in many later ones. A crash
//! between them leaves rows that no lane will ever look at.
//!
//! Promise: such rows are removed after the next start. Rows of a lane that exists, or is made later, are not touched.

use std::collections::HashSet;

use gridpost_model::subscription::LaneId;
use gridpost_store::{Partition, Raw, Scan, Store, StoreError, Txn, WriteError};
use tracing::{info, warn};

use crate::Grid;
use crate::waiting::{self, WAITING};

/// Rows removed in one transaction.
const REMOVED_AT_ONCE: usize = 500;

impl Grid {
    /// Starts the removal. Lane numbers are never used twice, so what is an orphan now stays one.
    pub(crate) fn remove_orphans(&self) {
        let inner = &self.0;
        let subscriptions = inner.registry.all_subscriptions();
        let known: HashSet<LaneId> = subscriptions.iter().map(|one| one.lane).collect();
        let (store, snapshot) = (inner.store.clone(), inner.store.snapshot());
        let removal = async move {
            let removed = match waiting::lanes(&snapshot) {
                Ok(lanes) => remove(&store, lanes, &known).await,
                Err(error) => Err(error),
            };
            match removed {
                Ok(0) => (),
                Ok(rows) => info!(rows, "deliveries of deleted subscriptions were dropped"),
                Err(error) => warn!(%error, "deliveries of deleted subscriptions stay stored"),
            }
        };
        (inner.settings.spawn)("grid-orphans", Box::pin(removal));
    }
}

async fn remove(
    store: &Store,
    lanes: Vec<(Partition, LaneId)>,
    known: &HashSet<LaneId>,
) -> Result<usize, StoreError> {
    let mut rows = 0;
    for (partition, lane) in lanes.into_iter().filter(|(_, lane)| !known.contains(lane)) {
        rows += remove_rows(store, partition, lane).await?;
    }
    Ok(rows)
}

/// Removes what waits in a lane that is no more, and counts it.
pub(crate) async fn remove_rows(
    store: &Store,
    partition: Partition,
    lane: LaneId,
) -> Result<usize, StoreError> {
    let mut rows = 0;
    loop {
        let removed = remove_some(store, partition, lane).await?;
        rows += removed;
        if removed < REMOVED_AT_ONCE {
            return Ok(rows);
        }
    }
}

async fn remove_some(
    store: &Store,
    partition: Partition,
    lane: LaneId,
) -> Result<usize, StoreError> {
    let change = move |txn: &mut Txn<'_>| {
        let rows = txn.scan(&WAITING, Scan::prefix(lane).limit(REMOVED_AT_ONCE))?;
        for (key, _) in &rows {
            txn.remove(&WAITING, Raw(key))?;
        }
        Ok::<_, StoreError>(rows.len())
    };
    let removed = store.write_soon(partition, change).await;
    Ok(removed.map_err(WriteError::into_inner)?.into_inner())
}
