//! What Resource Manager knows of email: services, their domains, senders and suppression lists, and SMTP user names.
//!
//! Promise: a resource lives below one that exists, and goes with it. What is here was committed.
//! Not here: sending mail; which properties each type has (`api::arm::email`).
//! Source: reference management 6.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_grid::manage::{Created, ManageError};
use gridpost_grid::scope::Scope;
use gridpost_model::{ResourceId, Timestamp};
use gridpost_store::{Partition, Scan, Store, StoreError, WriteError};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Comms, tables};

/// How many resources there are directly below one at most: they are all kept in memory, some 500 bytes each.
pub const MOST_BELOW: usize = 10_000;

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
        Self::ALL
            .into_iter()
            .find(|kind| id.is_of_type(kind.resource_type()))
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
}

impl Comms {
    /// Makes a resource, or writes it anew.
    ///
    /// # Errors
    /// What it lives below does not exist or is full, or nothing could be kept.
    pub async fn put_mail(
        &self,
        id: ResourceId,
        spec: MailSpec,
    ) -> Result<(Arc<MailResource>, Created), ManageError> {
        let comms = self.clone();
        let work = async move {
            let _managing = comms.0.managing.lock().await;
            comms.put_mail_now(id, spec).await
        };
        self.0.to_the_end("put email resource", work).await?
    }

    async fn put_mail_now(
        &self,
        id: ResourceId,
        spec: MailSpec,
    ) -> Result<(Arc<MailResource>, Created), ManageError> {
        let now = self.0.settings.clock.now();
        let found = self.mail(&id);
        if found.is_none() {
            self.require_room(&id)?;
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
        let Some(parent) = parent(id) else {
            return Ok(());
        };
        if self.mail(&parent).is_none() && self.resource(&parent).is_none() {
            return Err(ManageError::NotFound(parent));
        }
        if self.0.mail.below(&parent).len() < MOST_BELOW {
            return Ok(());
        }
        let message = format!("'{}' has {MOST_BELOW} resources already.", parent.name());
        Err(ManageError::Conflict(message))
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
    /// Nothing, or not everything, could be kept; asking again finishes it.
    pub async fn delete_mail(&self, id: &ResourceId) -> Result<bool, ManageError> {
        let comms = self.clone();
        let id = id.clone();
        let work = async move {
            let _managing = comms.0.managing.lock().await;
            comms.forget_mail_below(&id).await?;
            let found = comms.mail(&id);
            comms.forget_mail(found.as_slice()).await?;
            Ok(found.is_some())
        };
        self.0.to_the_end("delete email resource", work).await?
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
    fn a_sibling_whose_name_continues_another_is_not_below_it() {
        let mail = Mail::default();
        let insert = |id: &str| {
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
        };
        insert(SERVICE);
        insert(&format!("{SERVICE}-2"));
        insert(&format!("{SERVICE}/domains/a.b"));
        insert(&format!("{SERVICE}.x/domains/a.b"));
        let below = mail.below(&SERVICE.parse().unwrap());
        assert_eq!(below.len(), 1);
        assert_eq!(below[0].id.name(), "a.b");
    }
}
