//! Communication resources.
//!
//! Promise: a resource keeps its immutable id and its keys for life; its event shape follows from its tags, so that
//! every Resource Manager client can choose it.
//! Not here: the numbers it owns (`numbers`), who is told of its events (`grid`).

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_grid::manage::{Created, Invalid, ManageError};
use gridpost_grid::scope::Scope;
use gridpost_model::{Chance, KeyPair, ResourceId, Timestamp, WhichKey};
use gridpost_store::{Partition, Scan, StoreError, Txn, WriteError};
use serde::{Deserialize, Serialize};

use crate::{Comms, tables};

/// The type of a communication resource.
pub const RESOURCE_TYPE: &str = "Microsoft.Communication/communicationServices";

/// How many resources there are at most. Each is kept in memory, with its counters.
pub const MOST_RESOURCES: usize = 1_000;

/// How many domains a resource is linked to at most, so that all links together stay below some 30 MB.
pub const MOST_LINKED_DOMAINS: usize = 100;

/// The tag that chooses the event shape.
pub const EVENT_SHAPE_TAG: &str = "gridpost-event-shape";

/// A communication resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommunicationService {
    /// Its resource id.
    pub id: ResourceId,
    /// `location`: `global`.
    pub location: String,
    /// `dataLocation`: never changes.
    pub data_location: String,
    /// `tags`.
    pub tags: BTreeMap<String, String>,
    /// `immutableResourceId`: a GUID that no other resource ever has, not even one of the same name made later.
    pub immutable_id: String,
    /// `hostName`. Follows the address we listen on, so it is not stored.
    #[serde(skip)]
    pub host_name: String,
    /// The access keys.
    pub keys: KeyPair,
    /// `disableLocalAuth`: access keys are refused.
    pub disable_local_auth: bool,
    /// `publicNetworkAccess`, as it was given; it changes nothing here.
    pub public_network_access: String,
    /// `linkedDomains`.
    pub linked_domains: Vec<String>,
    /// `notificationHubId`: kept and shown, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_hub_id: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// The shape of a resource's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventShape {
    /// Today's type names and fields.
    #[default]
    Current,
    /// The shape of the year 2020: Pascal-case SMS fields, none that were added since.
    Of2020,
}

impl EventShape {
    /// Reads the value of the tag: `current` or `2020-09`.
    pub fn from_tag(value: &str) -> Option<Self> {
        match value {
            "current" => Some(Self::Current),
            "2020-09" => Some(Self::Of2020),
            _ => None,
        }
    }

    /// The value of the tag.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Of2020 => "2020-09",
        }
    }
}

/// Which domains a resource is to be linked to.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// The ids of all of them.
    pub domains: Vec<String>,
    /// Those that whoever asks has a say in. The others stay linked if they are, and are not linked anew.
    pub granted: Vec<String>,
}

/// What a put says of a resource. `None` keeps what is, or takes the default of a new resource.
#[derive(Clone, Debug, Default)]
pub struct ServiceSpec {
    /// `location`.
    pub location: String,
    /// `dataLocation`.
    pub data_location: String,
    /// `tags`.
    pub tags: BTreeMap<String, String>,
    /// `disableLocalAuth`.
    pub disable_local_auth: Option<bool>,
    /// `publicNetworkAccess`.
    pub public_network_access: Option<String>,
    /// `linkedDomains`.
    pub linked_domains: Option<Links>,
}

/// What a patch says of a resource. `None` keeps what is.
#[derive(Clone, Debug, Default)]
pub struct ServicePatch {
    /// `tags`: replaced as a whole.
    pub tags: Option<BTreeMap<String, String>>,
    /// `disableLocalAuth`.
    pub disable_local_auth: Option<bool>,
    /// `publicNetworkAccess`.
    pub public_network_access: Option<String>,
    /// `linkedDomains`.
    pub linked_domains: Option<Links>,
}

impl CommunicationService {
    /// The shape of its events. A tag that names no shape was refused when it was written.
    pub fn event_shape(&self) -> EventShape {
        shape_of(&self.tags).unwrap_or_default()
    }

    /// Whether it is linked to a domain.
    pub(crate) fn is_linked_to(&self, domain: &ResourceId) -> bool {
        let mut all = self.linked_domains.iter();
        all.any(|one| one.eq_ignore_ascii_case(domain.as_str()))
    }

    pub(crate) fn without_domain(&self, domain: &ResourceId) -> Self {
        let mut changed = self.clone();
        let other = |one: &String| !one.eq_ignore_ascii_case(domain.as_str());
        changed.linked_domains.retain(other);
        changed
    }

    /// Where its rows live.
    pub(crate) fn partition(&self) -> Partition {
        Partition::of(&self.id)
    }

    /// Whether it exists, as a transaction of its partition sees it; another one of its name does not count.
    pub(crate) fn is_kept(&self, txn: &Txn<'_>) -> Result<bool, StoreError> {
        let row = txn.get(&tables::SERVICES, self.id.key())?;
        Ok(row.is_some_and(|row| row.immutable_id == self.immutable_id))
    }

    /// Without links.
    fn new(id: ResourceId, spec: ServiceSpec, chance: &dyn Chance, now: Timestamp) -> Self {
        Self {
            id,
            location: spec.location,
            data_location: spec.data_location,
            tags: spec.tags,
            immutable_id: chance.uuid(),
            host_name: String::new(),
            keys: KeyPair::generate(chance),
            disable_local_auth: spec.disable_local_auth.unwrap_or(false),
            public_network_access: spec
                .public_network_access
                .unwrap_or_else(|| "Enabled".into()),
            linked_domains: Vec::new(),
            notification_hub_id: None,
            created: now,
            updated: now,
        }
    }

    /// With its links as they are.
    fn changed_by(&self, patch: ServicePatch, now: Timestamp) -> Self {
        let mut changed = self.clone();
        changed.tags = patch.tags.unwrap_or(changed.tags);
        changed.disable_local_auth = patch
            .disable_local_auth
            .unwrap_or(changed.disable_local_auth);
        changed.public_network_access = patch
            .public_network_access
            .unwrap_or(changed.public_network_access);
        changed.updated = now;
        changed
    }
}

fn shape_of(tags: &BTreeMap<String, String>) -> Result<EventShape, Invalid> {
    // Tag names compare without case, as everywhere in Resource Manager.
    let tag = tags
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(EVENT_SHAPE_TAG));
    let Some((_, value)) = tag else {
        return Ok(EventShape::default());
    };
    EventShape::from_tag(value).ok_or_else(|| Invalid {
        field: "tags",
        message: format!("The tag '{EVENT_SHAPE_TAG}' is 'current' or '2020-09'."),
    })
}

/// `^[-\w]+$`, 1 to 63.
fn check_name(name: &str) -> Result<(), Invalid> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=63).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    let message = "A resource name has 1 to 63 letters, digits, '-' and '_'.".into();
    Err(Invalid {
        field: "name",
        message,
    })
}

impl Comms {
    /// Makes a resource, or changes the one of that id.
    ///
    /// # Errors
    /// A value is not acceptable, or nothing could be kept.
    pub async fn put_resource(
        &self,
        id: ResourceId,
        spec: ServiceSpec,
    ) -> Result<(Arc<CommunicationService>, Created), ManageError> {
        let comms = self.clone();
        let work = async move {
            let _managing = comms.0.managing.lock().await;
            comms.put_resource_now(id, spec).await
        };
        self.0
            .to_the_end("put communication resource", work)
            .await?
    }

    async fn put_resource_now(
        &self,
        id: ResourceId,
        spec: ServiceSpec,
    ) -> Result<(Arc<CommunicationService>, Created), ManageError> {
        check_name(id.name())?;
        shape_of(&spec.tags)?;
        let now = self.0.settings.clock.now();
        let found = self.resource(&id);
        let linked = found
            .as_ref()
            .map_or(&[][..], |found| &found.linked_domains);
        let linked = self.linked(linked, spec.linked_domains.clone())?;
        let Some(found) = found else {
            if MOST_RESOURCES <= self.all_resources().len() {
                let message =
                    format!("There are {MOST_RESOURCES} communication resources already.");
                return Err(ManageError::Conflict(message));
            }
            let mut made = CommunicationService::new(id, spec, &*self.0.settings.chance, now);
            made.linked_domains = linked;
            return Ok((self.keep(made).await?, Created::New));
        };
        if !found
            .data_location
            .eq_ignore_ascii_case(&spec.data_location)
        {
            let message = "The data location of a resource cannot be changed.".into();
            return Err(Invalid {
                field: "properties.dataLocation",
                message,
            }
            .into());
        }
        let patch = ServicePatch {
            tags: Some(spec.tags),
            disable_local_auth: spec.disable_local_auth,
            public_network_access: spec.public_network_access,
            linked_domains: None,
        };
        let mut changed = found.changed_by(patch, now);
        changed.linked_domains = linked;
        Ok((self.keep(changed).await?, Created::Updated))
    }

    /// The links that are asked for, each as its domain is written; without any, what there is. Mail is sent from domains
    /// that exist and were verified.
    fn linked(&self, before: &[String], asked: Option<Links>) -> Result<Vec<String>, ManageError> {
        let Some(Links { domains, granted }) = asked else {
            return Ok(before.to_vec());
        };
        let invalid = |message| Invalid {
            field: "properties.linkedDomains",
            message,
        };
        let has = |all: &[String], id: &str| all.iter().any(|one| one.eq_ignore_ascii_case(id));
        let mut linked = Vec::new();
        for text in domains {
            let domain = text.parse().ok().and_then(|id| self.mail(&id));
            let domain = domain
                .filter(|one| one.is_verified_domain())
                .ok_or_else(|| {
                    invalid(format!(
                        "Requested domain '{text}' does not exist or is not verified."
                    ))
                })?;
            if !has(before, &text) && !has(&granted, &text) {
                let message = "The domains of the resource were changed meanwhile. Try again.";
                return Err(ManageError::Conflict(message.to_owned()));
            }
            if !has(&linked, &text) {
                linked.push(domain.id.to_string());
            }
            if MOST_LINKED_DOMAINS < linked.len() {
                let message =
                    format!("A resource is linked to at most {MOST_LINKED_DOMAINS} domains.");
                return Err(invalid(message).into());
            }
        }
        Ok(linked)
    }

    /// Changes a resource.
    ///
    /// # Errors
    /// There is no such resource, a value is not acceptable, or nothing could be kept.
    pub async fn patch_resource(
        &self,
        id: &ResourceId,
        mut patch: ServicePatch,
    ) -> Result<Arc<CommunicationService>, ManageError> {
        self.change_resource(id, move |found, comms| {
            if let Some(tags) = &patch.tags {
                shape_of(tags)?;
            }
            let links = patch.linked_domains.take();
            let linked = comms.linked(&found.linked_domains, links)?;
            let mut changed = found.changed_by(patch, comms.0.settings.clock.now());
            changed.linked_domains = linked;
            Ok(changed)
        })
        .await
    }

    /// Replaces one of the two keys by a fresh one; the old one is refused from now on.
    ///
    /// # Errors
    /// There is no such resource, or nothing could be kept.
    pub async fn regenerate_key(
        &self,
        id: &ResourceId,
        which: WhichKey,
    ) -> Result<Arc<CommunicationService>, ManageError> {
        self.change_resource(id, move |found, comms| {
            let mut changed = found.clone();
            changed.keys.regenerate(which, &*comms.0.settings.chance);
            changed.updated = comms.0.settings.clock.now();
            Ok(changed)
        })
        .await
    }

    /// Writes down which notification hub a resource is linked to.
    ///
    /// # Errors
    /// There is no such resource, or nothing could be kept.
    pub async fn link_notification_hub(
        &self,
        id: &ResourceId,
        hub: String,
    ) -> Result<Arc<CommunicationService>, ManageError> {
        self.change_resource(id, move |found, comms| {
            let mut changed = found.clone();
            changed.notification_hub_id = Some(hub);
            changed.updated = comms.0.settings.clock.now();
            Ok(changed)
        })
        .await
    }

    async fn change_resource(
        &self,
        id: &ResourceId,
        change: impl FnOnce(&CommunicationService, &Self) -> Result<CommunicationService, ManageError>
        + Send
        + 'static,
    ) -> Result<Arc<CommunicationService>, ManageError> {
        let comms = self.clone();
        let id = id.clone();
        let work = async move {
            let _managing = comms.0.managing.lock().await;
            let found = comms.resource(&id).ok_or(ManageError::NotFound(id))?;
            comms
                .keep(change(&found, &comms)?)
                .await
                .map_err(ManageError::from)
        };
        self.0
            .to_the_end("change communication resource", work)
            .await?
    }

    pub(crate) async fn keep(
        &self,
        mut service: CommunicationService,
    ) -> Result<Arc<CommunicationService>, StoreError> {
        service.host_name.clone_from(&self.0.settings.host_name);
        let service = Arc::new(service);
        let row = Arc::clone(&service);
        self.0
            .store
            .write(service.partition(), move |txn| {
                txn.put(&tables::SERVICES, row.id.key(), &*row)
            })
            .await
            .map_err(WriteError::into_inner)?;
        self.0.registry.put_service(Arc::clone(&service));
        Ok(service)
    }

    /// Deletes a resource with its numbers, opt-outs and identities; its event subscriptions end. Tells whether there
    /// was one.
    ///
    /// # Errors
    /// Nothing, or not everything, could be kept; asking again finishes it.
    pub async fn delete_resource(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let comms = self.clone();
        let id = id.clone();
        let work = async move {
            let _managing = comms.0.managing.lock().await;
            comms.delete_resource_now(&id).await
        };
        self.0
            .to_the_end("delete communication resource", work)
            .await?
    }

    /// The numbers go first and the resource last, so that a deletion cut short can be asked for again.
    pub(crate) async fn delete_resource_now(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let Some(service) = self.resource(id) else {
            return Ok(false);
        };
        for number in self.numbers_of(id) {
            self.release_now(number).await?;
        }
        self.0.grid.remove_source(id).await?;
        self.forget_mail_below(id).await?;
        loop {
            while 0 < self.forget_opt_outs(&service).await? {}
            while 0 < self.forget_identities(&service).await? {}
            while 0 < self.forget_chat(&service).await? {}
            if self.remove_row(&service).await? {
                break;
            }
        }
        self.0.registry.remove_service(id);
        // Whoever subscribed meanwhile had still found it.
        self.0.grid.remove_source(id).await?;
        self.0.live.all_look_again();
        Ok(true)
    }

    /// Removes a resource's own row, unless somebody came in while the rest was being removed. Tells whether it did.
    async fn remove_row(&self, service: &Arc<CommunicationService>) -> Result<bool, StoreError> {
        let row = Arc::clone(service);
        let removed = self
            .0
            .store
            .write(service.partition(), move |txn| {
                let one = || Scan::prefix(row.immutable_id.as_str()).limit(1);
                let is_empty = txn.scan(&tables::IDENTITIES, one())?.is_empty()
                    && txn.scan(&tables::THREADS, one())?.is_empty();
                if is_empty {
                    txn.remove(&tables::SERVICES, row.id.key())?;
                }
                Ok(is_empty)
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        Ok(removed.into_inner())
    }

    /// Removes some opt-outs of a resource, as many as fit a transaction; tells how many.
    async fn forget_opt_outs(
        &self,
        service: &Arc<CommunicationService>,
    ) -> Result<usize, StoreError> {
        let service = Arc::clone(service);
        let removed = self
            .0
            .store
            .write(service.partition(), move |txn| {
                let of_resource = Scan::prefix(service.immutable_id.as_str());
                let found = txn.scan(&tables::OPT_OUTS, of_resource)?;
                for (_, row) in &found {
                    txn.remove(&tables::OPT_OUTS, row.key(&service))?;
                }
                Ok(found.len())
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        Ok(removed.into_inner())
    }

    /// The resource of that id.
    pub fn resource(&self, id: &ResourceId) -> Option<Arc<CommunicationService>> {
        self.0.registry.service(id)
    }

    /// The resources within a scope, in order of their ids.
    pub fn resources(&self, scope: &Scope) -> Vec<Arc<CommunicationService>> {
        let all = self.all_resources();
        all.iter()
            .filter(|service| scope.holds(&service.id))
            .cloned()
            .collect()
    }

    /// Every resource, in order of their ids. Costs one pointer copy.
    pub fn all_resources(&self) -> Arc<[Arc<CommunicationService>]> {
        self.0.registry.all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("Gridpost-Event-Shape".to_owned(), value.to_owned())])
    }

    #[test]
    fn the_tag_chooses_the_shape_in_any_case_of_its_name() {
        assert_eq!(shape_of(&tags("2020-09")).unwrap(), EventShape::Of2020);
        assert_eq!(shape_of(&tags("current")).unwrap(), EventShape::Current);
        assert_eq!(shape_of(&BTreeMap::new()).unwrap(), EventShape::Current);
    }

    #[test]
    fn a_tag_that_names_no_shape_is_refused() {
        assert_eq!(shape_of(&tags("2019")).unwrap_err().field, "tags");
    }

    #[test]
    fn names_keep_to_the_pattern() {
        assert!(check_name("dev-1_x").is_ok());
        for name in ["", "a.b", "a b", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
