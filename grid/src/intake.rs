//! Where events come in: what publishers meet at a topic or a domain.
//!
//! Promise: an intake is found by its name without taking memory for it, and knows who wants its events at every
//! moment, also while its resource is being changed.
//! Not here: topics and domains as resources (`topics`, `domains`), accepting events (`publish`), how a caller proves
//! who it is (`api`).

use std::sync::{Arc, OnceLock};

use gridpost_model::filter::TopicKind;
use gridpost_model::mapping::InputSchema;
use gridpost_model::subscription::{EventSubscription, LaneId, ProvisioningState};
use gridpost_model::{Event, KeyPair, ResourceId};
use gridpost_store::Partition;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smallvec::SmallVec;

use arc_swap::ArcSwap;

use crate::Grid;
use crate::access::Access;
use crate::manage::Invalid;
use crate::matching::{Lanes, TopicIndex};
use crate::metrics::{TopicCounts, Topics};

/// The part of a topic or a domain that publishers meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingress {
    /// `inputSchema` and `inputSchemaMapping`: what publishers send.
    #[serde(rename = "input_schema")]
    pub input: InputSchema,
    /// What publishers authenticate with.
    pub keys: KeyPair,
    /// `disableLocalAuth`: keys are not accepted.
    #[serde(default)]
    pub disable_local_auth: bool,
    /// `publicNetworkAccess` and `inboundIpRules`.
    #[serde(default)]
    pub access: Access,
    /// What is kept to be shown and changes nothing here: `minimumTlsVersionAllowed`, `dataResidencyBoundary`,
    /// `eventTypeInfo`, by their names on the wire.
    #[serde(default)]
    pub shown: Shown,
}

/// Properties that are kept to be shown, by their names on the wire.
pub type Shown = std::collections::BTreeMap<String, Value>;

/// The most bytes of [`Shown`] values: they describe, and rows of resources stay small. The service publishes no bound.
const SHOWN_BYTES: usize = 64 * 1024;

/// What a put says of an [`Ingress`].
#[derive(Clone, Debug, Default)]
pub struct IngressSpec {
    /// `inputSchema` and `inputSchemaMapping`.
    pub input: InputSchema,
    /// `disableLocalAuth`.
    pub disable_local_auth: bool,
    /// `publicNetworkAccess` and `inboundIpRules`.
    pub access: Access,
    /// What is kept to be shown.
    pub shown: Shown,
}

/// What a patch says of an [`Ingress`]; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct IngressPatch {
    /// `disableLocalAuth`.
    pub disable_local_auth: Option<bool>,
    /// `publicNetworkAccess`.
    pub public_network: Option<bool>,
    /// `inboundIpRules`, all of them.
    pub inbound_ip_rules: Option<Vec<crate::access::IpRule>>,
    /// What is kept to be shown, as far as it changes.
    pub shown: Shown,
}

impl IngressSpec {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if let InputSchema::Custom(Some(mapping)) = &self.input {
            let field = "properties.inputSchemaMapping";
            let checked = mapping.check();
            checked.map_err(|bad| Invalid::new(field, bad.to_string()))?;
        }
        self.access.check()?;
        check_shown(&self.shown)
    }

    pub(crate) fn with(self, keys: KeyPair) -> Ingress {
        let Self {
            input,
            disable_local_auth,
            access,
            shown,
        } = self;
        Ingress {
            input,
            keys,
            disable_local_auth,
            access,
            shown,
        }
    }
}

impl IngressPatch {
    pub(crate) fn apply(self, ingress: &mut Ingress) -> Result<(), Invalid> {
        if let Some(disable) = self.disable_local_auth {
            ingress.disable_local_auth = disable;
        }
        if let Some(public) = self.public_network {
            ingress.access.public_network = public;
        }
        if let Some(rules) = self.inbound_ip_rules {
            ingress.access.inbound_ip_rules = rules;
        }
        ingress.shown.extend(self.shown);
        ingress.access.check()?;
        check_shown(&ingress.shown)
    }
}

fn check_shown(shown: &Shown) -> Result<(), Invalid> {
    let size_bytes: usize = shown.values().map(|value| value.to_string().len()).sum();
    if size_bytes <= SHOWN_BYTES {
        return Ok(());
    }
    let message = format!("The description of event types is longer than {SHOWN_BYTES} bytes.");
    Err(Invalid::new("properties.eventTypeInfo", message))
}

/// What takes events in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntakeKind {
    /// A custom topic.
    Topic,
    /// A domain; each event names a topic of it.
    Domain,
}

/// What a publisher meets, and whom its events go to.
pub struct Intake {
    /// The id of the topic or domain.
    pub id: ResourceId,
    /// Which of the two it is.
    pub kind: IntakeKind,
    /// What publishers send.
    pub input: InputSchema,
    /// What publishers authenticate with.
    pub keys: KeyPair,
    /// Keys are not accepted.
    pub disable_local_auth: bool,
    /// Who may come.
    pub access: Access,
    pub(crate) partition: Partition,
    pub(crate) wanted: Arc<Wanted>,
    counts: OnceLock<Arc<TopicCounts>>,
}

impl Intake {
    pub(crate) fn new(
        id: &ResourceId,
        kind: IntakeKind,
        ingress: &Ingress,
        wanted: Arc<Wanted>,
    ) -> Self {
        let ingress = ingress.clone();
        Self {
            id: id.clone(),
            kind,
            input: ingress.input,
            keys: ingress.keys,
            disable_local_auth: ingress.disable_local_auth,
            access: ingress.access,
            partition: Partition::of(id),
            wanted,
            counts: OnceLock::new(),
        }
    }

    pub(crate) fn counts(&self, all: &Topics) -> &TopicCounts {
        self.counts.get_or_init(|| all.of(&self.id))
    }
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind, self.id)
    }
}

impl Grid {
    /// What takes events in under a name, in any case.
    pub fn intake(&self, kind: IntakeKind, name: &str) -> Option<Arc<Intake>> {
        self.0.registry.intake(kind, name)
    }
}

/// Who wants the events of one source at this moment. Shared by all pictures of the source, so that whoever holds an
/// intake while subscriptions change still asks the present ones.
pub(crate) struct Wanted(ArcSwap<Open>);

/// The subscriptions that receive events.
struct Open {
    index: TopicIndex,
    lanes: Arc<[LaneId]>,
}

impl Open {
    /// A failed subscription receives nothing; one that waits for a visit collects its events.
    fn of<'a>(kind: TopicKind, all: impl Iterator<Item = &'a Arc<EventSubscription>>) -> Self {
        let open: SmallVec<[_; 16]> = all
            .filter(|one| one.state != ProvisioningState::Failed)
            .collect();
        let index = TopicIndex::new(kind, open.iter().copied());
        let lanes = open.iter().map(|one| one.lane).collect();
        Self { index, lanes }
    }
}

impl Wanted {
    /// By nobody.
    pub(crate) fn new(kind: TopicKind) -> Self {
        Self(ArcSwap::from_pointee(Open::of(kind, std::iter::empty())))
    }

    /// From now on by these.
    pub(crate) fn by<'a>(
        &self,
        kind: TopicKind,
        all: impl Iterator<Item = &'a Arc<EventSubscription>>,
    ) {
        self.0.store(Arc::new(Open::of(kind, all)));
    }

    /// The lanes that want an event.
    pub(crate) fn matches(&self, event: &Event) -> Lanes {
        self.0.load().index.matches(event)
    }

    /// The open lanes.
    pub(crate) fn lanes(&self) -> Arc<[LaneId]> {
        Arc::clone(&self.0.load().lanes)
    }
}
