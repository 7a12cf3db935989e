//! Accepting events.
//!
//! Promise: `publish` returns once the whole batch survives a crash, or fails having kept none of it; `stage` puts an
//! event into somebody else's transaction, so that a change and the events it causes are kept together or not at all.
//! Not here: who wants an event (`matching`), how it reaches them (`lane`).

use std::sync::Arc;

use gridpost_model::subscription::LaneId;
use gridpost_model::{Event, ResourceId};
use gridpost_store::{StoreError, Txn};
use smallvec::SmallVec;

use crate::Grid;
use crate::intake::{Intake, IntakeKind};

/// A batch was not accepted; nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The events, with the event subscriptions that want them, are more than is kept at once. It will be so next time.
    #[error("the batch is too large")]
    TooLarge(#[source] StoreError),
    /// The store did not take it.
    #[error("the batch was not stored")]
    NotStored(#[source] StoreError),
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge { .. } => Self::TooLarge(error),
            error => Self::NotStored(error),
        }
    }
}

impl Grid {
    /// Accepts a batch. Once this returns `Ok`, the events survive a crash and their lanes have been told.
    ///
    /// # Errors
    /// The store did not take the batch.
    pub async fn publish(&self, intake: &Intake, batch: Vec<Event>) -> Result<(), PublishError> {
        let counts = intake.counts(self.0.delivery.topics());
        let clock = &self.0.settings.clock;
        let (began, size) = (clock.now(), batch.len());
        let staged = self.matched(intake, batch);
        let unmatched = staged.iter().filter(|(_, lanes)| lanes.is_empty()).count();
        let wanted = distinct(&staged);
        let change = move |txn: &mut Txn<'_>| {
            for (event, lanes) in staged {
                txn.append(event, &lanes);
            }
            Ok::<_, StoreError>(())
        };
        match self.0.store.write(intake.partition, change).await {
            Ok(_) => counts.published(size, unmatched, clock.now().since(began)),
            Err(error) => {
                counts.failed(size);
                return Err(error.into_inner().into());
            }
        }
        self.0.delivery.pace(&wanted).await;
        Ok(())
    }

    /// Adds an event to a transaction of the source's partition, and returns how many lanes want it.
    pub fn stage(&self, txn: &mut Txn<'_>, source: &ResourceId, event: Event) -> usize {
        let lanes = self.0.registry.matched(source, &event);
        let unmatched = usize::from(lanes.is_empty());
        self.0.delivery.topics().of(source).staged(1, unmatched);
        txn.append(Arc::new(event), &lanes);
        lanes.len()
    }

    /// Lets the caller wait, for a few milliseconds at most, while healthy lanes of this source have more to send
    /// than they should: for services that stage events faster than destinations can take them.
    pub async fn pace(&self, source: &ResourceId) {
        let lanes = self.0.registry.lanes_of(source);
        self.0.delivery.pace(&lanes).await;
    }

    fn matched(&self, intake: &Intake, batch: Vec<Event>) -> Vec<Staged> {
        let with_lanes = |event| {
            let mut lanes = intake.wanted.matches(&event);
            if intake.kind == IntakeKind::Domain {
                // The domain's own subscriptions hear of all its events, those of the topic of its events too.
                let registry = &self.0.registry;
                lanes.extend(registry.matched_below_domain(&event.topic, &event));
            }
            (Arc::new(event), lanes)
        };
        batch.into_iter().map(with_lanes).collect()
    }
}

/// An event and who wants it.
type Staged = (Arc<Event>, SmallVec<[LaneId; 4]>);

/// The lanes of a batch, each once.
fn distinct(staged: &[Staged]) -> SmallVec<[LaneId; 4]> {
    let mut lanes: SmallVec<[LaneId; 4]> = staged
        .iter()
        .flat_map(|(_, lanes)| lanes.iter().copied())
        .collect();
    lanes.sort_unstable();
    lanes.dedup();
    lanes
}
