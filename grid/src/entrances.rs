//! Topics and domains as resources: what users create, change and take away, and publish to meanwhile.
//!
//! Promise: a name is unique among the topics, and among the domains, whatever its resource group, because publishers
//! find it by name; keys stay when it is put again; a domain goes with all its topics and their event subscriptions.
//! Not here: what publishers meet there (`intake`), accepting events (`publish`), the topics of a domain
//! (`domain_topics`), the endpoint's address (`api`).
//! Source: reference event-grid 2.8 and 3.3.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_model::mapping::InputSchema;
use gridpost_model::{Chance, ResourceId, Timestamp, WhichKey};
use gridpost_store::Partition;
use serde::{Deserialize, Serialize};

use crate::directory::same_location;
use crate::domain_topics::{Automation, AutomationPatch};
use crate::intake::{self, Ingress, IngressPatch, IngressSpec, IntakeKind};
use crate::manage::{Created, Invalid, ManageError};
use crate::registry::{DOMAINS, State, TOPICS};
use crate::scope::Scope;
use crate::{Grid, Inner, sources};

/// A custom topic or a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entrance {
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
    /// When the topics of a domain come and go. A topic has none: that tells the two apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automation: Option<Automation>,
    /// `metricResourceId`; topics of early versions have none.
    #[serde(default)]
    pub metric_id: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// What a put says of a topic or a domain.
#[derive(Clone, Debug)]
pub struct EntranceSpec {
    /// `location`.
    pub location: String,
    /// `tags`.
    pub tags: BTreeMap<String, String>,
    /// What publishers are to meet.
    pub ingress: IngressSpec,
    /// When the topics of a domain come and go. None makes a topic.
    pub automation: Option<Automation>,
}

/// What a patch says of a topic or a domain; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct EntrancePatch {
    /// `tags`, all of them.
    pub tags: Option<BTreeMap<String, String>>,
    /// What publishers meet.
    pub ingress: IngressPatch,
    /// When the topics of a domain come and go; it means nothing to a topic.
    pub automation: AutomationPatch,
}

fn kind_of(automation: Option<&Automation>) -> IntakeKind {
    automation.map_or(IntakeKind::Topic, |_| IntakeKind::Domain)
}

impl Entrance {
    /// Which of the two it is.
    pub fn kind(&self) -> IntakeKind {
        kind_of(self.automation.as_ref())
    }

    /// As the put wants it, beside what is there. Pure but for the fresh keys and number.
    fn put(
        id: ResourceId,
        spec: EntranceSpec,
        known: Option<&Self>,
        chance: &dyn Chance,
        now: Timestamp,
    ) -> Result<Self, ManageError> {
        let ingress = spec
            .ingress
            .beside(known.map(|known| &known.ingress), chance)?;
        let metric_id = known.and_then(|known| known.metric_id.clone());
        Ok(Self {
            id: known.map_or(id, |known| known.id.clone()),
            location: spec.location,
            tags: spec.tags,
            ingress,
            automation: spec.automation,
            metric_id: metric_id.or_else(|| Some(chance.uuid())),
            created: known.map_or(now, |known| known.created),
            updated: now,
        })
    }

    fn patch(&mut self, patch: EntrancePatch) -> Result<(), Invalid> {
        if let Some(tags) = patch.tags {
            self.tags = tags;
        }
        if let Some(automation) = &mut self.automation {
            patch.automation.apply(automation);
        }
        patch.ingress.apply(&mut self.ingress)
    }
}

/// How many topics and domains there are at most; the service allows 100 of each in a region. With its keys, its index and
/// its counters one takes some 10 KB of memory.
pub const MOST_ENTRANCES: usize = 10_000;

impl EntranceSpec {
    fn kind(&self) -> IntakeKind {
        kind_of(self.automation.as_ref())
    }

    fn check(&self) -> Result<(), Invalid> {
        self.ingress.check()?;
        match self.kind() {
            IntakeKind::Topic => Ok(()),
            IntakeKind::Domain => check_mapping(self.ingress.input.as_ref()),
        }
    }
}

/// An event of a domain has to say which topic it is for.
fn check_mapping(input: Option<&InputSchema>) -> Result<(), Invalid> {
    let Some(InputSchema::Custom(mapping)) = input else {
        return Ok(());
    };
    if mapping
        .as_ref()
        .is_some_and(|mapping| mapping.topic.is_some())
    {
        return Ok(());
    }
    let message = "The input schema 'CustomEventSchema' of a domain needs a mapping with 'topic.sourceField', which tells the domain topic of an event.";
    Err(Invalid::new("properties.inputSchemaMapping", message))
}

impl Grid {
    /// Creates a topic or a domain with fresh keys, or changes the one that is there.
    ///
    /// # Errors
    /// A value is not allowed, the name is taken in another resource group, or it was not stored.
    pub async fn put_entrance(
        &self,
        id: ResourceId,
        spec: EntranceSpec,
    ) -> Result<(Arc<Entrance>, Created), ManageError> {
        intake::check_name(spec.kind(), id.name())?;
        spec.check()?;
        self.0
            .change(move |inner| async move {
                let known = inner.registry.read().put_before(&id, &spec)?;
                let (chance, now) = (inner.settings.chance.as_ref(), inner.settings.clock.now());
                let entrance = Entrance::put(id, spec, known.as_deref(), chance, now)?;
                let created = known.map_or(Created::New, |_| Created::Updated);
                Ok((inner.keep_entrance(entrance).await?, created))
            })
            .await
    }

    /// Changes what the patch names.
    ///
    /// # Errors
    /// There is no such topic or domain, a value is not allowed, or it was not stored.
    pub async fn patch_entrance(
        &self,
        id: &ResourceId,
        patch: EntrancePatch,
    ) -> Result<Arc<Entrance>, ManageError> {
        self.change_entrance(id, move |entrance, _| entrance.patch(patch))
            .await
    }

    /// Replaces one of the keys by a fresh one.
    ///
    /// # Errors
    /// There is no such topic or domain, or it was not stored.
    pub async fn regenerate_key(
        &self,
        id: &ResourceId,
        which: WhichKey,
    ) -> Result<Arc<Entrance>, ManageError> {
        self.change_entrance(id, move |entrance, chance| {
            entrance.ingress.keys.regenerate(which, chance);
            Ok(())
        })
        .await
    }

    async fn change_entrance(
        &self,
        id: &ResourceId,
        change: impl FnOnce(&mut Entrance, &dyn Chance) -> Result<(), Invalid> + Send + 'static,
    ) -> Result<Arc<Entrance>, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let known = inner.registry.read().entrance(&id).cloned();
                let known = known.ok_or(ManageError::NotFound(id))?;
                let mut entrance = Entrance::clone(&known);
                change(&mut entrance, inner.settings.chance.as_ref())?;
                entrance.updated = inner.settings.clock.now();
                inner.keep_entrance(entrance).await
            })
            .await
    }

    /// The topic or domain of that id.
    pub fn entrance(&self, id: &ResourceId) -> Option<Arc<Entrance>> {
        self.0.registry.read().entrance(id).cloned()
    }

    /// The topic or domain that a source is, or is a topic of.
    pub fn entrance_of(&self, source: &ResourceId) -> Option<Arc<Entrance>> {
        self.0.registry.read().entrance_of(source).cloned()
    }

    /// The topics or the domains of a scope, by resource id.
    pub fn entrances(&self, kind: IntakeKind, scope: &Scope) -> Vec<Arc<Entrance>> {
        let state = self.0.registry.read();
        let wanted = |one: &&Arc<Entrance>| scope.holds(&one.id);
        match kind {
            IntakeKind::Topic => state.topics.values().filter(wanted).cloned().collect(),
            IntakeKind::Domain => {
                let domains = state.domains.values().map(|one| &one.domain);
                domains.filter(wanted).cloned().collect()
            }
        }
    }

    /// Deletes a topic or a domain with all its event subscriptions; a domain with its topics. False when there was none.
    ///
    /// # Errors
    /// It was not stored; some topics of a domain may be gone.
    pub async fn delete_entrance(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let Some(known) = inner.registry.read().entrance(&id).cloned() else {
                    return Ok(false);
                };
                sources::take_away(&inner, &known.id).await?;
                Ok(true)
            })
            .await
    }
}

impl State {
    pub(crate) fn entrance(&self, id: &ResourceId) -> Option<&Arc<Entrance>> {
        let domain = || self.domains.get(id).map(|known| &known.domain);
        self.topics.get(id).or_else(domain)
    }

    pub(crate) fn entrance_of(&self, source: &ResourceId) -> Option<&Arc<Entrance>> {
        let above = || self.domain_above(source).map(|(above, _)| &above.domain);
        self.entrance(source).or_else(above)
    }

    /// What a put would change. Another of the same kind and name is a conflict, and so is another place.
    fn put_before(
        &self,
        id: &ResourceId,
        spec: &EntranceSpec,
    ) -> Result<Option<Arc<Entrance>>, ManageError> {
        let Some(intake) = self.intakes.named(spec.kind(), id.name()) else {
            if MOST_ENTRANCES <= self.topics.len() + self.domains.len() {
                let message = format!("There are {MOST_ENTRANCES} topics and domains already.");
                return Err(ManageError::Conflict(message));
            }
            return Ok(None);
        };
        if intake.id != *id {
            return Err(ManageError::Conflict(match spec.kind() {
                IntakeKind::Topic => {
                    "Topic with the specified name already exists. Choose a different topic name."
                        .into()
                }
                IntakeKind::Domain => {
                    "Domain with the specified name already exists. Choose a different domain name."
                        .into()
                }
            }));
        }
        let known = self.entrance(id).cloned();
        if let Some(known) = &known {
            keep_location(known, &spec.location)?;
        }
        Ok(known)
    }
}

/// Resources do not move.
fn keep_location(known: &Entrance, wanted: &str) -> Result<(), ManageError> {
    let before = &known.location;
    if same_location(before, wanted) {
        return Ok(());
    }
    Err(ManageError::Conflict(format!(
        "The resource '{}' already exists in location '{before}'; its location cannot be changed to '{wanted}'.",
        known.id.name(),
    )))
}

impl Inner {
    async fn keep_entrance(&self, entrance: Entrance) -> Result<Arc<Entrance>, ManageError> {
        let table = match entrance.kind() {
            IntakeKind::Topic => &TOPICS,
            IntakeKind::Domain => &DOMAINS,
        };
        let entrance = Arc::new(entrance);
        let row = Arc::clone(&entrance);
        self.commit(Partition::of(&entrance.id), move |txn| {
            txn.put(table, row.id.key(), &*row)
        })
        .await?;
        self.registry
            .update(|state| state.insert_entrance(&entrance));
        Ok(entrance)
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::mapping::Mapping;

    use super::*;
    use crate::access::Access;

    #[test]
    fn a_topic_of_an_earlier_version_is_read() {
        let row = r#"{"id":"/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/t","location":"local",
            "input_schema":"EventGrid","keys":{"first":"a","second":"b"},"created":"2026-11-22T00:00:00Z",
            "updated":"2026-11-22T00:00:00Z"}"#;
        let topic: Entrance = serde_json::from_str(row).unwrap();
        assert_eq!(topic.kind(), IntakeKind::Topic);
        assert_eq!(topic.ingress.input, InputSchema::EventGrid);
        assert_eq!(topic.ingress.access, Access::default());
        let again: Entrance = serde_json::from_slice(&serde_json::to_vec(&topic).unwrap()).unwrap();
        assert_eq!(again, topic);
    }

    #[test]
    fn a_domain_of_an_earlier_version_is_read() {
        let row = r#"{"id":"/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/domains/d","location":"local",
            "tags":{},"input_schema":"CloudEvents","keys":{"first":"a","second":"b"},"automation":
            {"create_with_first_subscription":true,"delete_with_last_subscription":false},"metric_id":"m",
            "created":"2026-11-22T00:00:00Z","updated":"2026-11-22T00:00:00Z"}"#;
        let domain: Entrance = serde_json::from_str(row).unwrap();
        assert_eq!(domain.kind(), IntakeKind::Domain);
        assert!(!domain.automation.unwrap().delete_with_last_subscription);
        assert_eq!(domain.metric_id.as_deref(), Some("m"));
        let again: Entrance =
            serde_json::from_slice(&serde_json::to_vec(&domain).unwrap()).unwrap();
        assert_eq!(again, domain);
    }

    #[test]
    fn section_2_8_a_custom_event_of_a_domain_says_its_topic() {
        let mapped = |topic: Option<&str>| {
            let topic = topic.map(str::to_owned);
            InputSchema::Custom(Some(Mapping {
                topic,
                ..Mapping::default()
            }))
        };
        assert!(check_mapping(None).is_ok());
        assert!(check_mapping(Some(&InputSchema::CloudEvents)).is_ok());
        assert!(check_mapping(Some(&mapped(Some("shop")))).is_ok());
        for refused in [InputSchema::Custom(None), mapped(None)] {
            let refused = check_mapping(Some(&refused)).unwrap_err();
            assert_eq!(refused.field, "properties.inputSchemaMapping");
        }
    }
}
