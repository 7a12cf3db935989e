//! Where events come in: what publishers meet at a topic or a domain.
//!
//! Promise: an intake is found by its name without taking memory for it, and knows who wants its events at every
//! moment, also while its resource is being changed.
//! Not here: topics and domains as resources (`entrances`), accepting events (`publish`), how a caller proves
//! who it is (`api`).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use gridpost_model::filter::TopicKind;
use gridpost_model::mapping::InputSchema;
use gridpost_model::subscription::{EventSubscription, LaneId, ProvisioningState};
use gridpost_model::{Chance, Event, KeyPair, ResourceId};
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
    /// `inputSchema` and `inputSchemaMapping`. The Event Grid schema when nothing is said, or what is there already.
    pub input: Option<InputSchema>,
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
        if let Some(InputSchema::Custom(Some(mapping))) = &self.input {
            let field = "properties.inputSchemaMapping";
            let checked = mapping.check();
            checked.map_err(|bad| Invalid::new(field, bad.to_string()))?;
        }
        self.access.check()?;
        check_shown(&self.shown)
    }

    /// What results beside what is there. Pure but for the fresh keys.
    pub(crate) fn beside(
        self,
        before: Option<&Ingress>,
        chance: &dyn Chance,
    ) -> Result<Ingress, Invalid> {
        let Self {
            input,
            disable_local_auth,
            access,
            shown,
        } = self;
        let known = before.map(|before| &before.input);
        let input = input.or(known.cloned()).unwrap_or_default();
        // Subscriptions were allowed for the schema that was (section 1.4), and events of it may still be on their way.
        if known.is_some_and(|known| known.schema() != input.schema()) {
            let message = "The input schema cannot be changed.";
            return Err(Invalid::new("properties.inputSchema", message));
        }
        let keys = before.map(|before| before.keys.clone());
        let keys = keys.unwrap_or_else(|| KeyPair::generate(chance));
        Ok(Ingress {
            input,
            keys,
            disable_local_auth,
            access,
            shown,
        })
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

/// Checks the name of a topic or a domain. Source: reference event-grid 3.3.
pub(crate) fn check_name(kind: IntakeKind, name: &str) -> Result<(), Invalid> {
    let what = match kind {
        IntakeKind::Topic => "topic",
        IntakeKind::Domain => "domain",
    };
    if !is_plain_name(name) {
        let message = format!(
            "The {what} name must be 3 to 50 characters long and contain only letters, digits and '-'."
        );
        return Err(Invalid::new("name", message));
    }
    let folded = name.to_ascii_lowercase();
    if RESERVED.iter().any(|word| folded.starts_with(word)) {
        let message =
            format!("The {what} name must not start with 'Microsoft', 'EventGrid' or 'System'.");
        return Err(Invalid::new("name", message));
    }
    Ok(())
}

const RESERVED: [&str; 3] = ["microsoft", "eventgrid", "system"];

/// 3 to 50 letters, digits and hyphens.
pub(crate) fn is_plain_name(name: &str) -> bool {
    (3..=50).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
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
        let mut open = Open::of(kind, all);
        open.index.count_on(&self.0.load().index);
        self.0.store(Arc::new(open));
    }

    /// The lanes that want an event.
    pub(crate) fn matches(&self, event: &Event) -> Lanes {
        self.0.load().index.matches(event)
    }

    /// How many advanced filters were evaluated, by lane.
    pub(crate) fn evaluated(&self, counts: &mut HashMap<LaneId, u64>) {
        counts.extend(self.0.load().index.evaluated());
    }

    /// The open lanes.
    pub(crate) fn lanes(&self) -> Arc<[LaneId]> {
        Arc::clone(&self.0.load().lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Counting;

    #[test]
    fn section_3_3_names() {
        for kind in [IntakeKind::Topic, IntakeKind::Domain] {
            for name in ["abc", "orders-2", &"x".repeat(50)] {
                assert!(check_name(kind, name).is_ok(), "{name}");
            }
            for name in [
                "ab",
                &"x".repeat(51),
                "a_b",
                "a b c",
                "Microsoft1",
                "eventgridx",
                "SYSTEM-1",
            ] {
                assert!(check_name(kind, name).is_err(), "{name}");
            }
        }
    }

    fn spec(input: Option<InputSchema>) -> IngressSpec {
        IngressSpec {
            input,
            ..IngressSpec::default()
        }
    }

    #[test]
    fn keys_and_schema_stay_when_nothing_is_said_of_them() {
        let chance = Counting::default();
        let cloud = Some(InputSchema::CloudEvents);
        let first = spec(cloud).beside(None, &chance).unwrap();
        let again = spec(None).beside(Some(&first), &chance).unwrap();
        assert_eq!(again, first);
        let fresh = spec(None).beside(None, &chance).unwrap();
        assert_eq!(fresh.input, InputSchema::EventGrid);
        assert_ne!(fresh.keys, first.keys);
    }

    #[test]
    fn the_schema_stays_and_its_mapping_may_change() {
        let chance = Counting::default();
        let custom = |mapping| spec(Some(InputSchema::Custom(mapping)));
        let first = custom(None).beside(None, &chance).unwrap();
        let mapped = custom(Some(gridpost_model::mapping::Mapping::default()));
        assert!(mapped.beside(Some(&first), &chance).is_ok());
        let other = spec(Some(InputSchema::EventGrid)).beside(Some(&first), &chance);
        assert_eq!(other.unwrap_err().field, "properties.inputSchema");
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let chance = Counting::default();
        let before = spec(None).beside(None, &chance).unwrap();
        let mut after = before.clone();
        let rule = "10.0.0.0/8".parse().unwrap();
        let patch = IngressPatch {
            inbound_ip_rules: Some(vec![rule]),
            ..IngressPatch::default()
        };
        patch.apply(&mut after).unwrap();
        assert_eq!(after.access.inbound_ip_rules[0].mask(), "10.0.0.0/8");
        after.access = before.access.clone();
        assert_eq!(after, before);
    }

    #[test]
    fn a_description_that_never_ends_is_not_kept() {
        let long = Value::from("x".repeat(SHOWN_BYTES));
        let shown = Shown::from([("eventTypeInfo".to_owned(), long)]);
        let spec = IngressSpec {
            shown,
            ..IngressSpec::default()
        };
        assert!(spec.check().is_err());
    }
}
