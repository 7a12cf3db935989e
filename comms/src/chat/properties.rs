//! A thread's properties: read, listed, changed; and its end.
//!
//! Promise: with a thread go its members in the same transaction, so that nobody can say anything in it any more; what
//! was said goes afterwards, a thousand messages at a time.
//! Source: reference communication-services 7.

use std::collections::BTreeMap;

use gridpost_model::Timestamp;
use gridpost_store::{Raw, Scan};

use crate::chat::announce::What;
use crate::chat::create::{check_retention, owe_retention};
use crate::chat::due::{Due, Work};
use crate::chat::error::ChatError;
use crate::chat::message::Content;
use crate::chat::messages::put_message;
use crate::chat::rates::Call;
use crate::chat::rights::Act;
use crate::chat::thread::{
    Retention, Thread, members, millis, others, put_thread, thread_of, unlist_member,
};
use crate::chat::{Chat, Page, Scene, check_metadata, check_topic, page_size};
use crate::identity::UserId;
use crate::tables;

/// Threads looked at for one page: a filter that fits few must not read them all at once.
const LOOKED_AT: usize = 1000;

/// What a list of threads shows of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadItem {
    /// `id`.
    pub id: String,
    /// `topic`.
    pub topic: String,
    /// `lastMessageReceivedOn`.
    pub last_received: Option<Timestamp>,
}

/// A change. `None` keeps what is.
#[derive(Clone, Debug, Default)]
pub struct ThreadChange {
    /// `topic`.
    pub topic: Option<String>,
    /// `metadata`, merged: an entry without a value goes.
    pub metadata: BTreeMap<String, Option<String>>,
    /// `retentionPolicy`.
    pub retention: Option<Retention>,
}

impl Chat<'_> {
    /// A thread's properties.
    ///
    /// # Errors
    /// There is no such thread, or the user is not in it.
    pub fn get(&self, id: &str) -> Result<Thread, ChatError> {
        self.may(Act::TakePart)?;
        let (thread, _) = self.as_member(id)?;
        self.count(Call::ReadThreads, id)?;
        Ok(thread)
    }

    /// The user's threads, in order of their ids, from after one on; those in which something was said since then.
    ///
    /// # Errors
    /// The token does not reach so far.
    pub fn list(
        &self,
        since: Option<Timestamp>,
        after: Option<&str>,
        size: Option<usize>,
    ) -> Result<Page<ThreadItem, String>, ChatError> {
        self.may(Act::TakePart)?;
        let size = page_size(size)?;
        self.count(Call::ReadThreads, "")?;
        let snapshot = self.snapshot();
        let partition = self.service.partition();
        let user = (self.resource(), self.user.id.as_str());
        let mut scan = Scan::prefix(user);
        if let Some(after) = after {
            // Behind every key that begins with this one, up to the end of the user's.
            let behind = [after.as_bytes(), &[1]].concat();
            let end = [user.1.as_bytes(), &[1]].concat();
            scan = Scan::from((user.0, user.1, Raw(&behind))).to((user.0, Raw(&end)));
        }
        let rows = snapshot.scan(&tables::MEMBERSHIPS, partition, scan.limit(LOOKED_AT + 1))?;
        let mut items = Vec::new();
        let mut last = None;
        for (looked_at, (_, listed)) in rows.into_iter().enumerate() {
            if items.len() == size || looked_at == LOOKED_AT {
                return Ok(Page { items, next: last });
            }
            let key = (user.0, listed.thread.as_str());
            if let Some(thread) = snapshot.get(&tables::THREADS, partition, key)?
                && since.is_none_or(|since| since <= thread.last_received.unwrap_or(thread.created))
            {
                items.push(ThreadItem {
                    id: thread.id,
                    topic: thread.topic,
                    last_received: thread.last_received,
                });
            }
            last = Some(listed.thread);
        }
        Ok(Page { items, next: None })
    }

    /// Changes a thread's properties; a new topic is a message too.
    ///
    /// # Errors
    /// The token does not reach so far, the user is not in the thread, a value is not acceptable, or nothing could be
    /// kept.
    pub async fn update(&self, id: &str, change: ThreadChange) -> Result<(), ChatError> {
        self.may(Act::UpdateThread)?;
        change.topic.as_deref().map_or(Ok(()), check_topic)?;
        change.retention.map_or(Ok(()), check_retention)?;
        self.count_member(Call::UpdateThread, id)?;
        let id = id.to_owned();
        self.change(move |scene, user| update(scene, user, &id, change))
            .await
    }

    /// Deletes a thread. Any member may, whose token is for all of chat.
    ///
    /// # Errors
    /// The token does not reach so far, the user is not in the thread, or nothing could be kept.
    pub async fn delete(&self, id: &str) -> Result<(), ChatError> {
        self.may(Act::DeleteThread)?;
        self.count(Call::DeleteThread, id)?;
        let id = id.to_owned();
        self.change(move |scene, user| {
            let (thread, _) = thread_of(scene.txn, scene.resource(), &id, user)?;
            end_thread(scene, thread, user, Some(user))
        })
        .await
    }
}

fn update(
    scene: &mut Scene<'_, '_>,
    user: &UserId,
    id: &str,
    change: ThreadChange,
) -> Result<(), ChatError> {
    let (mut thread, _) = thread_of(scene.txn, scene.resource(), id, user)?;
    for (key, value) in change.metadata {
        match value {
            Some(value) => drop(thread.metadata.insert(key, value)),
            None => drop(thread.metadata.remove(&key)),
        }
    }
    check_metadata(&thread.metadata)?;
    if let Some(retention) = change.retention {
        thread.retention = retention;
        owe_retention(scene, &thread)?;
    }
    if let Some(topic) = change.topic {
        thread.topic.clone_from(&topic);
        let by = user.clone();
        put_message(scene, &mut thread, Content::TopicUpdated { by, topic })?;
    }
    put_thread(scene.txn, scene.resource(), &thread)?;
    let members = members(scene.txn, scene.resource(), id)?;
    let what = What::PropertiesUpdated {
        topic: thread.topic.clone(),
        metadata: thread.metadata.clone(),
    };
    let version = millis(scene.now);
    scene.announce(&thread, user, version, others(&members, user), what)?;
    Ok(())
}

/// Ends a thread. Everybody in it is told but `silent`: whoever did it; nobody did it when its time was over.
pub(crate) fn end_thread(
    scene: &mut Scene<'_, '_>,
    thread: Thread,
    by: &UserId,
    silent: Option<&UserId>,
) -> Result<(), ChatError> {
    let resource = scene.resource();
    let members = members(scene.txn, resource, &thread.id)?;
    scene
        .txn
        .remove(&tables::THREADS, (resource, thread.id.as_str()))?;
    for member in &members {
        unlist_member(scene.txn, resource, &thread.id, &member.person.id)?;
    }
    let recipients = match silent {
        Some(actor) => others(&members, actor),
        None => members.into_iter().map(|member| member.person.id).collect(),
    };
    scene.announce(
        &thread,
        by,
        millis(scene.now),
        recipients,
        What::ThreadDeleted,
    )?;
    let work = Work::Purge {
        resource: resource.to_owned(),
        thread: thread.id,
    };
    let at = scene.now;
    Ok(Due { at, work }.put(scene.txn, scene.wake)?)
}
