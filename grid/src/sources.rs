//! Taking a source away, with everything that hangs on it.
//!
//! Promise: a source, its topic and its event subscriptions go in one transaction; what had matched before is no longer
//! delivered.
//! Not here: who asks for it (`topics`, `system_topics`, and `comms` when a communication resource is deleted).

use std::sync::Arc;

use gridpost_model::ResourceId;
use gridpost_store::{Partition, StoreError};

use crate::intake::IntakeKind;
use crate::manage::ManageError;
use crate::registry::{SUBSCRIPTIONS, SYSTEM_TOPICS, TOPICS};
use crate::{Grid, Inner, notice};

impl Grid {
    /// Forgets a resource that was deleted: its topic or system topic and its event subscriptions.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn remove_source(&self, source: &ResourceId) -> Result<(), ManageError> {
        let source = source.clone();
        self.0
            .change(move |inner| async move { Ok(take_away(&inner, &source).await?) })
            .await
    }
}

/// Deletes all that hangs on a source. Only inside a change.
pub(crate) async fn take_away(inner: &Arc<Inner>, source: &ResourceId) -> Result<(), StoreError> {
    let state = inner.registry.read();
    let subscriptions = state.subscriptions_of(source);
    let topic = state.topics.get(source).map(|topic| topic.id.clone());
    let system_topic = state.system_topic_of(source).map(|topic| topic.id.clone());

    let names: Vec<String> = subscriptions.keys().cloned().collect();
    let rows = (source.clone(), topic.clone(), system_topic.clone());
    inner
        .commit(Partition::of(source), move |txn| {
            let (source, topic, system_topic) = &rows;
            for name in &names {
                txn.remove(&SUBSCRIPTIONS, (source.key(), name.as_str()))?;
            }
            if let Some(id) = topic {
                txn.remove(&TOPICS, id.key())?;
            }
            if let Some(id) = system_topic {
                txn.remove(&SYSTEM_TOPICS, id.key())?;
            }
            Ok(())
        })
        .await?;

    inner.registry.update(|state| {
        state.remove_source(source);
        if let Some(id) = &topic {
            state.topics.remove(id);
            state.intakes.remove(IntakeKind::Topic, id.name());
        }
        if let Some(id) = &system_topic {
            state.system_topics.remove(id);
        }
    });
    for one in subscriptions.values() {
        inner.close_lane(one.lane);
        notice::send(inner, one);
    }
    inner.delivery.topics().forget(source);
    Ok(())
}
