//! The topics of a domain.
//!
//! Promise: a domain topic lies in its domain's partition; it comes with its first event subscription and goes with its
//! last, unless its domain says otherwise.
//! Not here: the domain (`entrances`), how an event finds its topic (`publish`), taking away (`sources`).
//! Source: reference event-grid 2.8.

use std::sync::Arc;

use gridpost_model::subscription::EventSubscription;
use gridpost_model::{ResourceId, Timestamp};
use gridpost_store::Partition;
use serde::{Deserialize, Serialize};

use crate::manage::{Created, Invalid, ManageError};
use crate::registry::{DOMAIN_TOPICS, DomainState, State, folded};
use crate::{Grid, Inner, intake, sources};

/// A topic of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainTopic {
    /// Its resource id: `{domain}/topics/{name}`.
    pub id: ResourceId,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last put.
    pub updated: Timestamp,
}

/// When topics of a domain come and go by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Automation {
    /// `autoCreateTopicWithFirstSubscription`.
    pub create_with_first_subscription: bool,
    /// `autoDeleteTopicWithLastSubscription`.
    pub delete_with_last_subscription: bool,
}

impl Default for Automation {
    fn default() -> Self {
        Self {
            create_with_first_subscription: true,
            delete_with_last_subscription: true,
        }
    }
}

/// What a patch says of an [`Automation`]; what is absent stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct AutomationPatch {
    /// `autoCreateTopicWithFirstSubscription`.
    pub create_with_first_subscription: Option<bool>,
    /// `autoDeleteTopicWithLastSubscription`.
    pub delete_with_last_subscription: Option<bool>,
}

impl AutomationPatch {
    /// Carries the patch out.
    pub fn apply(self, automation: &mut Automation) {
        if let Some(create) = self.create_with_first_subscription {
            automation.create_with_first_subscription = create;
        }
        if let Some(delete) = self.delete_with_last_subscription {
            automation.delete_with_last_subscription = delete;
        }
    }
}

/// The service allows as many. One takes about a kilobyte of memory.
pub const TOPICS_PER_DOMAIN: usize = 100_000;

/// The resource type of a domain topic.
const RESOURCE_TYPE: &str = "Microsoft.EventGrid/domains/topics";

/// The domain that an id of a domain topic lies in, and the topic's name. `None` when it is the id of something else.
pub(crate) fn split(id: &ResourceId) -> Option<(ResourceId, &str)> {
    if !id.is_of_type(RESOURCE_TYPE) {
        return None;
    }
    let (rest, name) = id.as_str().rsplit_once('/')?;
    let (domain, _topics) = rest.rsplit_once('/')?;
    Some((domain.parse().ok()?, name))
}

pub(crate) fn check_name(name: &str) -> Result<(), Invalid> {
    if intake::is_plain_name(name) {
        return Ok(());
    }
    let message = "The domain topic name must be 3 to 50 characters long and contain only letters, digits and '-'.";
    Err(Invalid::new("name", message))
}

impl Grid {
    /// Creates a domain topic, or finds the one that is there.
    ///
    /// # Errors
    /// There is no such domain, the name is not allowed, the domain is full, or it was not stored.
    pub async fn put_domain_topic(
        &self,
        id: ResourceId,
    ) -> Result<(Arc<DomainTopic>, Created), ManageError> {
        self.0
            .change(move |inner| async move {
                let state = inner.registry.read();
                if let Some(known) = state.domain_topic(&id) {
                    return Ok((Arc::clone(known), Created::Updated));
                }
                let (domain, name) = state.domain_above(&id).ok_or_else(|| {
                    let domain = split(&id).map(|(domain, _)| domain);
                    ManageError::NotFound(domain.unwrap_or_else(|| id.clone()))
                })?;
                let topic = Arc::new(inner.domain_topic(domain, name)?);
                let row = Arc::clone(&topic);
                inner
                    .commit(Partition::of(&topic.id), move |txn| {
                        txn.put(&DOMAIN_TOPICS, row.id.key(), &*row)
                    })
                    .await?;
                inner
                    .registry
                    .update(|state| state.insert_domain_topic(&topic));
                Ok((topic, Created::New))
            })
            .await
    }

    /// One domain topic.
    pub fn domain_topic(&self, id: &ResourceId) -> Option<Arc<DomainTopic>> {
        self.0.registry.read().domain_topic(id).cloned()
    }

    /// The topics of a domain, by name.
    pub fn domain_topics(&self, domain: &ResourceId) -> Vec<Arc<DomainTopic>> {
        let state = self.0.registry.read();
        let topics = state.domains.get(domain).map(|domain| &domain.topics);
        topics
            .map(|topics| topics.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Deletes a domain topic with its event subscriptions. False when there was none.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn delete_domain_topic(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let Some(topic) = inner.registry.read().domain_topic(&id).cloned() else {
                    return Ok(false);
                };
                sources::take_away(&inner, &topic.id).await?;
                Ok(true)
            })
            .await
    }
}

impl DomainState {
    fn automation(&self) -> Automation {
        self.domain.automation.unwrap_or_default()
    }
}

impl State {
    pub(crate) fn domain_topic(&self, id: &ResourceId) -> Option<&Arc<DomainTopic>> {
        let (domain, name) = split(id)?;
        self.domains.get(&domain)?.topics.get(&folded(name))
    }

    /// The domain that a domain topic would lie in.
    pub(crate) fn domain_above<'a>(&self, id: &'a ResourceId) -> Option<(&DomainState, &'a str)> {
        let (domain, name) = split(id)?;
        Some((self.domains.get(&domain)?, name))
    }

    /// The id of a domain topic as it is, or as its first subscription would make it.
    pub(crate) fn possible_domain_topic(&self, id: &ResourceId) -> Option<ResourceId> {
        if let Some(known) = self.domain_topic(id) {
            return Some(known.id.clone());
        }
        let (above, name) = self.domain_above(id)?;
        let automatic = above.automation().create_with_first_subscription;
        let id = || above.domain.id.join(&format!("topics/{name}")).ok();
        automatic.then(id).flatten()
    }

    /// The domain topic that goes when this subscription goes: the last of its topic, when the domain wants it so.
    pub(crate) fn emptied_without(&self, one: &EventSubscription) -> Option<ResourceId> {
        let topic = self.domain_topic(&one.source)?;
        let (above, _) = self.domain_above(&one.source)?;
        let goes = above.automation().delete_with_last_subscription
            && self.subscriptions_of(&one.source).len() <= 1;
        goes.then(|| topic.id.clone())
    }
}

impl Inner {
    /// A new topic of a domain.
    pub(crate) fn domain_topic(
        &self,
        above: &DomainState,
        name: &str,
    ) -> Result<DomainTopic, Invalid> {
        check_name(name)?;
        if TOPICS_PER_DOMAIN <= above.topics.len() {
            let message = format!(
                "Quota limit reached: a domain can have at most {TOPICS_PER_DOMAIN} topics."
            );
            return Err(Invalid::new("name", message));
        }
        let tail = format!("topics/{name}");
        let id = above.domain.id.join(&tail);
        let now = self.settings.clock.now();
        Ok(DomainTopic {
            id: id.map_err(|bad| Invalid::new("name", bad.to_string()))?,
            created: now,
            updated: now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_domain_topic_is_split_and_no_other() {
        let group = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid";
        let id: ResourceId = format!("{group}/Domains/d1/Topics/t1").parse().unwrap();
        let (domain, name) = split(&id).unwrap();
        assert_eq!(domain.as_str(), format!("{group}/Domains/d1"));
        assert_eq!(name, "t1");
        for other in ["domains/d1", "topics/t1", "namespaces/n/topics/t1"] {
            let other: ResourceId = format!("{group}/{other}").parse().unwrap();
            assert!(split(&other).is_none(), "{other}");
        }
    }
}
