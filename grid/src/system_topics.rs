//! System topics: the names under which the events of other resources are subscribed to.
//!
//! Promise: a source has at most one system topic; one is made when somebody subscribes to a source without.
//! Not here: what the source is, and whether it exists (`api` asks `comms`).

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_model::event_type::COMMUNICATION_TOPIC_TYPE;
use gridpost_model::{Chance, ResourceId, Timestamp};
use gridpost_store::Partition;
use serde::{Deserialize, Serialize};

use crate::manage::{Created, Invalid, ManageError};
use crate::registry::SYSTEM_TOPICS;
use crate::scope::Scope;
use crate::{Grid, Inner, sources};

/// A system topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemTopic {
    /// Its resource id.
    pub id: ResourceId,
    /// `location`: `global` for communication resources.
    pub location: String,
    /// `tags`.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// `source`: the resource whose events these are.
    pub source: ResourceId,
    /// `topicType`.
    pub topic_type: String,
    /// `metricResourceId`.
    pub metric_id: String,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// What a put says of a system topic.
#[derive(Clone, Debug)]
pub struct SystemTopicSpec {
    /// `location`.
    pub location: String,
    /// `tags`.
    pub tags: BTreeMap<String, String>,
    /// `source`.
    pub source: ResourceId,
    /// `topicType`.
    pub topic_type: String,
}

/// The resource type of the sources of [`COMMUNICATION_TOPIC_TYPE`].
pub(crate) const COMMUNICATION_RESOURCE: &str = "Microsoft.Communication/CommunicationServices";

impl Grid {
    /// Creates a system topic, or changes the tags of the one that is there.
    ///
    /// # Errors
    /// A value is not allowed, the source has another system topic, or it was not stored.
    pub async fn put_system_topic(
        &self,
        id: ResourceId,
        spec: SystemTopicSpec,
    ) -> Result<(Arc<SystemTopic>, Created), ManageError> {
        check_name(id.name())?;
        check_source(&spec)?;
        self.0
            .change(move |inner| async move {
                let (topic, created) = inner.placed_system_topic(id, spec)?;
                Ok((inner.keep_system_topic(topic).await?, created))
            })
            .await
    }

    /// Replaces the tags.
    ///
    /// # Errors
    /// There is no such system topic, or it was not stored.
    pub async fn patch_system_topic(
        &self,
        id: &ResourceId,
        tags: Option<BTreeMap<String, String>>,
    ) -> Result<Arc<SystemTopic>, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let known = inner.registry.read().system_topics.get(&id).cloned();
                let known = known.ok_or(ManageError::NotFound(id))?;
                let mut topic = SystemTopic::clone(&known);
                if let Some(tags) = tags {
                    topic.tags = tags;
                }
                topic.updated = inner.settings.clock.now();
                inner.keep_system_topic(topic).await
            })
            .await
    }

    /// One system topic.
    pub fn system_topic(&self, id: &ResourceId) -> Option<Arc<SystemTopic>> {
        self.0.registry.read().system_topics.get(id).cloned()
    }

    /// The system topic of a source.
    pub fn system_topic_of(&self, source: &ResourceId) -> Option<Arc<SystemTopic>> {
        self.0.registry.read().system_topic_of(source).cloned()
    }

    /// The system topics of a scope, by resource id.
    pub fn system_topics(&self, scope: &Scope) -> Vec<Arc<SystemTopic>> {
        let state = self.0.registry.read();
        state
            .system_topics
            .values()
            .filter(|topic| scope.holds(&topic.id))
            .cloned()
            .collect()
    }

    /// Deletes a system topic with its event subscriptions. False when there was none.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn delete_system_topic(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let Some(topic) = inner.registry.read().system_topics.get(&id).cloned() else {
                    return Ok(false);
                };
                sources::take_system_topic_away(&inner, &topic).await?;
                Ok(true)
            })
            .await
    }
}

impl Inner {
    fn placed_system_topic(
        &self,
        id: ResourceId,
        spec: SystemTopicSpec,
    ) -> Result<(SystemTopic, Created), ManageError> {
        let now = self.settings.clock.now();
        let state = self.registry.read();
        if let Some(known) = state.system_topics.get(&id) {
            if known.source != spec.source {
                let message = "The source of a system topic cannot be changed.";
                return Err(Invalid::new("properties.source", message).into());
            }
            let known = SystemTopic::clone(known);
            let topic = SystemTopic {
                tags: spec.tags,
                updated: now,
                ..known
            };
            return Ok((topic, Created::Updated));
        }
        if let Some(other) = state.system_topic_of(&spec.source) {
            return Err(ManageError::Conflict(format!(
                "Only one system topic is allowed per source. The system topic '{}' already exists for the source '{}'.",
                other.id, spec.source,
            )));
        }
        let metric_id = self.settings.chance.uuid();
        let SystemTopicSpec {
            location,
            tags,
            source,
            topic_type: _,
        } = spec;
        let topic_type = COMMUNICATION_TOPIC_TYPE.to_owned();
        let (created, updated) = (now, now);
        let topic = SystemTopic {
            id,
            location,
            tags,
            source,
            topic_type,
            metric_id,
            created,
            updated,
        };
        Ok((topic, Created::New))
    }

    async fn keep_system_topic(&self, topic: SystemTopic) -> Result<Arc<SystemTopic>, ManageError> {
        let topic = Arc::new(topic);
        let row = Arc::clone(&topic);
        self.commit(Partition::of(&topic.source), move |txn| {
            txn.put(&SYSTEM_TOPICS, row.id.key(), &*row)
        })
        .await?;
        self.registry
            .update(|state| state.insert_system_topic(&topic));
        Ok(topic)
    }
}

/// The system topic that subscribing to a source implies: in its resource group, with a name of its own. None when the
/// source is no communication resource.
pub(crate) fn implied(
    source: &ResourceId,
    chance: &dyn Chance,
    now: Timestamp,
) -> Option<SystemTopic> {
    if !source.is_of_type(COMMUNICATION_RESOURCE) {
        return None;
    }
    let name = format!("{}-{}", source.name(), chance.uuid());
    let id = format!(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.EventGrid/systemTopics/{name}",
        source.subscription()?,
        source.resource_group()?,
    );
    Some(SystemTopic {
        id: id.parse().ok()?,
        location: "global".to_owned(),
        tags: BTreeMap::new(),
        source: source.clone(),
        topic_type: COMMUNICATION_TOPIC_TYPE.to_owned(),
        metric_id: chance.uuid(),
        created: now,
        updated: now,
    })
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let well_formed = (3..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if well_formed {
        return Ok(());
    }
    let message = "The system topic name must be 3 to 128 characters long and contain only letters, digits and '-'.";
    Err(Invalid::new("name", message))
}

fn check_source(spec: &SystemTopicSpec) -> Result<(), Invalid> {
    if !spec
        .topic_type
        .eq_ignore_ascii_case(COMMUNICATION_TOPIC_TYPE)
    {
        return Err(Invalid::new(
            "properties.topicType",
            format!(
                "The topic type '{}' is not supported; use '{COMMUNICATION_TOPIC_TYPE}'.",
                spec.topic_type
            ),
        ));
    }
    if !spec.source.is_of_type(COMMUNICATION_RESOURCE) {
        return Err(Invalid::new(
            "properties.source",
            format!(
                "The source '{}' is not of the topic type '{COMMUNICATION_TOPIC_TYPE}'.",
                spec.source
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(source: &str, topic_type: &str) -> SystemTopicSpec {
        SystemTopicSpec {
            location: "global".into(),
            tags: BTreeMap::new(),
            source: source.parse().unwrap(),
            topic_type: topic_type.into(),
        }
    }

    const SOURCE: &str = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Communication/communicationServices/dev";

    #[test]
    fn section_2_10_the_source_has_to_be_of_the_topic_type() {
        let kind = "microsoft.communication.communicationservices";
        assert!(check_source(&spec(SOURCE, kind)).is_ok());
        let topic = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/topics/t";
        assert_eq!(
            check_source(&spec(topic, kind)).unwrap_err().field,
            "properties.source"
        );
        let other = check_source(&spec(SOURCE, "Microsoft.Storage.StorageAccounts")).unwrap_err();
        assert_eq!(other.field, "properties.topicType");
    }

    #[test]
    fn an_implied_system_topic_lies_beside_its_source() {
        let source: ResourceId = SOURCE.parse().unwrap();
        let topic = implied(
            &source,
            &crate::testing::Counting::default(),
            Timestamp::EPOCH,
        )
        .unwrap();
        assert_eq!(topic.id.resource_group(), Some("rg"));
        assert!(topic.id.is_of_type("Microsoft.EventGrid/systemTopics"));
        assert!(check_name(topic.id.name()).is_ok());
        assert_eq!(topic.location, "global");
    }

    #[test]
    fn nothing_but_a_communication_resource_implies_a_system_topic() {
        let chance = crate::testing::Counting::default();
        for id in [
            "/subscriptions/s",
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/systemTopics/x",
        ] {
            assert_eq!(
                implied(&id.parse().unwrap(), &chance, Timestamp::EPOCH),
                None,
                "{id}"
            );
        }
    }
}
