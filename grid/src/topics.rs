//! Custom topics: what users publish to.
//!
//! Promise: a topic's name is unique whatever its resource group, because publishers find it by name; its keys stay
//! when it is put again.
//! Not here: accepting events (`publish`), the endpoint's address (`api`).

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_model::{ResourceId, Timestamp, WhichKey};
use gridpost_store::Partition;
use serde::{Deserialize, Serialize};

use crate::directory::same_location;
use crate::intake::{self, Ingress, IngressPatch, IngressSpec, IntakeKind};
use crate::manage::{Created, Invalid, ManageError};
use crate::registry::{State, TOPICS};
use crate::scope::Scope;
use crate::{Grid, Inner, sources};

/// A custom topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its resource id.
    pub id: ResourceId,
    /// `location`.
    pub location: String,
    /// `tags`.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What publishers meet.
    #[serde(flatten)]
    pub ingress: Ingress,
    /// `metricResourceId`; topics of early versions have none.
    #[serde(default)]
    pub metric_id: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// What a put says of a topic.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// `location`.
    pub location: String,
    /// `tags`.
    pub tags: BTreeMap<String, String>,
    /// What publishers are to meet.
    pub ingress: IngressSpec,
}

/// What a patch says of a topic; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct TopicPatch {
    /// `tags`, all of them.
    pub tags: Option<BTreeMap<String, String>>,
    /// What publishers meet.
    pub ingress: IngressPatch,
}

impl Grid {
    /// Creates a topic with fresh keys, or changes the one that is there.
    ///
    /// # Errors
    /// The name or schema is not allowed, the name is taken in another resource group, or it was not stored.
    pub async fn put_topic(
        &self,
        id: ResourceId,
        spec: TopicSpec,
    ) -> Result<(Arc<Topic>, Created), ManageError> {
        intake::check_name(IntakeKind::Topic, id.name())?;
        spec.ingress.check()?;
        self.0
            .change(move |inner| async move {
                let (topic, created) = inner.placed(id, spec)?;
                Ok((inner.keep_topic(topic).await?, created))
            })
            .await
    }

    /// Changes what the patch names.
    ///
    /// # Errors
    /// There is no such topic, or it was not stored.
    pub async fn patch_topic(
        &self,
        id: &ResourceId,
        patch: TopicPatch,
    ) -> Result<Arc<Topic>, ManageError> {
        self.change_topic(id, move |topic, _| {
            if let Some(tags) = patch.tags {
                topic.tags = tags;
            }
            patch.ingress.apply(&mut topic.ingress)
        })
        .await
    }

    /// Replaces one of the keys by a fresh one.
    ///
    /// # Errors
    /// There is no such topic, or it was not stored.
    pub async fn regenerate_topic_key(
        &self,
        id: &ResourceId,
        which: WhichKey,
    ) -> Result<Arc<Topic>, ManageError> {
        self.change_topic(id, move |topic, inner| {
            let chance = inner.settings.chance.as_ref();
            topic.ingress.keys.regenerate(which, chance);
            Ok(())
        })
        .await
    }

    async fn change_topic(
        &self,
        id: &ResourceId,
        change: impl FnOnce(&mut Topic, &Inner) -> Result<(), Invalid> + Send + 'static,
    ) -> Result<Arc<Topic>, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let known = inner.registry.read().topics.get(&id).cloned();
                let known = known.ok_or(ManageError::NotFound(id))?;
                let mut topic = Topic::clone(&known);
                change(&mut topic, &inner)?;
                topic.updated = inner.settings.clock.now();
                inner.keep_topic(topic).await
            })
            .await
    }

    /// One topic.
    pub fn topic(&self, id: &ResourceId) -> Option<Arc<Topic>> {
        self.0.registry.read().topics.get(id).cloned()
    }

    /// One topic by its name, in any case.
    ///
    /// # Errors
    /// No topic has that name.
    pub fn topic_named(&self, name: &str) -> Result<Arc<Topic>, UnknownTopic> {
        let state = self.0.registry.read();
        let intake = state.intakes.named(IntakeKind::Topic, name);
        let topic = intake.and_then(|intake| state.topics.get(&intake.id));
        topic.cloned().ok_or_else(|| UnknownTopic(name.to_owned()))
    }

    /// The topics of a scope, by resource id.
    pub fn topics(&self, scope: &Scope) -> Vec<Arc<Topic>> {
        let state = self.0.registry.read();
        state
            .topics
            .values()
            .filter(|topic| scope.holds(&topic.id))
            .cloned()
            .collect()
    }

    /// Deletes a topic with its event subscriptions. False when there was none.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn delete_topic(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let Some(topic) = inner.registry.read().topics.get(&id).cloned() else {
                    return Ok(false);
                };
                sources::take_away(&inner, &topic.id).await?;
                Ok(true)
            })
            .await
    }
}

/// No topic has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no topic named {0:?}")]
pub struct UnknownTopic(pub String);

impl Inner {
    /// The topic as the put wants it, beside what is there.
    fn placed(&self, id: ResourceId, spec: TopicSpec) -> Result<(Topic, Created), ManageError> {
        let (now, chance) = (self.settings.clock.now(), self.settings.chance.as_ref());
        let known = known_as(&self.registry.read(), &id)?;
        let TopicSpec {
            location,
            tags,
            ingress,
        } = spec;
        if let Some(known) = &known {
            keep_location(&known.id, &known.location, &location)?;
        }
        let topic = Topic {
            ingress: ingress.beside(known.as_ref().map(|known| &known.ingress), chance)?,
            metric_id: known
                .as_ref()
                .and_then(|known| known.metric_id.clone())
                .or_else(|| Some(chance.uuid())),
            created: known.as_ref().map_or(now, |known| known.created),
            id: known.as_ref().map_or(id, |known| known.id.clone()),
            location,
            tags,
            updated: now,
        };
        let created = known.map_or(Created::New, |_| Created::Updated);
        Ok((topic, created))
    }

    async fn keep_topic(&self, topic: Topic) -> Result<Arc<Topic>, ManageError> {
        let topic = Arc::new(topic);
        let row = Arc::clone(&topic);
        self.commit(Partition::of(&topic.id), move |txn| {
            txn.put(&TOPICS, row.id.key(), &*row)
        })
        .await?;
        self.registry.update(|state| state.insert_topic(&topic));
        Ok(topic)
    }
}

/// Resources do not move.
pub(crate) fn keep_location(
    id: &ResourceId,
    before: &str,
    wanted: &str,
) -> Result<(), ManageError> {
    if same_location(before, wanted) {
        return Ok(());
    }
    Err(ManageError::Conflict(format!(
        "The resource '{}' already exists in location '{before}'; its location cannot be changed to '{wanted}'.",
        id.name(),
    )))
}

/// The topic of that id. Another topic of the same name is a conflict.
fn known_as(state: &State, id: &ResourceId) -> Result<Option<Arc<Topic>>, ManageError> {
    match state.intakes.named(IntakeKind::Topic, id.name()) {
        None => Ok(None),
        Some(intake) if intake.id == *id => Ok(state.topics.get(id).cloned()),
        Some(_) => Err(ManageError::Conflict(
            "Topic with the specified name already exists. Choose a different topic name.".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::mapping::InputSchema;

    use super::*;
    use crate::access::Access;

    #[test]
    fn a_topic_of_an_earlier_version_is_read() {
        let row = r#"{"id":"/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/t","location":"local",
            "input_schema":"EventGrid","keys":{"first":"a","second":"b"},"created":"2026-11-22T00:00:00Z",
            "updated":"2026-11-22T00:00:00Z"}"#;
        let topic: Topic = serde_json::from_str(row).unwrap();
        assert_eq!(topic.ingress.input, InputSchema::EventGrid);
        assert_eq!(topic.ingress.access, Access::default());
        let again: Topic = serde_json::from_slice(&serde_json::to_vec(&topic).unwrap()).unwrap();
        assert_eq!(again, topic);
    }
}
