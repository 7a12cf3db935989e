//! What chat owes: events that did not fit, threads whose time is over, messages of threads that are gone, threads of
//! users who are gone.
//!
//! Promise: each piece of work is a row keyed by its moment, and goes in the transaction that did it.
//! Not here: when to look (`agenda`).

use std::sync::Arc;

use gridpost_model::Timestamp;
use gridpost_store::{Partition, Raw, Scan, StoreError, Table, Txn, WriteError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::agenda::Wake;
use crate::chat::announce::{Announcement, announce};
use crate::chat::error::ChatError;
use crate::chat::{Scene, disconnect, participants, properties};
use crate::identity::UserId;
use crate::resources::CommunicationService;
use crate::{Comms, Inner, due, tables};

/// Pieces of work done on one visit. Each has a transaction of its own, because one may fill a record.
const BATCH: usize = 64;

/// Rows removed in one transaction.
const PURGED_AT_ONCE: usize = 1000;

/// Work and its moment.
pub(crate) type Due = due::Due<Work>;

/// What is to be done. `resource` is the immutable id of a communication resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// The rest of the events of a happening.
    Announce {
        resource: String,
        announcement: Announcement,
        from: usize,
    },
    /// A thread's time may be over.
    Retention { resource: String, thread: String },
    /// A thread is gone, and what was said in it goes.
    Purge { resource: String, thread: String },
    /// A user is gone, and leaves its threads.
    Leave { resource: String, user: UserId },
    /// A user may be gone: nobody has listened for it since a while.
    Disconnect { resource: String, user: UserId },
    /// A creation is repeated no more.
    Forget {
        resource: String,
        user: UserId,
        request: String,
    },
}

impl due::Work for Work {
    const TABLE: Table<Due> = tables::CHAT_DUE;

    fn name(&self) -> String {
        match self {
            Self::Announce { announcement, .. } => format!("announce/{}", announcement.transaction),
            Self::Retention { resource, thread } => format!("retention/{resource}/{thread}"),
            Self::Purge { resource, thread } => format!("purge/{resource}/{thread}"),
            Self::Leave { resource, user } => format!("leave/{resource}/{user}"),
            Self::Disconnect { resource, user } => format!("disconnect/{resource}/{user}"),
            Self::Forget {
                resource,
                user,
                request,
            } => format!("forget/{resource}/{user}/{request}"),
        }
    }
}

/// Does what is due in one partition, at most a batch; tells when the next work there falls due.
pub(crate) async fn work_through(
    inner: &Arc<Inner>,
    partition: Partition,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    disconnect::keep(inner, partition).await?;
    let (ready, next) = Due::ready(&inner.store.snapshot(), partition, now, BATCH)?;
    for due in ready {
        carry_out(inner, partition, due, now).await?;
    }
    Ok(next)
}

async fn carry_out(
    inner: &Arc<Inner>,
    partition: Partition,
    due: Due,
    now: Timestamp,
) -> Result<(), StoreError> {
    let hands = Arc::clone(inner);
    let mut wake = Wake::new(&inner.agenda, partition);
    let done = inner
        .store
        .write(partition, move |txn| {
            if due.take(txn)? {
                work(txn, &hands, due, now, &mut wake)?;
            }
            Ok(wake)
        })
        .await;
    match done.map_err(WriteError::<ChatError>::into_inner) {
        Ok(_) => Ok(()),
        Err(ChatError::NotStored(error) | ChatError::TooLarge(error)) => Err(error),
        // Work refuses nothing: what it is about is either there or gone.
        Err(_) => Ok(()),
    }
}

fn work(
    txn: &mut Txn<'_>,
    inner: &Arc<Inner>,
    due: Due,
    now: Timestamp,
    wake: &mut Wake,
) -> Result<(), ChatError> {
    match due.work {
        Work::Announce {
            resource,
            announcement,
            from,
        } => {
            // A resource that is gone has no events any more.
            if let Some(service) = inner.service_of(&resource) {
                announce(txn, inner, &service, announcement, from, wake)?;
            }
            Ok(())
        }
        Work::Retention { resource, thread } => {
            let Some(service) = inner.service_of(&resource) else {
                return Ok(());
            };
            let Some(thread) = txn.get(&tables::THREADS, (resource.as_str(), thread.as_str()))?
            else {
                return Ok(());
            };
            // The policy may be another one by now; it has a row of its own then.
            let is_over = thread.retention.ends(thread.created);
            if is_over.is_some_and(|end| end <= now) {
                let mut scene = Scene::new(txn, inner, &service, now, wake);
                let creator = thread.created_by.clone();
                properties::end_thread(&mut scene, thread, &creator, None)?;
            }
            Ok(())
        }
        Work::Purge { resource, thread } => {
            let work = Work::Purge {
                resource: resource.clone(),
                thread: thread.clone(),
            };
            if purge(txn, &resource, &thread)? == PURGED_AT_ONCE {
                Due { at: now, work }.put(txn, wake)?;
            }
            Ok(())
        }
        Work::Leave { resource, user } => {
            let Some(service) = inner.service_of(&resource) else {
                return Ok(());
            };
            let mut scene = Scene::new(txn, inner, &service, now, wake);
            if participants::leave_one(&mut scene, &user)? {
                let work = Work::Leave { resource, user };
                Due { at: now, work }.put(txn, wake)?;
            }
            Ok(())
        }
        Work::Disconnect { user, .. } => Ok(disconnect::settle(txn, inner, &user, due.at)?),
        Work::Forget {
            resource,
            user,
            request,
        } => {
            let key = (resource.as_str(), user.as_str(), request.as_str());
            Ok(txn.remove(&tables::CREATIONS, key)?)
        }
    }
}

/// Removes some of what a thread left behind; tells how much.
fn purge(txn: &mut Txn<'_>, resource: &str, thread: &str) -> Result<usize, StoreError> {
    let of_thread = || Scan::prefix((resource, thread)).limit(PURGED_AT_ONCE);
    let former = txn.scan(&tables::FORMER_MEMBERS, of_thread())?;
    for (key, _) in &former {
        txn.remove(&tables::FORMER_MEMBERS, Raw(key))?;
    }
    let left = PURGED_AT_ONCE - former.len();
    let said = txn.scan(&tables::CHAT_MESSAGES, of_thread().limit(left))?;
    for (key, _) in &said {
        txn.remove(&tables::CHAT_MESSAGES, Raw(key))?;
    }
    Ok(former.len() + said.len())
}

impl Comms {
    /// Removes some of the chat of a resource that is being deleted, without telling anybody; tells how many rows.
    pub(crate) async fn forget_chat(
        &self,
        service: &Arc<CommunicationService>,
    ) -> Result<usize, StoreError> {
        let service = Arc::clone(service);
        let removed = self
            .0
            .store
            .write(service.partition(), move |txn| {
                forget_resource(txn, &service.immutable_id)
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        Ok(removed.into_inner())
    }
}

fn forget_resource(txn: &mut Txn<'_>, resource: &str) -> Result<usize, StoreError> {
    Ok(forget_rows(txn, &tables::THREADS, resource)?
        + forget_rows(txn, &tables::MEMBERS, resource)?
        + forget_rows(txn, &tables::FORMER_MEMBERS, resource)?
        + forget_rows(txn, &tables::MEMBERSHIPS, resource)?
        + forget_rows(txn, &tables::CHAT_MESSAGES, resource)?
        + forget_rows(txn, &tables::READ_RECEIPTS, resource)?
        + forget_rows(txn, &tables::CREATIONS, resource)?
        + forget_rows(txn, &tables::AWAY, resource)?)
}

fn forget_rows<V: DeserializeOwned>(
    txn: &mut Txn<'_>,
    table: &Table<V>,
    resource: &str,
) -> Result<usize, StoreError> {
    let rows = txn.scan(table, Scan::prefix(resource).limit(PURGED_AT_ONCE))?;
    for (key, _) in &rows {
        txn.remove(table, Raw(key))?;
    }
    Ok(rows.len())
}
