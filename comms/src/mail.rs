//! What Resource Manager knows of email: services, their domains, senders and suppression lists, and SMTP user names.
//!
//! Promise: a resource lives below one that exists, and goes with it. What is here was committed. A change is decided on
//! what is there when it is made, so none is lost and nothing comes back. A domain stays, and stays verified, while a
//! communication resource is linked to it.
//! Not here: sending mail; which properties each type has, which is the caller's to decide.
//! Source: reference management 6.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_grid::manage::{Created, Invalid, ManageError};
use gridpost_grid::scope::Scope;
use gridpost_model::{ResourceId, Timestamp};
use gridpost_store::{Partition, Scan, Store, StoreError, WriteError};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resources::CommunicationService;
use crate::{Comms, tables};

/// How many resources there are directly below one at most, so that one service or list does not take all the room there
/// is ([`MOST_IN_ALL`]).
pub const MOST_BELOW: usize = 10_000;

/// How many there are in all: they are kept in memory, usually some 500 bytes each and 5 KB at most.
pub const MOST_IN_ALL: usize = 100_000;

/// How many email services there are at most.
pub const MOST_SERVICES: usize = 1_000;

/// How many characters a name has at most: as many as a domain, which has the longest.
const MOST_NAME_CHARS: usize = 253;

/// The property of a domain that tells which of its records are verified.
pub const VERIFICATION_STATES: &str = "verificationStates";

/// How many rows one transaction removes.
const REMOVED_AT_ONCE: usize = 500;

/// What kind of resource it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailKind {
    /// `emailServices`.
    Service,
    /// `emailServices/domains`.
    Domain,
    /// `emailServices/domains/senderUsernames`.
    Sender,
    /// `emailServices/domains/suppressionLists`.
    SuppressionList,
    /// `emailServices/domains/suppressionLists/suppressionListAddresses`.
    SuppressedAddress,
    /// `communicationServices/smtpUsernames`.
    SmtpUsername,
}

impl MailKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Service,
        Self::Domain,
        Self::Sender,
        Self::SuppressionList,
        Self::SuppressedAddress,
        Self::SmtpUsername,
    ];

    /// `Microsoft.Communication/emailServices`.
    pub const fn resource_type(self) -> &'static str {
        match self {
            Self::Service => "Microsoft.Communication/emailServices",
            Self::Domain => "Microsoft.Communication/emailServices/domains",
            Self::Sender => "Microsoft.Communication/emailServices/domains/senderUsernames",
            Self::SuppressionList => {
                "Microsoft.Communication/emailServices/domains/suppressionLists"
            }
            Self::SuppressedAddress => {
                "Microsoft.Communication/emailServices/domains/suppressionLists/suppressionListAddresses"
            }
            Self::SmtpUsername => "Microsoft.Communication/communicationServices/smtpUsernames",
        }
    }

    /// The kind of what an id names.
    pub fn of(id: &ResourceId) -> Option<Self> {
        let own = id.resource_type()?;
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.resource_type().eq_ignore_ascii_case(&own))
    }
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailResource {
    /// Its resource id.
    pub id: ResourceId,
    /// `location`; empty for what has none.
    pub location: String,
    /// `tags`.
    pub tags: BTreeMap<String, String>,
    /// What was given, and what was made up for it, by its name on the wire.
    pub properties: BTreeMap<String, Value>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

impl MailResource {
    /// Whether it is a domain that may be linked: mail from it would be believed.
    pub fn is_verified_domain(&self) -> bool {
        MailKind::of(&self.id) == Some(MailKind::Domain) && is_verified(&self.properties)
    }
}

fn is_verified(properties: &BTreeMap<String, Value>) -> bool {
    let states = properties.get(VERIFICATION_STATES);
    states.is_some_and(|states| states["Domain"] == "Verified")
}

/// What is kept of a resource.
#[derive(Clone, Debug, Default)]
pub struct MailSpec {
    /// `location`.
    pub location: String,
    /// `tags`.
    pub tags: BTreeMap<String, String>,
    /// The properties.
    pub properties: BTreeMap<String, Value>,
}

/// All of them, by folded id.
#[derive(Default)]
pub(crate) struct Mail(RwLock<BTreeMap<String, Arc<MailResource>>>);

impl Mail {
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let everything = Scan::all().limit(usize::MAX);
        let rows = store
            .snapshot()
            .scan(&tables::MAIL, Partition::DIRECTORY, everything)?;
        let all = rows
            .into_iter()
            .map(|(_, one)| (one.id.key().to_owned(), Arc::new(one)));
        Ok(Self(RwLock::new(all.collect())))
    }

    fn below(&self, parent: &ResourceId) -> Vec<Arc<MailResource>> {
        let first = format!("{}/", parent.key());
        let all = self.0.read();
        all.range(first.clone()..)
            .take_while(|(key, _)| key.starts_with(&first))
            .map(|(_, one)| Arc::clone(one))
            .collect()
    }

    fn count_directly_below(&self, parent: &ResourceId) -> usize {
        let first = format!("{}/", parent.key());
        let depth = parent.key().matches('/').count() + 2;
        let all = self.0.read();
        all.range(first.clone()..)
            .take_while(|(key, _)| key.starts_with(&first))
            .filter(|(key, _)| key.matches('/').count() == depth)
            .count()
    }
}

impl Comms {
    /// Makes a resource, or writes it anew, as is decided on the one that is there. Nobody changes it in between.
    ///
    /// # Errors
    /// It was decided against, what it lives below does not exist or is full, a domain that is linked would not be
    /// verified any more, or nothing could be kept.
    pub async fn put_mail<E>(
        &self,
        id: ResourceId,
        decide: impl FnOnce(Option<&MailResource>) -> Result<MailSpec, E> + Send + 'static,
    ) -> Result<(Arc<MailResource>, Created), E>
    where
        E: From<ManageError> + Send + 'static,
    {
        let comms = self.clone();
        let work = async move {
            let _managing = comms.0.managing.lock().await;
            let found = comms.mail(&id);
            let spec = decide(found.as_deref())?;
            Ok(comms.keep_mail(id, found, spec).await?)
        };
        let done = self.0.to_the_end("put email resource", work).await;
        done.map_err(ManageError::from)?
    }

    async fn keep_mail(
        &self,
        id: ResourceId,
        found: Option<Arc<MailResource>>,
        spec: MailSpec,
    ) -> Result<(Arc<MailResource>, Created), ManageError> {
        let now = self.0.settings.clock.now();
        match &found {
            None => self.require_room(&id)?,
            Some(found) if found.is_verified_domain() && !is_verified(&spec.properties) => {
                self.require_unlinked(&id)?;
            }
            Some(_) => (),
        }
        if found.is_none() {
            self.unlink(&id).await?;
        }
        let outcome = match found {
            Some(_) => Created::Updated,
            None => Created::New,
        };
        let one = MailResource {
            id: found.as_ref().map_or(id, |found| found.id.clone()),
            location: spec.location,
            tags: spec.tags,
            properties: spec.properties,
            created: found.map_or(now, |found| found.created),
            updated: now,
        };
        let one = Arc::new(one);
        let row = Arc::clone(&one);
        self.0
            .store
            .write(Partition::DIRECTORY, move |txn| {
                txn.put(&tables::MAIL, row.id.key(), &*row)
            })
            .await
            .map_err(WriteError::into_inner)?;
        let mut all = self.0.mail.0.write();
        all.insert(one.id.key().to_owned(), Arc::clone(&one));
        Ok((one, outcome))
    }

    fn require_room(&self, id: &ResourceId) -> Result<(), ManageError> {
        if MOST_NAME_CHARS < id.name().chars().count() {
            let message = format!("A name has at most {MOST_NAME_CHARS} characters.");
            let field = "name";
            return Err(Invalid { field, message }.into());
        }
        if MOST_IN_ALL <= self.0.mail.0.read().len() {
            let message = format!("There are {MOST_IN_ALL} resources around email already.");
            return Err(ManageError::Conflict(message));
        }
        let Some(parent) = parent(id) else {
            let services = self.mail_in(&Scope::Everywhere, MailKind::Service).len();
            return match services < MOST_SERVICES {
                true => Ok(()),
                false => {
                    let message = format!("There are {MOST_SERVICES} email services already.");
                    Err(ManageError::Conflict(message))
                }
            };
        };
        if self.mail(&parent).is_none() && self.resource(&parent).is_none() {
            return Err(ManageError::NotFound(parent));
        }
        if self.0.mail.count_directly_below(&parent) < MOST_BELOW {
            return Ok(());
        }
        let message = format!("'{}' has {MOST_BELOW} resources already.", parent.name());
        Err(ManageError::Conflict(message))
    }

    /// Whoever sends from a domain would send from what somebody else makes under its name later.
    fn require_unlinked(&self, domain: &ResourceId) -> Result<(), ManageError> {
        let Some(service) = self.linked_to(domain).next() else {
            return Ok(());
        };
        Err(ManageError::Conflict(format!(
            "The domain '{}' is linked to the communication resource '{}'. Take it out of its linkedDomains first.",
            domain.name(),
            service.id,
        )))
    }

    /// Takes a domain that is not there yet out of the links that name it, which were made when it could still be deleted.
    async fn unlink(&self, domain: &ResourceId) -> Result<(), StoreError> {
        let linked: Vec<_> = self.linked_to(domain).collect();
        for service in linked {
            self.keep(service.without_domain(domain)).await?;
        }
        Ok(())
    }

    fn linked_to(
        &self,
        domain: &ResourceId,
    ) -> impl Iterator<Item = Arc<CommunicationService>> + use<'_> {
        let domain = domain.clone();
        let all = self.all_resources().to_vec().into_iter();
        all.filter(move |service| service.is_linked_to(&domain))
    }

    /// One resource.
    pub fn mail(&self, id: &ResourceId) -> Option<Arc<MailResource>> {
        self.0.mail.0.read().get(id.key()).cloned()
    }

    /// The resources of a kind within a scope, in order of their ids.
    pub fn mail_in(&self, scope: &Scope, kind: MailKind) -> Vec<Arc<MailResource>> {
        let all = self.0.mail.0.read();
        all.values()
            .filter(|one| MailKind::of(&one.id) == Some(kind) && scope.holds(&one.id))
            .cloned()
            .collect()
    }

    /// The resources of a kind below another, in order of their ids.
    pub fn mail_below(&self, parent: &ResourceId, kind: MailKind) -> Vec<Arc<MailResource>> {
        let mut all = self.0.mail.below(parent);
        all.retain(|one| MailKind::of(&one.id) == Some(kind));
        all
    }

    /// Deletes a resource with what lives below it. Tells whether there was one.
    ///
    /// # Errors
    /// A domain is linked, or nothing, or not everything, could be kept; asking again finishes it.
    pub async fn delete_mail(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let comms = self.clone();
        let id = id.clone();
        let work = async move {
            let _managing = comms.0.managing.lock().await;
            comms.delete_mail_now(&id).await
        };
        self.0.to_the_end("delete email resource", work).await?
    }

    async fn delete_mail_now(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let found = self.mail(id);
        let below = self.0.mail.below(id);
        for domain in below.iter().chain(&found) {
            self.require_unlinked(&domain.id)?;
        }
        self.0.grid.forget_roles_at(id.as_str()).await?;
        self.forget_mail_below(id).await?;
        self.forget_mail(found.as_slice()).await?;
        Ok(found.is_some())
    }

    /// Deletes the communication resources and the email services of a scope, with what lives below them.
    ///
    /// # Errors
    /// A domain is linked to a resource that stays, and nothing was deleted; or nothing, or not everything, could be kept;
    /// asking again finishes it.
    pub async fn delete_in(&self, scope: &Scope) -> Result<(), ManageError> {
        let comms = self.clone();
        let scope = scope.clone();
        let work = async move {
            let _managing = comms.0.managing.lock().await;
            comms.delete_in_now(&scope).await
        };
        self.0
            .to_the_end("delete everything in a group", work)
            .await?
    }

    async fn delete_in_now(&self, scope: &Scope) -> Result<(), ManageError> {
        for domain in self.mail_in(scope, MailKind::Domain) {
            let mut linked = self.linked_to(&domain.id);
            if linked.any(|service| !scope.holds(&service.id)) {
                self.require_unlinked(&domain.id)?;
            }
        }
        for service in self.resources(scope) {
            self.delete_resource_now(&service.id).await?;
        }
        for service in self.mail_in(scope, MailKind::Service) {
            self.delete_mail_now(&service.id).await?;
        }
        Ok(())
    }

    /// What lives deepest goes first, so that a deletion cut short leaves nothing without what it lives below.
    pub(crate) async fn forget_mail_below(&self, parent: &ResourceId) -> Result<(), StoreError> {
        let mut all = self.0.mail.below(parent);
        all.sort_by_key(|one| std::cmp::Reverse(one.id.key().len()));
        self.forget_mail(&all).await
    }

    async fn forget_mail(&self, all: &[Arc<MailResource>]) -> Result<(), StoreError> {
        for some in all.chunks(REMOVED_AT_ONCE) {
            let rows = some.to_vec();
            self.0
                .store
                .write(Partition::DIRECTORY, move |txn| {
                    rows.iter()
                        .try_for_each(|one| txn.remove(&tables::MAIL, one.id.key()))
                })
                .await
                .map_err(WriteError::<StoreError>::into_inner)?;
            let mut kept = self.0.mail.0.write();
            for one in some {
                kept.remove(one.id.key());
            }
        }
        Ok(())
    }
}

/// What a resource lives below: nothing but its group for an email service.
fn parent(id: &ResourceId) -> Option<ResourceId> {
    if MailKind::of(id) == Some(MailKind::Service) {
        return None;
    }
    let mut segments: Vec<&str> = id.as_str().split('/').collect();
    segments.truncate(segments.len().saturating_sub(2));
    segments.join("/").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Communication/emailServices/mail";

    fn mail_of(ids: &[&str]) -> Mail {
        let mail = Mail::default();
        for id in ids {
            let id: ResourceId = id.parse().unwrap();
            let one = MailResource {
                id: id.clone(),
                location: String::new(),
                tags: BTreeMap::new(),
                properties: BTreeMap::new(),
                created: Timestamp::EPOCH,
                updated: Timestamp::EPOCH,
            };
            mail.0.write().insert(id.key().to_owned(), Arc::new(one));
        }
        mail
    }

    #[test]
    fn a_resource_lives_below_the_one_whose_path_it_continues() {
        let service: ResourceId = SERVICE.parse().unwrap();
        let domain = service.join("domains/example.com").unwrap();
        let sender = domain.join("senderUsernames/info").unwrap();
        assert_eq!(MailKind::of(&sender), Some(MailKind::Sender));
        assert_eq!(parent(&sender), Some(domain.clone()));
        assert_eq!(parent(&domain), Some(service.clone()));
        assert_eq!(parent(&service), None);
        assert_eq!(MailKind::of(&service.join("others/x").unwrap()), None);
    }

    #[test]
    fn what_lies_deeper_is_not_counted_as_directly_below() {
        let mail = mail_of(&[
            SERVICE,
            &format!("{SERVICE}/domains/a.b"),
            &format!("{SERVICE}/domains/a.b/senderUsernames/info"),
            &format!("{SERVICE}/domains/a.b/suppressionLists/x"),
            &format!("{SERVICE}/domains/a.b/suppressionLists/x/suppressionListAddresses/y"),
        ]);
        let service: ResourceId = SERVICE.parse().unwrap();
        assert_eq!(mail.below(&service).len(), 4);
        assert_eq!(mail.count_directly_below(&service), 1);
        let domain = service.join("domains/a.b").unwrap();
        assert_eq!(mail.count_directly_below(&domain), 2);
    }

    #[test]
    fn a_sibling_whose_name_continues_another_is_not_below_it() {
        let mail = mail_of(&[
            SERVICE,
            &format!("{SERVICE}-2"),
            &format!("{SERVICE}/domains/a.b"),
            &format!("{SERVICE}.x/domains/a.b"),
        ]);
        let below = mail.below(&SERVICE.parse().unwrap());
        assert_eq!(below.len(), 1);
        assert_eq!(below[0].id.name(), "a.b");
    }
}
