//! What exists: topics, system topics, event subscriptions, resource groups, principals, their roles; in memory and in
//! tables.
//!
//! Promise: what is in memory was committed; a reader never waits for a writer; changes happen one after another, and
//! one that was begun is finished even when whoever asked for it hangs up.
//! Not here: who wants an event (`matching`), how it reaches them (`delivery`), what may be changed (`subscriptions`, ...).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use gridpost_model::event_type::COMMUNICATION_TOPIC_TYPE;
use gridpost_model::filter::TopicKind;
use gridpost_model::subscription::{EventSubscription, LaneId, ProvisioningState};
use gridpost_model::{Event, ResourceId};
use gridpost_store::{Partition, Scan, Store, StoreError, Table, Txn};
use imbl::{HashMap, OrdMap};
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use crate::Inner;
use crate::audit;
use crate::confirm::Handshakes;
use crate::credentials::Credential;
use crate::directory::ResourceGroup;
use crate::domain_topics::{self, DomainTopic};
use crate::entrances::Entrance;
use crate::intake::{Intake, IntakeKind, Wanted};
use crate::matching::Lanes;
use crate::principals::Principal;
use crate::refusals::FailedHandshakes;
use crate::roles::{RoleAssignment, Roles};
use crate::system_topics::SystemTopic;

/// Custom topics by id, each in its own partition.
pub(crate) const TOPICS: Table<Entrance> = Table::new(20, "topics");
/// System topics by id, in the partition of their source.
pub(crate) const SYSTEM_TOPICS: Table<SystemTopic> = Table::new(21, "system_topics");
/// Event subscriptions by source and folded name, in the partition of their source.
pub(crate) const SUBSCRIPTIONS: Table<EventSubscription> = Table::new(22, "event_subscriptions");
/// The last lane number given out, one row in each partition.
pub(crate) const LANE_NUMBERS: Table<u64> = Table::new(23, "lane_numbers");
/// Resource groups by id, in the directory partition.
pub(crate) const GROUPS: Table<ResourceGroup> = Table::new(24, "resource_groups");
/// Principals by folded client id, in the directory partition.
pub(crate) const PRINCIPALS: Table<Principal> = Table::new(25, "principals");

/// Domains by id, each in its own partition.
pub(crate) const DOMAINS: Table<Entrance> = Table::new(26, "domains");
/// Domain topics by id, in the partition of their domain.
pub(crate) const DOMAIN_TOPICS: Table<DomainTopic> = Table::new(27, "domain_topics");
/// Role assignments by folded name, in the directory partition.
pub(crate) const ROLE_ASSIGNMENTS: Table<RoleAssignment> = Table::new(120, "role_assignments");
/// Changes in the audit log, by number, in the directory partition.
pub(crate) const AUDIT: Table<audit::Row> = Table::new(121, "audit");
/// Looks at secrets in the audit log, by number, in the directory partition.
pub(crate) const AUDIT_LOOKS: Table<audit::Row> = Table::new(122, "audit_looks");
/// Refusals in the audit log, by number, in the directory partition.
pub(crate) const AUDIT_REFUSALS: Table<audit::Row> = Table::new(123, "audit_refusals");

/// Credentials by folded client id and name, in the directory partition.
pub(crate) const CREDENTIALS: Table<Credential> = Table::new(28, "credentials");

/// A table scan at start reads all there is.
const ALL: usize = usize::MAX;

/// Everything that was created and not deleted.
pub(crate) struct Registry {
    state: ArcSwap<State>,
    /// Held by the one change that is being made.
    changing: tokio::sync::Mutex<()>,
    /// Rung after each change, when a lane finds that its subscription has expired, and at the end.
    pub(crate) changed: Arc<Notify>,
    /// Validation URLs that endpoints know and nobody has visited yet.
    pub(crate) handshakes: Handshakes,
    /// What endpoints said that did not agree.
    pub(crate) failed_handshakes: FailedHandshakes,
    /// Notices of deletion that are on their way.
    pub(crate) notices: AtomicU64,
}

/// One consistent picture. Cloning it is cheap; all maps share their nodes.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) groups: OrdMap<ResourceId, Arc<ResourceGroup>>,
    pub(crate) principals: OrdMap<String, Arc<Principal>>,
    pub(crate) credentials: OrdMap<String, Arc<Credential>>,
    pub(crate) roles: Roles,
    pub(crate) topics: OrdMap<ResourceId, Arc<Entrance>>,
    /// What takes events in, by folded name: the data plane knows no resource groups.
    pub(crate) intakes: Intakes,
    pub(crate) domains: OrdMap<ResourceId, DomainState>,
    pub(crate) system_topics: OrdMap<ResourceId, Arc<SystemTopic>>,
    pub(crate) sources: HashMap<ResourceId, Arc<SourceState>>,
    pub(crate) lanes: HashMap<LaneId, Arc<EventSubscription>>,
}

/// A domain and its topics.
#[derive(Clone)]
pub(crate) struct DomainState {
    pub(crate) domain: Arc<Entrance>,
    /// By folded name.
    pub(crate) topics: OrdMap<String, Arc<DomainTopic>>,
}

/// What takes events in, by folded name; topics and domains may share a name.
#[derive(Clone, Default)]
pub(crate) struct Intakes {
    topics: HashMap<Box<str>, Arc<Intake>>,
    domains: HashMap<Box<str>, Arc<Intake>>,
}

impl Intakes {
    pub(crate) fn of(&self, kind: IntakeKind) -> &HashMap<Box<str>, Arc<Intake>> {
        match kind {
            IntakeKind::Topic => &self.topics,
            IntakeKind::Domain => &self.domains,
        }
    }

    fn of_mut(&mut self, kind: IntakeKind) -> &mut HashMap<Box<str>, Arc<Intake>> {
        match kind {
            IntakeKind::Topic => &mut self.topics,
            IntakeKind::Domain => &mut self.domains,
        }
    }

    /// The intake of that name, in any case.
    pub(crate) fn named(&self, kind: IntakeKind, name: &str) -> Option<&Arc<Intake>> {
        // Names have at most 50 characters, so this stays on the stack.
        let mut folded = SmallVec::<[u8; 64]>::from_slice(name.as_bytes());
        folded.make_ascii_lowercase();
        self.of(kind).get(std::str::from_utf8(&folded).ok()?)
    }

    fn insert(&mut self, intake: Intake) {
        let name = folded(intake.id.name()).into_boxed_str();
        self.of_mut(intake.kind).insert(name, Arc::new(intake));
    }

    pub(crate) fn remove(&mut self, kind: IntakeKind, name: &str) {
        self.of_mut(kind).remove(folded(name).as_str());
    }
}

/// A resource whose events can be subscribed to: it has a topic or a system topic.
pub(crate) struct SourceState {
    pub(crate) kind: TopicKind,
    /// By folded name.
    pub(crate) subscriptions: OrdMap<String, Arc<EventSubscription>>,
    pub(crate) wanted: Arc<Wanted>,
}

impl Registry {
    /// Reads the tables.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let state = ArcSwap::from_pointee(State::load(store)?);
        Ok(Self {
            state,
            changing: tokio::sync::Mutex::default(),
            changed: Arc::new(Notify::new()),
            handshakes: Handshakes::default(),
            failed_handshakes: FailedHandshakes::default(),
            notices: AtomicU64::new(0),
        })
    }

    /// The present picture.
    pub(crate) fn read(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Every event subscription that has a lane, in any order. A failed one has none any more.
    pub(crate) fn all_subscriptions(&self) -> Vec<Arc<EventSubscription>> {
        let state = self.read();
        let open = state
            .lanes
            .values()
            .filter(|one| one.state != ProvisioningState::Failed);
        open.cloned().collect()
    }

    /// The lanes that want an event of this source, right now.
    pub(crate) fn matched(&self, source: &ResourceId, event: &Event) -> Lanes {
        let state = self.state.load();
        state
            .sources
            .get(source)
            .map(|source| source.wanted.matches(event))
            .unwrap_or_default()
    }

    /// The lanes that want an event of a domain topic because of what is subscribed to that topic. `topic` is its id, in
    /// any case; nobody has subscribed to a topic that does not exist.
    pub(crate) fn matched_below_domain(&self, topic: &str, event: &Event) -> Lanes {
        // Longer ids than this are seldom, and cost an allocation.
        let mut folded = SmallVec::<[u8; 256]>::from_slice(topic.as_bytes());
        folded.make_ascii_lowercase();
        let Ok(folded) = std::str::from_utf8(&folded) else {
            return Lanes::new();
        };
        let state = self.state.load();
        let source = state.sources.get(folded);
        source
            .map(|source| source.wanted.matches(event))
            .unwrap_or_default()
    }

    /// The open lanes of a source.
    pub(crate) fn lanes_of(&self, source: &ResourceId) -> Arc<[LaneId]> {
        let state = self.state.load();
        state
            .sources
            .get(source)
            .map(|source| source.wanted.lanes())
            .unwrap_or_default()
    }

    /// What takes events in under a name, in any case.
    pub(crate) fn intake(&self, kind: IntakeKind, name: &str) -> Option<Arc<Intake>> {
        self.state.load().intakes.named(kind, name).cloned()
    }

    /// Shows readers a new picture. Only inside [`Inner::change`], after the commit.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = State::clone(&self.state.load());
        change(&mut state);
        self.state.store(Arc::new(state));
        self.changed.notify_one();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Whoever waits for a change finds the router gone, and ends.
        self.changed.notify_one();
    }
}

impl State {
    fn load(store: &Store) -> Result<Self, StoreError> {
        let snapshot = store.snapshot();
        let mut state = Self::default();
        for (_, _, group) in snapshot.scan_all(&GROUPS, Scan::all().limit(ALL))? {
            state.groups.insert(group.id.clone(), Arc::new(group));
        }
        for (_, _, principal) in snapshot.scan_all(&PRINCIPALS, Scan::all().limit(ALL))? {
            state.principals.insert(
                principal.client_id.to_ascii_lowercase(),
                Arc::new(principal),
            );
        }
        for (_, _, credential) in snapshot.scan_all(&CREDENTIALS, Scan::all().limit(ALL))? {
            let key = credential.key();
            state.credentials.insert(key, Arc::new(credential));
        }
        for (_, _, one) in snapshot.scan_all(&ROLE_ASSIGNMENTS, Scan::all().limit(ALL))? {
            state.roles.insert(&Arc::new(one));
        }
        for (_, _, topic) in snapshot.scan_all(&TOPICS, Scan::all().limit(ALL))? {
            state.insert_entrance(&Arc::new(topic));
        }
        for (_, _, domain) in snapshot.scan_all(&DOMAINS, Scan::all().limit(ALL))? {
            state.insert_entrance(&Arc::new(domain));
        }
        for (_, _, topic) in snapshot.scan_all(&DOMAIN_TOPICS, Scan::all().limit(ALL))? {
            state.insert_domain_topic(&Arc::new(topic));
        }
        for (_, _, topic) in snapshot.scan_all(&SYSTEM_TOPICS, Scan::all().limit(ALL))? {
            state.insert_system_topic(&Arc::new(topic));
        }
        let rows = snapshot.scan_all(&SUBSCRIPTIONS, Scan::all().limit(ALL))?;
        state.insert_subscriptions(rows.into_iter().map(|(_, _, row)| Arc::new(row)));
        Ok(state)
    }

    /// The credentials of a principal, whose client id is in lower case.
    pub(crate) fn credentials_of(&self, client_id: &str) -> impl Iterator<Item = &Arc<Credential>> {
        let first = format!("{client_id}/");
        let all = self.credentials.range(first.clone()..);
        all.take_while(move |(key, _)| key.starts_with(&first))
            .map(|(_, one)| one)
    }

    pub(crate) fn insert_entrance(&mut self, one: &Arc<Entrance>) {
        match one.kind() {
            IntakeKind::Topic => {
                self.topics.insert(one.id.clone(), Arc::clone(one));
            }
            IntakeKind::Domain => {
                let topics = self.domains.get(&one.id).map(|known| &known.topics);
                let known = DomainState {
                    domain: Arc::clone(one),
                    topics: topics.cloned().unwrap_or_default(),
                };
                self.domains.insert(one.id.clone(), known);
            }
        }
        let wanted = self.open_source(&one.id, TopicKind::Custom);
        let intake = Intake::new(&one.id, one.kind(), &one.ingress, wanted);
        self.intakes.insert(intake);
    }

    pub(crate) fn insert_domain_topic(&mut self, topic: &Arc<DomainTopic>) {
        let domain = domain_topics::split(&topic.id).and_then(|(id, _)| self.domains.get_mut(&id));
        if let Some(domain) = domain {
            let name = folded(topic.id.name());
            domain.topics.insert(name, Arc::clone(topic));
            self.open_source(&topic.id, TopicKind::Custom);
        }
    }

    pub(crate) fn insert_system_topic(&mut self, topic: &Arc<SystemTopic>) {
        self.system_topics
            .insert(topic.id.clone(), Arc::clone(topic));
        self.open_source(&topic.source, kind_of(&topic.topic_type));
    }

    fn open_source(&mut self, source: &ResourceId, kind: TopicKind) -> Arc<Wanted> {
        if let Some(known) = self.sources.get(source) {
            return Arc::clone(&known.wanted);
        }
        let wanted = Arc::new(Wanted::new(kind));
        let empty = SourceState {
            kind,
            subscriptions: OrdMap::new(),
            wanted: Arc::clone(&wanted),
        };
        self.sources.insert(source.clone(), Arc::new(empty));
        wanted
    }

    /// Takes in subscriptions, building each source's index once however many they are.
    fn insert_subscriptions(&mut self, all: impl Iterator<Item = Arc<EventSubscription>>) {
        let mut by_source: std::collections::HashMap<ResourceId, OrdMap<String, _>> =
            std::collections::HashMap::new();
        for one in all {
            self.lanes.insert(one.lane, Arc::clone(&one));
            by_source
                .entry(one.source.clone())
                .or_default()
                .insert(folded(&one.name), one);
        }
        for (source, subscriptions) in by_source {
            self.replace_subscriptions(&source, subscriptions);
        }
    }

    /// Shows a new or changed subscription.
    pub(crate) fn insert_subscription(&mut self, one: &Arc<EventSubscription>) {
        let mut subscriptions = self.subscriptions_of(&one.source);
        if let Some(before) = subscriptions.insert(folded(&one.name), Arc::clone(one)) {
            self.lanes.remove(&before.lane);
        }
        self.lanes.insert(one.lane, Arc::clone(one));
        self.replace_subscriptions(&one.source, subscriptions);
    }

    /// Hides a deleted subscription.
    pub(crate) fn remove_subscription(&mut self, source: &ResourceId, name: &str) {
        let mut subscriptions = self.subscriptions_of(source);
        if let Some(before) = subscriptions.remove(&folded(name)) {
            self.lanes.remove(&before.lane);
        }
        self.replace_subscriptions(source, subscriptions);
    }

    /// Hides a source with all its subscriptions, and the topic, domain or domain topic that it is.
    pub(crate) fn remove_source(&mut self, source: &ResourceId) {
        if let Some(topic) = self.topics.remove(source) {
            self.intakes.remove(IntakeKind::Topic, topic.id.name());
        }
        if let Some(gone) = self.domains.remove(source) {
            let name = gone.domain.id.name();
            self.intakes.remove(IntakeKind::Domain, name);
        }
        if let Some((domain, name)) = domain_topics::split(source)
            && let Some(domain) = self.domains.get_mut(&domain)
        {
            domain.topics.remove(&folded(name));
        }
        if let Some(gone) = self.sources.remove(source) {
            // Whoever still holds its intake finds nobody there.
            gone.wanted.by(gone.kind, std::iter::empty());
            for one in gone.subscriptions.values() {
                self.lanes.remove(&one.lane);
            }
        }
    }

    pub(crate) fn subscriptions_of(
        &self,
        source: &ResourceId,
    ) -> OrdMap<String, Arc<EventSubscription>> {
        self.sources
            .get(source)
            .map(|source| source.subscriptions.clone())
            .unwrap_or_default()
    }

    /// Whose subscriptions hear of an event of that topic: the topic itself and, for a topic of a domain, the domain.
    pub(crate) fn audience(&self, topic: &ResourceId) -> impl Iterator<Item = &Arc<SourceState>> {
        let above = self.domain_above(topic).map(|(above, _)| &above.domain.id);
        let own = self.sources.get(topic);
        own.into_iter()
            .chain(above.and_then(|domain| self.sources.get(domain)))
    }

    fn replace_subscriptions(
        &mut self,
        source: &ResourceId,
        subscriptions: OrdMap<String, Arc<EventSubscription>>,
    ) {
        let kind = self
            .sources
            .get(source)
            .map_or(TopicKind::Communication, |source| source.kind);
        let wanted = self.open_source(source, kind);
        wanted.by(kind, subscriptions.values());
        let replaced = SourceState {
            kind,
            subscriptions,
            wanted,
        };
        self.sources.insert(source.clone(), Arc::new(replaced));
    }

    pub(crate) fn subscription(
        &self,
        source: &ResourceId,
        name: &str,
    ) -> Option<&Arc<EventSubscription>> {
        self.sources.get(source)?.subscriptions.get(&folded(name))
    }

    /// The system topic of a source. There is at most one.
    pub(crate) fn system_topic_of(&self, source: &ResourceId) -> Option<&Arc<SystemTopic>> {
        self.system_topics
            .values()
            .find(|topic| topic.source == *source)
    }
}

impl Inner {
    /// Makes one change of what exists: alone, and in a task of its own, so that a client who hangs up cannot stop it
    /// between the commit and what readers see.
    pub(crate) async fn change<T, E, F, C>(self: &Arc<Self>, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(Arc<Self>) -> C + Send + 'static,
        C: Future<Output = Result<T, E>> + Send,
    {
        let inner = Arc::clone(self);
        let (answer, answered) = oneshot::channel();
        let task = async move {
            let alone = inner.registry.changing.lock().await;
            let outcome = change(Arc::clone(&inner)).await;
            drop(alone);
            // Nobody listening means that the client has gone; the change stands all the same.
            let _ = answer.send(outcome);
        };
        (self.settings.spawn)("grid-change", Box::pin(task));
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Commits a change of the tables.
    pub(crate) async fn commit<T, F>(
        &self,
        partition: Partition,
        change: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let committed = self.store.write(partition, change).await;
        committed
            .map(gridpost_store::Committed::into_inner)
            .map_err(gridpost_store::WriteError::into_inner)
    }
}

/// What kind of source a topic type has. There is one type so far.
fn kind_of(topic_type: &str) -> TopicKind {
    if topic_type.eq_ignore_ascii_case(COMMUNICATION_TOPIC_TYPE) {
        TopicKind::Communication
    } else {
        TopicKind::Custom
    }
}

/// Names compare without case.
pub(crate) fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}
