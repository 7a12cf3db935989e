//! Taking a source away, with everything that hangs on it.
//!
//! Promise: a source, its topic and its event subscriptions go in one transaction; what had matched before is no longer
//! delivered. The roles assigned there go first.
//! Not here: who asks for it (`entrances`, `domain_topics`, `system_topics`, and `comms` when a communication resource is
//! deleted).

use std::sync::Arc;

use gridpost_model::ResourceId;
use gridpost_model::subscription::EventSubscription;
use gridpost_store::{Partition, StoreError, Txn};
use imbl::OrdMap;

use crate::manage::ManageError;
use crate::registry::{DOMAIN_TOPICS, DOMAINS, SUBSCRIPTIONS, SYSTEM_TOPICS, State, TOPICS};
use crate::system_topics::SystemTopic;
use crate::{Grid, Inner, notice, roles};

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

/// Rows removed in one transaction, or as many as one source has; a domain may have a hundred thousand topics.
const ROWS_AT_ONCE: usize = 1_000;

/// Deletes a source and all that hangs on it, its system topic too. Only inside a change. The topics of a domain go before
/// it, a number at a time: whoever finds the domain after a crash can delete it again.
pub(crate) async fn take_away(inner: &Arc<Inner>, source: &ResourceId) -> Result<(), StoreError> {
    let state = inner.registry.read();
    let stands_for_it = state
        .system_topic_of(source)
        .map(|topic| topic.id.to_string());
    let mut scopes = vec![source.to_string()];
    scopes.extend(stands_for_it);
    roles::forget_at(inner, &scopes).await?;
    if let Some(domain) = state.domains.get(source) {
        let (mut some, mut rows) = (Vec::new(), 0);
        for topic in domain.topics.values() {
            rows += 1 + state.subscriptions_of(&topic.id).len();
            some.push(topic.id.clone());
            if ROWS_AT_ONCE <= rows {
                take_some_away(inner, &std::mem::take(&mut some)).await?;
                rows = 0;
            }
        }
        take_some_away(inner, &some).await?;
    }
    take_some_away(inner, std::slice::from_ref(source)).await
}

/// Deletes a system topic and the event subscriptions of its source, which stays. Only inside a change.
pub(crate) async fn take_system_topic_away(
    inner: &Arc<Inner>,
    topic: &SystemTopic,
) -> Result<(), StoreError> {
    let on_source = format!("{}/{}", topic.source, roles::EXTENSIONS);
    roles::forget_at(inner, &[topic.id.to_string(), on_source]).await?;
    take_some_away(inner, std::slice::from_ref(&topic.source)).await
}

/// Deletes sources of one partition in one transaction.
async fn take_some_away(inner: &Arc<Inner>, sources: &[ResourceId]) -> Result<(), StoreError> {
    let Some(first) = sources.first() else {
        return Ok(());
    };
    let state = inner.registry.read();
    let gone: Vec<Gone> = sources
        .iter()
        .map(|source| Gone::of(&state, source))
        .collect();
    let subscriptions: Vec<_> = gone
        .iter()
        .flat_map(|one| one.subscriptions.values().cloned())
        .collect();
    let system_topics: Vec<_> = gone
        .iter()
        .filter_map(|one| one.system_topic.clone())
        .collect();
    inner
        .commit(Partition::of(first), move |txn| {
            gone.iter().try_for_each(|one| one.remove(txn))
        })
        .await?;

    inner.registry.update(|state| {
        for source in sources {
            state.remove_source(source);
        }
        for id in &system_topics {
            state.system_topics.remove(id);
        }
    });
    for one in &subscriptions {
        inner.close_lane(one.lane);
        notice::send(inner, one);
    }
    for source in sources {
        inner.delivery.topics().forget(source);
    }
    Ok(())
}

/// The rows that go with a source.
struct Gone {
    source: ResourceId,
    /// By folded name.
    subscriptions: OrdMap<String, Arc<EventSubscription>>,
    system_topic: Option<ResourceId>,
}

impl Gone {
    fn of(state: &State, source: &ResourceId) -> Self {
        let system_topic = state.system_topic_of(source);
        Self {
            source: source.clone(),
            subscriptions: state.subscriptions_of(source),
            system_topic: system_topic.map(|topic| topic.id.clone()),
        }
    }

    /// A source is a row of one table at most; removing what is not there is nothing.
    fn remove(&self, txn: &mut Txn<'_>) -> Result<(), StoreError> {
        let source = self.source.key();
        for name in self.subscriptions.keys() {
            txn.remove(&SUBSCRIPTIONS, (source, name.as_str()))?;
        }
        if let Some(id) = &self.system_topic {
            return txn.remove(&SYSTEM_TOPICS, id.key());
        }
        txn.remove(&TOPICS, source)?;
        txn.remove(&DOMAINS, source)?;
        txn.remove(&DOMAIN_TOPICS, source)
    }
}
