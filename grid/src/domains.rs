//! Domains: one endpoint for many topics.
//!
//! Promise: a domain's name is unique whatever its resource group, because publishers find it by name; its keys stay
//! when it is put again; it goes with all its topics and their event subscriptions.
//! Not here: its topics (`domain_topics`), whom an event goes to (`publish`), the endpoint's address (`api`).
//! Source: reference event-grid 2.8 and 3.3.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_model::mapping::InputSchema;
use gridpost_model::{ResourceId, Timestamp, WhichKey};
use gridpost_store::Partition;
use serde::{Deserialize, Serialize};

use crate::intake::{self, Ingress, IngressPatch, IngressSpec, IntakeKind};
use crate::manage::{Created, Invalid, ManageError};
use crate::registry::{DOMAINS, State};
use crate::scope::Scope;
use crate::topics::keep_location;
use crate::{Grid, Inner, sources};

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
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
    /// When its topics come and go.
    pub automation: Automation,
    /// `metricResourceId`.
    pub metric_id: String,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
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

/// What a put says of a domain.
#[derive(Clone, Debug)]
pub struct DomainSpec {
    /// `location`.
    pub location: String,
    /// `tags`.
    pub tags: BTreeMap<String, String>,
    /// What publishers are to meet.
    pub ingress: IngressSpec,
    /// When its topics come and go.
    pub automation: Automation,
}

/// What a patch says of a domain; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct DomainPatch {
    /// `tags`, all of them.
    pub tags: Option<BTreeMap<String, String>>,
    /// What publishers meet.
    pub ingress: IngressPatch,
    /// `autoCreateTopicWithFirstSubscription`.
    pub create_with_first_subscription: Option<bool>,
    /// `autoDeleteTopicWithLastSubscription`.
    pub delete_with_last_subscription: Option<bool>,
}

impl DomainPatch {
    fn apply(self, domain: &mut Domain) -> Result<(), Invalid> {
        if let Some(tags) = self.tags {
            domain.tags = tags;
        }
        if let Some(create) = self.create_with_first_subscription {
            domain.automation.create_with_first_subscription = create;
        }
        if let Some(delete) = self.delete_with_last_subscription {
            domain.automation.delete_with_last_subscription = delete;
        }
        self.ingress.apply(&mut domain.ingress)
    }
}

impl Grid {
    /// Creates a domain with fresh keys, or changes the one that is there.
    ///
    /// # Errors
    /// A value is not allowed, the name is taken in another resource group, or it was not stored.
    pub async fn put_domain(
        &self,
        id: ResourceId,
        spec: DomainSpec,
    ) -> Result<(Arc<Domain>, Created), ManageError> {
        intake::check_name(IntakeKind::Domain, id.name())?;
        spec.ingress.check()?;
        check_mapping(spec.ingress.input.as_ref())?;
        self.0
            .change(move |inner| async move {
                let (domain, created) = inner.placed_domain(id, spec)?;
                Ok((inner.keep_domain(domain).await?, created))
            })
            .await
    }

    /// Changes what the patch names.
    ///
    /// # Errors
    /// There is no such domain, a value is not allowed, or it was not stored.
    pub async fn patch_domain(
        &self,
        id: &ResourceId,
        patch: DomainPatch,
    ) -> Result<Arc<Domain>, ManageError> {
        self.change_domain(id, move |domain, _| patch.apply(domain))
            .await
    }

    /// Replaces one of the keys by a fresh one.
    ///
    /// # Errors
    /// There is no such domain, or it was not stored.
    pub async fn regenerate_domain_key(
        &self,
        id: &ResourceId,
        which: WhichKey,
    ) -> Result<Arc<Domain>, ManageError> {
        self.change_domain(id, move |domain, inner| {
            let chance = inner.settings.chance.as_ref();
            domain.ingress.keys.regenerate(which, chance);
            Ok(())
        })
        .await
    }

    async fn change_domain(
        &self,
        id: &ResourceId,
        change: impl FnOnce(&mut Domain, &Inner) -> Result<(), Invalid> + Send + 'static,
    ) -> Result<Arc<Domain>, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let known = inner.registry.read().domain(&id).cloned();
                let known = known.ok_or(ManageError::NotFound(id))?;
                let mut domain = Domain::clone(&known);
                change(&mut domain, &inner)?;
                domain.updated = inner.settings.clock.now();
                inner.keep_domain(domain).await
            })
            .await
    }

    /// One domain.
    pub fn domain(&self, id: &ResourceId) -> Option<Arc<Domain>> {
        self.0.registry.read().domain(id).cloned()
    }

    /// The domain that a source is, or is a topic of.
    pub fn domain_of(&self, source: &ResourceId) -> Option<Arc<Domain>> {
        let state = self.0.registry.read();
        state.domain_of(source).cloned()
    }

    /// The domains of a scope, by resource id.
    pub fn domains(&self, scope: &Scope) -> Vec<Arc<Domain>> {
        let state = self.0.registry.read();
        let all = state.domains.values().map(|one| &one.domain);
        all.filter(|domain| scope.holds(&domain.id))
            .cloned()
            .collect()
    }

    /// Deletes a domain with its topics and all event subscriptions. False when there was none.
    ///
    /// # Errors
    /// It was not stored; some of its topics may be gone.
    pub async fn delete_domain(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let id = id.clone();
        self.0
            .change(move |inner| async move {
                let Some(domain) = inner.registry.read().domain(&id).cloned() else {
                    return Ok(false);
                };
                sources::take_away(&inner, &domain.id).await?;
                Ok(true)
            })
            .await
    }
}

impl State {
    pub(crate) fn domain(&self, id: &ResourceId) -> Option<&Arc<Domain>> {
        self.domains.get(id).map(|known| &known.domain)
    }

    pub(crate) fn domain_of(&self, source: &ResourceId) -> Option<&Arc<Domain>> {
        let above = || self.domain_above(source).map(|(above, _)| &above.domain);
        self.domain(source).or_else(above)
    }
}

impl Inner {
    /// The domain as the put wants it, beside what is there.
    fn placed_domain(
        &self,
        id: ResourceId,
        spec: DomainSpec,
    ) -> Result<(Domain, Created), ManageError> {
        let (now, chance) = (self.settings.clock.now(), self.settings.chance.as_ref());
        let known = known_as(&self.registry.read(), &id)?;
        let DomainSpec {
            location,
            tags,
            ingress,
            automation,
        } = spec;
        if let Some(known) = &known {
            keep_location(&known.id, &known.location, &location)?;
        }
        let metric_id = known.as_ref().map(|known| known.metric_id.clone());
        let domain = Domain {
            ingress: ingress.beside(known.as_ref().map(|known| &known.ingress), chance)?,
            metric_id: metric_id.unwrap_or_else(|| chance.uuid()),
            created: known.as_ref().map_or(now, |known| known.created),
            id: known.as_ref().map_or(id, |known| known.id.clone()),
            location,
            tags,
            automation,
            updated: now,
        };
        let created = known.map_or(Created::New, |_| Created::Updated);
        Ok((domain, created))
    }

    async fn keep_domain(&self, domain: Domain) -> Result<Arc<Domain>, ManageError> {
        let domain = Arc::new(domain);
        let row = Arc::clone(&domain);
        self.commit(Partition::of(&domain.id), move |txn| {
            txn.put(&DOMAINS, row.id.key(), &*row)
        })
        .await?;
        self.registry.update(|state| state.insert_domain(&domain));
        Ok(domain)
    }
}

/// The domain of that id. Another domain of the same name is a conflict.
fn known_as(state: &State, id: &ResourceId) -> Result<Option<Arc<Domain>>, ManageError> {
    match state.intakes.named(IntakeKind::Domain, id.name()) {
        None => Ok(None),
        Some(intake) if intake.id == *id => Ok(state.domain(id).cloned()),
        Some(_) => Err(ManageError::Conflict(
            "Domain with the specified name already exists. Choose a different domain name.".into(),
        )),
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

#[cfg(test)]
mod tests {
    use gridpost_model::mapping::Mapping;

    use super::*;

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
