//! Chat: threads, who is in them, and what is said.
//!
//! Promise: a change and all of its events are one transaction, in which its user's token is good; a thread of a hundred
//! thousand messages costs what a short one costs, because every call finds its rows by key.
//! Not here: users and their tokens (`identity`), the HTTP surface (`api`), who is told (`grid`).
//! Source: reference communication-services 7.

pub(crate) mod announce;
pub mod create;
pub(crate) mod disconnect;
pub(crate) mod due;
pub mod error;
pub(crate) mod events;
pub mod live;
pub mod message;
pub mod messages;
pub mod participants;
pub mod person;
pub mod properties;
mod rates;
pub mod receipts;
mod rights;
pub mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_model::Timestamp;
use gridpost_store::{Snapshot, StoreError, Txn, WriteError};

pub use create::{Created, NewThread};
pub use error::{ChatError, Lack};
pub use message::{Content, Kind, Message, ReadReceipt};
pub use messages::{Draft, Edit};
pub use person::{Candidate, Identifier, InvalidParticipant, Person, Unfit};
pub use properties::{ThreadChange, ThreadItem};
pub use thread::{Member, Retention, Thread};

use crate::agenda::Wake;
use crate::identity::{User, UserId};
use crate::resources::CommunicationService;
use crate::{Comms, Inner};
use announce::{Announcement, What, announce, transaction_id};
use rights::Act;

/// The longest display name and topic, in characters. The service publishes no bound for names; its topics have 250.
const LONGEST_NAME: usize = 250;

/// The largest metadata, keys and values together. Source: reference communication-services 7.
const METADATA_BYTES: usize = 1024;

/// The rows of a page unless told otherwise, and the most of one. Source: reference communication-services 7.
const USUAL_PAGE: usize = 20;
const LARGEST_PAGE: usize = 200;

/// A page of messages ends with the one that reaches this many bytes: 200 messages of 2 KB fit, and reading and writing
/// one keeps other callers waiting for milliseconds.
const PAGE_BYTES: usize = 512 << 10;

/// The chat of one resource, as one user sees it.
pub struct Chat<'a> {
    inner: &'a Arc<Inner>,
    service: &'a Arc<CommunicationService>,
    user: &'a User,
}

/// Some rows, and where the next ones begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, N> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<N>,
}

impl Comms {
    /// The chat of a user's resource, for the user.
    pub fn chat<'a>(&'a self, user: &'a User) -> Chat<'a> {
        Chat {
            inner: &self.0,
            service: &user.resource,
            user,
        }
    }
}

impl Chat<'_> {
    fn may(&self, act: Act) -> Result<(), ChatError> {
        if self.user.scopes.allow(act.needs()) {
            Ok(())
        } else {
            Err(ChatError::Forbidden(Lack::Scope(act.needs())))
        }
    }

    fn resource(&self) -> &str {
        &self.service.immutable_id
    }

    fn snapshot(&self) -> Snapshot {
        self.inner.store.snapshot()
    }

    /// Runs a change and stages its events, in one transaction, in which the user's token must be good.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Scene<'_, '_>, &UserId) -> Result<T, ChatError> + Send + 'static,
    ) -> Result<T, ChatError> {
        let answer = self.keep(change).await?;
        // Kept; but whoever talks faster than webhooks listen must not bury us.
        self.inner.grid.pace(&self.service.id).await;
        Ok(answer)
    }

    /// The same for a change without events.
    async fn keep<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Scene<'_, '_>, &UserId) -> Result<T, ChatError> + Send + 'static,
    ) -> Result<T, ChatError> {
        let inner = Arc::clone(self.inner);
        let service = Arc::clone(self.service);
        let user = self.user.clone();
        let partition = self.service.partition();
        let mut wake = Wake::new(&self.inner.agenda, partition);
        let now = self.inner.settings.clock.now();
        let done = self
            .inner
            .store
            .write(partition, move |txn| {
                if !user.is_good(txn)? {
                    return Err(ChatError::Unauthorized);
                }
                let mut scene = Scene::new(txn, &inner, &service, now, &mut wake);
                let answer = change(&mut scene, &user.id)?;
                Ok((answer, wake))
            })
            .await
            .map_err(WriteError::<ChatError>::into_inner)?;
        let (answer, _wake) = done.into_inner();
        Ok(answer)
    }
}

/// A transaction in the chat of one resource, at one moment.
pub(crate) struct Scene<'a, 't> {
    pub(crate) txn: &'a mut Txn<'t>,
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) service: &'a CommunicationService,
    pub(crate) now: Timestamp,
    pub(crate) wake: &'a mut Wake,
}

impl<'a, 't> Scene<'a, 't> {
    pub(crate) fn new(
        txn: &'a mut Txn<'t>,
        inner: &'a Arc<Inner>,
        service: &'a CommunicationService,
        now: Timestamp,
        wake: &'a mut Wake,
    ) -> Self {
        Self {
            txn,
            inner,
            service,
            now,
            wake,
        }
    }

    pub(crate) fn resource(&self) -> &'a str {
        &self.service.immutable_id
    }

    /// Tells everybody. `version` is in milliseconds.
    pub(crate) fn announce(
        &mut self,
        thread: &Thread,
        actor: &UserId,
        version: u64,
        recipients: Vec<UserId>,
        what: What,
    ) -> Result<(), StoreError> {
        let announcement = Announcement {
            thread: thread.id.clone(),
            created: thread.created,
            version,
            at: self.now,
            actor: actor.clone(),
            transaction: transaction_id(&*self.inner.settings.chance),
            recipients,
            what,
        };
        announce(
            self.txn,
            self.inner,
            self.service,
            announcement,
            0,
            self.wake,
        )
    }
}

/// How many rows a page has, from what was asked for.
fn page_size(asked: Option<usize>) -> Result<usize, ChatError> {
    match asked {
        None => Ok(USUAL_PAGE),
        Some(0) => Err(ChatError::invalid(
            "maxPageSize",
            "maxPageSize is at least 1.",
        )),
        Some(size) => Ok(size.min(LARGEST_PAGE)),
    }
}

fn check_name(target: &'static str, name: &str) -> Result<(), ChatError> {
    if name.chars().count() <= LONGEST_NAME {
        return Ok(());
    }
    let message = format!("{target} has at most {LONGEST_NAME} characters.");
    Err(ChatError::invalid(target, message))
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), ChatError> {
    let bytes: usize = metadata
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if bytes <= METADATA_BYTES {
        return Ok(());
    }
    let message = format!("metadata has at most {METADATA_BYTES} bytes.");
    Err(ChatError::invalid("metadata", message))
}

fn check_topic(topic: &str) -> Result<(), ChatError> {
    if topic.trim().is_empty() {
        return Err(ChatError::invalid("topic", "topic must not be empty."));
    }
    check_name("topic", topic)
}
