//! Accepting events.
//!
//! Promise: `publish` returns once the whole batch survives a crash, or fails having kept none of it; `stage` puts an
//! event into somebody else's transaction, so that a change and the events it causes are kept together or not at all.
//! Not here: who wants an event (`matching`), how it reaches them (`lane`).

use std::sync::Arc;

use gridpost_model::subscription::LaneId;
use gridpost_model::{Event, ResourceId};
use gridpost_store::{Partition, StoreError, Txn};
use smallvec::SmallVec;

use crate::Grid;
use crate::topics::Topic;

/// A batch was not accepted; nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store did not take it.
    #[error("the batch was not stored")]
    NotStored(#[from] StoreError),
}

impl Grid {
    /// Accepts a batch. Once this returns `Ok`, the events survive a crash and their lanes have been told.
    ///
    /// # Errors
    /// The store did not take the batch.
    pub async fn publish(&self, topic: &Topic, batch: Vec<Event>) -> Result<(), PublishError> {
        let staged: Vec<(Arc<Event>, SmallVec<[LaneId; 4]>)> = batch
            .into_iter()
            .map(|event| {
                let lanes = self.0.registry.matched(&topic.id, &event);
                (Arc::new(event), lanes)
            })
            .collect();
        self.0
            .store
            .write(Partition::of(&topic.id), move |txn| {
                for (event, lanes) in staged {
                    txn.append(event, &lanes);
                }
                Ok::<_, StoreError>(())
            })
            .await
            .map_err(gridpost_store::WriteError::into_inner)?;
        Ok(())
    }

    /// Adds an event to a transaction of the source's partition, and returns how many lanes want it.
    pub fn stage(&self, txn: &mut Txn<'_>, source: &ResourceId, event: Event) -> usize {
        let lanes = self.0.registry.matched(source, &event);
        txn.append(Arc::new(event), &lanes);
        lanes.len()
    }
}
