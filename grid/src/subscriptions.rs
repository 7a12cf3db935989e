//! Event subscriptions: made, changed, shown and deleted.
//!
//! Promise: a subscription exists once its endpoint has agreed (`handshake`) or may still agree within its window, and
//! once it is committed; its lane knows of it before the first event can match.
//! Not here: what may be written into each field (`validation`), visits of the validation URL (`confirm`), the passing
//! of time (`retire`).

use std::sync::Arc;

use gridpost_model::filter::TopicKind;
use gridpost_model::subscription::{
    DeliverySchema, Destination, EventSubscription, LaneId, ProvisioningState,
};
use gridpost_model::{EventSchema, ResourceId};
use gridpost_store::{Partition, StoreError};

use crate::confirm::Handshaking;
use crate::domain_topics::{self, DomainTopic};
use crate::handshake::{self, Agreement};
use crate::manage::{Created, Invalid, ManageError};
use crate::proposal::Proposal;
use crate::registry::{DOMAIN_TOPICS, LANE_NUMBERS, SUBSCRIPTIONS, SYSTEM_TOPICS, State, folded};
use crate::scope::Scope;
use crate::system_topics::{self, SystemTopic};
use crate::transcript::Transcript;
use crate::{Grid, Inner, notice, roles, validation};

pub use crate::specification::{
    FilterPatch, RetryPolicyPatch, SubscriptionPatch, SubscriptionSpec, WebHookPatch,
};

/// The resource whose events are subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its id, or that of its system topic.
    pub id: ResourceId,
    /// What kind of source it is.
    pub kind: TopicKind,
}

/// Why an event subscription was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// A value is not acceptable.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The endpoint did not agree to receive events.
    #[error("{message}")]
    HandshakeFailed {
        /// What failed, in the words of the service.
        message: String,
        /// What was sent and answered.
        transcript: Box<Transcript>,
    },
    /// The source does not exist.
    #[error("The source '{0}' was not found.")]
    UnknownSource(ResourceId),
    /// There is no such event subscription to change.
    #[error("The event subscription '{0}' was not found.")]
    NotFound(String),
    /// The same event subscription is being changed by somebody else, or has just been.
    #[error("Another operation on the event subscription '{0}' is in progress.")]
    InProgress(String),
    /// The source has all the subscriptions it may have.
    #[error(
        "Quota limit reached: a topic can have at most {SUBSCRIPTIONS_PER_SOURCE} event subscriptions."
    )]
    TooMany,
    /// It is more than can be kept at once. It will be so next time.
    #[error("The event subscription is too large: {0}.")]
    TooLarge(StoreError),
    /// Nothing was changed, because it could not be kept.
    #[error("the event subscription was not stored")]
    NotStored(#[source] StoreError),
}

impl From<StoreError> for SubscribeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge { .. } => Self::TooLarge(error),
            error => Self::NotStored(error),
        }
    }
}

/// The service allows 500. An index of 10,000 still matches within microseconds and is rebuilt within milliseconds,
/// so that is where we stop.
pub const SUBSCRIPTIONS_PER_SOURCE: usize = 10_000;

/// What comes into being with the first subscription of a source.
#[derive(Clone)]
pub(crate) enum Implied {
    /// The system topic of a communication resource.
    SystemTopic(Arc<SystemTopic>),
    /// A topic of a domain that wants it so.
    DomainTopic(Arc<DomainTopic>),
}

impl Grid {
    /// A source that is a topic, a domain, a domain topic or has a system topic, as it was first written; also a domain
    /// topic that its first subscription would make. `None` when there is no such source.
    pub fn source(&self, id: &ResourceId) -> Option<Source> {
        let state = self.0.registry.read();
        if let Some(id) = state.own_source(id) {
            let kind = TopicKind::Custom;
            return Some(Source { id, kind });
        }
        let topic = state.system_topics.get(id);
        topic.map(|topic| Source {
            id: topic.source.clone(),
            kind: TopicKind::Communication,
        })
    }

    /// Makes an event subscription, or replaces the one of that name, after its endpoint has agreed. Subscribing to a
    /// communication resource makes its system topic when there is none.
    ///
    /// # Errors
    /// A value is not acceptable, the endpoint refused, the source is unknown, or it was not stored.
    pub async fn put_event_subscription(
        &self,
        source: &Source,
        name: &str,
        spec: SubscriptionSpec,
    ) -> Result<(Arc<EventSubscription>, Created), SubscribeError> {
        validation::check_name(name)?;
        let source = self.0.registry.read().known_source(source)?;
        self.0.subscribe(source, name, spec).await
    }

    /// Changes what the patch names, after the endpoint has agreed again.
    ///
    /// # Errors
    /// There is no such subscription, or as for [`Self::put_event_subscription`].
    pub async fn patch_event_subscription(
        &self,
        source: &ResourceId,
        name: &str,
        patch: SubscriptionPatch,
    ) -> Result<Arc<EventSubscription>, SubscribeError> {
        let state = self.0.registry.read();
        let source = state.source_behind(source);
        let found = state.sources.get(&source).and_then(|at| {
            at.subscriptions
                .get(&folded(name))
                .map(|one| (at.kind, Arc::clone(one)))
        });
        let (kind, before) = found.ok_or_else(|| SubscribeError::NotFound(name.to_owned()))?;
        let spec = patch.apply(SubscriptionSpec::of(&before));
        let source = Source { id: source, kind };
        let (after, _) = self.0.subscribe(source, &before.name, spec).await?;
        Ok(after)
    }

    /// The schema in which a source's events are delivered when nobody says another.
    pub fn usual_delivery_schema(&self, source: &ResourceId) -> DeliverySchema {
        match self.0.registry.read().input_schema(source) {
            EventSchema::CloudEvents => DeliverySchema::CloudEvents,
            EventSchema::EventGrid | EventSchema::Custom => DeliverySchema::EventGrid,
        }
    }

    /// One event subscription of a source, or of its system topic.
    pub fn event_subscription(
        &self,
        source: &ResourceId,
        name: &str,
    ) -> Option<Arc<EventSubscription>> {
        let state = self.0.registry.read();
        state
            .subscription(&state.source_behind(source), name)
            .cloned()
    }

    /// Whether any source has an event subscription of this name, case aside.
    pub fn has_event_subscription_named(&self, name: &str) -> bool {
        let state = self.0.registry.read();
        let mut sources = state.sources.values();
        sources.any(|source| source.subscriptions.contains_key(&folded(name)))
    }

    /// The event subscriptions of one source (or its system topic) or of all, as far as their sources lie in the scope;
    /// by source and name.
    pub fn event_subscriptions(
        &self,
        of: Option<&ResourceId>,
        scope: &Scope,
    ) -> Vec<Arc<EventSubscription>> {
        let state = self.0.registry.read();
        let of = of.map(|id| state.source_behind(id));
        let mut sources: Vec<_> = state
            .sources
            .iter()
            .filter(|(id, source)| {
                !source.subscriptions.is_empty()
                    && of.as_ref().is_none_or(|of| of == *id)
                    && scope.holds(id)
            })
            .collect();
        sources.sort_unstable_by_key(|(id, _)| *id);
        sources
            .iter()
            .flat_map(|(_, source)| source.subscriptions.values().cloned())
            .collect()
    }

    /// Deletes an event subscription and tells its endpoint, as well as that goes. False when there was none.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn delete_event_subscription(
        &self,
        source: &ResourceId,
        name: &str,
    ) -> Result<bool, ManageError> {
        let (source, name) = (source.clone(), name.to_owned());
        self.0
            .change(move |inner| async move {
                let state = inner.registry.read();
                let source = state.source_behind(&source);
                let Some(one) = state.subscription(&source, &name).cloned() else {
                    return Ok(false);
                };
                inner.take_subscription_away(&one).await?;
                Ok(true)
            })
            .await
    }
}

impl State {
    /// The schema that a source's events come in. Services speak the Event Grid schema.
    fn input_schema(&self, source: &ResourceId) -> EventSchema {
        self.entrance_of(source)
            .map_or(EventSchema::EventGrid, |one| one.ingress.input.schema())
    }

    /// A system topic stands for its source.
    pub(crate) fn source_behind(&self, id: &ResourceId) -> ResourceId {
        self.system_topics
            .get(id)
            .map_or_else(|| id.clone(), |topic| topic.source.clone())
    }

    /// A topic, a domain or a domain topic, as it was first written; also a domain topic that its first subscription
    /// would make.
    fn own_source(&self, id: &ResourceId) -> Option<ResourceId> {
        let known = self.entrance(id).map(|one| one.id.clone());
        known.or_else(|| self.possible_domain_topic(id))
    }

    /// The source as it was first written. A communication resource exists when `api` says so; a topic has to be here.
    fn known_source(&self, source: &Source) -> Result<Source, SubscribeError> {
        if let Some(id) = self.own_source(&source.id) {
            if let Some((_, name)) = domain_topics::split(&id) {
                domain_topics::check_name(name)?;
            }
            let kind = TopicKind::Custom;
            return Ok(Source { id, kind });
        }
        let id = self.source_behind(&source.id);
        match self.sources.get(&id) {
            Some(known) => Ok(Source {
                id,
                kind: known.kind,
            }),
            None if source.kind == TopicKind::Communication => Ok(Source {
                id,
                kind: source.kind,
            }),
            None => Err(SubscribeError::UnknownSource(id)),
        }
    }
}

impl Inner {
    /// Validates, asks the endpoint, keeps. Everything up to the last step can be given up without a trace but a lane
    /// number that will never be used.
    async fn subscribe(
        self: &Arc<Self>,
        source: Source,
        name: &str,
        mut spec: SubscriptionSpec,
    ) -> Result<(Arc<EventSubscription>, Created), SubscribeError> {
        let now = self.settings.clock.now();
        let input = self.registry.read().input_schema(&source.id);
        validation::check_schemas(input, spec.delivery_schema)?;
        let before = self.registry.read().subscription(&source.id, name).cloned();
        if let Some(before) = &before {
            spec.keep_secrets(&before.destination);
        }
        let spec = validation::check(spec, source.kind, now, self.delivery.client())?;
        let lane = match before
            .as_ref()
            .filter(|one| one.state != ProvisioningState::Failed)
        {
            Some(one) => one.lane,
            None => self.reserve_lane(&source.id).await?,
        };
        let id = before
            .as_ref()
            .map_or(&source.id, |one| &one.source)
            .clone();
        let name = before.as_ref().map_or(name, |one| &one.name).to_owned();

        let proposal = Proposal::new(&self.settings, lane, &id, &name, &spec);
        let open = Handshaking::enter(self, &id, &proposal)
            .ok_or_else(|| SubscribeError::InProgress(name.clone()))?;
        let agreement = match spec.destination {
            Destination::WebHook(_) | Destination::AzureFunction(_) => {
                handshake::ask(self, &proposal, &open).await?
            }
            // Whoever wrote the connection into the configuration has agreed.
            _ => Agreement::Given { allowed_rate: None },
        };
        let state = match agreement {
            Agreement::Given { .. } => ProvisioningState::Succeeded,
            Agreement::Pending => proposal.awaiting(self.settings.clock.now()),
        };

        let SubscriptionSpec {
            mut destination,
            filter,
            labels,
            expires,
            delivery_schema,
            retry_policy,
            dead_letter,
        } = spec;
        if let Destination::WebHook(hook) = &mut destination {
            hook.allowed_rate = match agreement {
                Agreement::Given { allowed_rate } => allowed_rate,
                Agreement::Pending => None,
            };
        }
        let updated = self.settings.clock.now();
        let created = before.as_ref().map_or(updated, |one| one.created);
        let after = EventSubscription {
            name,
            source: id,
            lane,
            destination,
            filter,
            labels,
            expires,
            delivery_schema,
            retry_policy,
            dead_letter,
            state,
            created,
            updated,
        };
        let kind = source.kind;
        let (after, created) = self
            .change(move |inner| async move { inner.keep_subscription(kind, before, after).await })
            .await?;
        let after = open.leave(after).await?;
        Ok((after, created))
    }

    /// Commits a subscription and shows it: to its lane first, then to the index.
    async fn keep_subscription(
        self: Arc<Self>,
        kind: TopicKind,
        expected: Option<Arc<EventSubscription>>,
        after: EventSubscription,
    ) -> Result<(Arc<EventSubscription>, Created), SubscribeError> {
        let state = self.registry.read();
        let before = state.subscription(&after.source, &after.name).cloned();
        // Somebody deleted or made it, or its window ended, while we asked the endpoint. Its lane may be closed, so we
        // do not continue.
        let has_lane = |one: &EventSubscription| (one.lane, one.state != ProvisioningState::Failed);
        if before.as_deref().map(has_lane) != expected.as_deref().map(has_lane) {
            return Err(SubscribeError::InProgress(after.name));
        }
        let implied = self.implied_by_subscribing(&state, kind, &after.source)?;
        if before.is_none()
            && SUBSCRIPTIONS_PER_SOURCE <= state.subscriptions_of(&after.source).len()
        {
            return Err(SubscribeError::TooMany);
        }
        let after = Arc::new(after);
        self.commit_subscription(&after, implied.clone()).await?;

        let reopened = before.as_ref().is_none_or(|one| one.lane != after.lane);
        if reopened {
            self.delivery.open_lane(Arc::clone(&after));
        }
        self.registry.update(|state| {
            match &implied {
                Some(Implied::SystemTopic(topic)) => state.insert_system_topic(topic),
                Some(Implied::DomainTopic(topic)) => state.insert_domain_topic(topic),
                None => (),
            }
            state.insert_subscription(&after);
        });
        if !reopened {
            self.delivery.change_lane(Arc::clone(&after));
        }
        let created = if before.is_some() {
            Created::Updated
        } else {
            Created::New
        };
        Ok((after, created))
    }

    fn implied_by_subscribing(
        &self,
        state: &State,
        kind: TopicKind,
        source: &ResourceId,
    ) -> Result<Option<Implied>, SubscribeError> {
        if state.sources.contains_key(source) {
            return Ok(None);
        }
        let (chance, now) = (self.settings.chance.as_ref(), self.settings.clock.now());
        let unknown = || SubscribeError::UnknownSource(source.clone());
        Ok(Some(match kind {
            TopicKind::Communication => {
                let topic = system_topics::implied(source, chance, now);
                Implied::SystemTopic(Arc::new(topic.ok_or_else(unknown)?))
            }
            TopicKind::Custom => {
                let id = state.possible_domain_topic(source).ok_or_else(unknown)?;
                let (above, name) = state.domain_above(&id).ok_or_else(unknown)?;
                Implied::DomainTopic(Arc::new(self.domain_topic(above, name)?))
            }
        }))
    }

    pub(crate) async fn commit_subscription(
        &self,
        one: &Arc<EventSubscription>,
        implied: Option<Implied>,
    ) -> Result<(), StoreError> {
        let row = Arc::clone(one);
        self.commit(Partition::of(&one.source), move |txn| {
            match implied {
                Some(Implied::SystemTopic(topic)) => {
                    txn.put(&SYSTEM_TOPICS, topic.id.key(), &*topic)?;
                }
                Some(Implied::DomainTopic(topic)) => {
                    txn.put(&DOMAIN_TOPICS, topic.id.key(), &*topic)?;
                }
                None => (),
            }
            txn.put(&SUBSCRIPTIONS, (row.source.key(), folded(&row.name)), &*row)
        })
        .await
    }

    /// A lane number that was never given out: the partition's number, then a counter of its own.
    async fn reserve_lane(&self, source: &ResourceId) -> Result<LaneId, StoreError> {
        let partition = Partition::of(source);
        self.commit(partition, move |txn| {
            let number = txn.get(&LANE_NUMBERS, ())?.unwrap_or(0) + 1;
            txn.put(&LANE_NUMBERS, (), &number)?;
            Ok(LaneId(u64::from(partition.0) << 48 | number))
        })
        .await
    }

    /// Deletes a subscription. Only inside a change.
    pub(crate) async fn take_subscription_away(
        self: &Arc<Self>,
        one: &Arc<EventSubscription>,
    ) -> Result<(), StoreError> {
        let row = Arc::clone(one);
        let state = self.registry.read();
        let emptied = state.emptied_without(one);
        let mut parents = vec![&one.source];
        parents.extend(state.system_topic_of(&one.source).map(|topic| &topic.id));
        let mut scopes = roles::paths_of_subscription(&parents, &one.name);
        scopes.extend(emptied.as_ref().map(ResourceId::to_string));
        roles::forget_at(self, &scopes).await?;
        let topic = emptied.clone();
        self.commit(Partition::of(&one.source), move |txn| {
            if let Some(topic) = topic {
                txn.remove(&DOMAIN_TOPICS, topic.key())?;
            }
            txn.remove(&SUBSCRIPTIONS, (row.source.key(), folded(&row.name)))
        })
        .await?;
        self.registry.update(|state| {
            state.remove_subscription(&one.source, &one.name);
            if let Some(topic) = &emptied {
                state.remove_source(topic);
            }
        });
        // Before the lane is closed: what is dropped with it is counted, as that of no source there is.
        if let Some(topic) = &emptied {
            self.delivery.topics().forget(topic);
        }
        self.close_lane(one.lane);
        notice::send(self, one);
        Ok(())
    }

    /// Closes a lane in a task of its own: what waits for it may be a million rows, and other changes need not wait.
    pub(crate) fn close_lane(&self, lane: LaneId) {
        let delivery = Arc::clone(&self.delivery);
        let close = async move { delivery.close_lane(lane).await };
        (self.settings.spawn)("grid-close-lane", Box::pin(close));
    }
}

/// The resource id of an event subscription in its extension form.
pub fn resource_id(one: &EventSubscription) -> String {
    format!(
        "{}/providers/Microsoft.EventGrid/eventSubscriptions/{}",
        one.source, one.name
    )
}
