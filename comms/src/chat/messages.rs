//! What is said: sent, listed, edited, deleted.
//!
//! Promise: a page costs the same wherever in the thread it is, and is bounded in bytes. Only who said something changes
//! or deletes it. Who was removed sees nothing that was written afterwards, in edits neither.
//! Source: reference communication-services 7.

use std::collections::BTreeMap;

use gridpost_model::Timestamp;
use gridpost_store::Scan;

use crate::chat::announce::{Said, What};
use crate::chat::error::{ChatError, Lack};
use crate::chat::message::{Content, Kind, Message};
use crate::chat::rates::Call;
use crate::chat::rights::Act;
use crate::chat::thread::{
    Member, Thread, members, millis, of_millis, others, put_thread, thread_of,
};
use crate::chat::{Chat, PAGE_BYTES, Page, Scene, check_metadata, check_name, page_size};
use crate::identity::UserId;
use crate::tables;

/// The longest text, in bytes of UTF-8. Source: reference communication-services 7.
pub const LONGEST_TEXT: usize = 28 * 1024;

/// A message that is to be sent.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// `content`.
    pub text: String,
    /// `type`.
    pub kind: Kind,
    /// `senderDisplayName`.
    pub sender_display_name: Option<String>,
    /// `metadata`.
    pub metadata: BTreeMap<String, String>,
}

/// A change of a message. `None` keeps what is.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// `content`.
    pub text: Option<String>,
    /// `metadata`, merged: an entry without a value goes.
    pub metadata: BTreeMap<String, Option<String>>,
}

/// Which messages somebody sees, by their ids and versions: ids from the first on, both before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from: u64,
    before: u64,
}

impl Chat<'_> {
    /// Says something; tells the message's id.
    ///
    /// # Errors
    /// The user is not in the thread, a value is not acceptable, or nothing could be kept.
    pub async fn send(&self, thread: &str, draft: Draft) -> Result<u64, ChatError> {
        self.may(Act::TakePart)?;
        check_text(&draft.text)?;
        check_metadata(&draft.metadata)?;
        let name = draft.sender_display_name.as_deref();
        check_name("senderDisplayName", name.unwrap_or_default())?;
        self.count_member(Call::Say, thread)?;
        let id = thread.to_owned();
        self.change(move |scene, user| send(scene, user, &id, draft))
            .await
    }

    /// Messages, newest first: those of at least `since`, before the id `before`.
    ///
    /// # Errors
    /// There is no such thread, or the user never was in it.
    pub fn messages(
        &self,
        thread: &str,
        since: Option<Timestamp>,
        before: Option<u64>,
        size: Option<usize>,
    ) -> Result<Page<Message, u64>, ChatError> {
        self.may(Act::TakePart)?;
        let size = page_size(size)?;
        let window = self.window(thread)?;
        self.count(Call::ListMessages, thread)?;
        let from = since.map_or(0, millis).max(window.from);
        let before = before.unwrap_or(u64::MAX).min(window.before);
        let (snapshot, partition) = (self.snapshot(), self.service.partition());
        let newest = |before, size| {
            let scan = Scan::from((self.resource(), thread, from))
                .to((self.resource(), thread, before))
                .reverse()
                .limit(size)
                .bytes(PAGE_BYTES);
            snapshot.scan(&tables::CHAT_MESSAGES, partition, scan)
        };
        let rows = newest(before, size)?.into_iter();
        let items: Vec<_> = rows.map(|(_, message)| window.show(message)).collect();
        // A page may end early, so its length does not tell whether it is the last.
        let next = match items.last().map(|last| last.id) {
            Some(last) if !newest(last, 1)?.is_empty() => Some(last),
            _ => None,
        };
        Ok(Page { items, next })
    }

    /// One message.
    ///
    /// # Errors
    /// There is no such thread or message, or the user does not see it.
    pub fn message(&self, thread: &str, id: u64) -> Result<Message, ChatError> {
        self.may(Act::TakePart)?;
        let window = self.window(thread)?;
        self.count(Call::ReadMessage, thread)?;
        if !(window.from..window.before).contains(&id) {
            return Err(ChatError::NoMessage);
        }
        let key = (self.resource(), thread, id);
        let partition = self.service.partition();
        let found = self
            .snapshot()
            .get(&tables::CHAT_MESSAGES, partition, key)?;
        let found = found.ok_or(ChatError::NoMessage)?;
        Ok(window.show(found))
    }

    /// Changes what the user said.
    ///
    /// # Errors
    /// There is no such message, somebody else said it, a value is not acceptable, or nothing could be kept.
    pub async fn edit(&self, thread: &str, id: u64, edit: Edit) -> Result<(), ChatError> {
        self.may(Act::TakePart)?;
        edit.text.as_deref().map_or(Ok(()), check_text)?;
        self.count_member(Call::Say, thread)?;
        let thread = thread.to_owned();
        self.change(move |scene, user| change(scene, user, &thread, id, Some(edit)))
            .await
    }

    /// Takes back what the user said. Taking it back again changes nothing.
    ///
    /// # Errors
    /// There is no such message, somebody else said it, or nothing could be kept.
    pub async fn delete_message(&self, thread: &str, id: u64) -> Result<(), ChatError> {
        self.may(Act::TakePart)?;
        self.count_member(Call::Say, thread)?;
        let thread = thread.to_owned();
        self.change(move |scene, user| change(scene, user, &thread, id, None))
            .await
    }

    /// The user's thread and membership, as of now.
    pub(crate) fn as_member(&self, thread: &str) -> Result<(Thread, Member), ChatError> {
        let (snapshot, partition) = (self.snapshot(), self.service.partition());
        let key = (self.resource(), thread);
        let found = snapshot.get(&tables::THREADS, partition, key)?;
        let found = found.ok_or(ChatError::NoThread)?;
        let key = (self.resource(), thread, self.user.id.as_str());
        let member = snapshot.get(&tables::MEMBERS, partition, key)?;
        Ok((found, member.ok_or(ChatError::Forbidden(Lack::Membership))?))
    }

    /// What the user sees of a thread: a member all since it came in (or as far back as it was let), somebody who was
    /// a member until it was removed.
    fn window(&self, thread: &str) -> Result<Window, ChatError> {
        match self.as_member(thread) {
            Ok((_, member)) => Ok(Window {
                from: member.sees_from(),
                before: u64::MAX,
            }),
            Err(error @ ChatError::Forbidden(_)) => {
                let key = (self.resource(), thread, self.user.id.as_str());
                let partition = self.service.partition();
                let former = self
                    .snapshot()
                    .get(&tables::FORMER_MEMBERS, partition, key)?;
                let former = former.ok_or(error)?;
                Ok(Window {
                    from: former.member.sees_from(),
                    before: former.last + 1,
                })
            }
            Err(error) => Err(error),
        }
    }
}

impl Window {
    /// A message as it is shown: without its words, when they are from after the window. Only the newest are kept.
    fn show(self, mut message: Message) -> Message {
        if self.before <= message.version {
            forget_text(&mut message);
        }
        message
    }
}

fn check_text(text: &str) -> Result<(), ChatError> {
    if text.is_empty() {
        return Err(ChatError::invalid("content", "content must not be empty."));
    }
    if LONGEST_TEXT < text.len() {
        let message = format!("content has at most {LONGEST_TEXT} bytes.");
        return Err(ChatError::invalid("content", message));
    }
    Ok(())
}

/// Adds a message to a thread, whose row the caller writes.
pub(crate) fn put_message(
    scene: &mut Scene<'_, '_>,
    thread: &mut Thread,
    content: Content,
) -> Result<Message, ChatError> {
    let (id, sequence) = thread.next_message(scene.now);
    let message = Message {
        id,
        sequence,
        version: id,
        content,
        created: of_millis(id),
        sender_display_name: None,
        edited: None,
        deleted: None,
        metadata: BTreeMap::new(),
    };
    write(scene, thread, &message)?;
    Ok(message)
}

fn write(scene: &mut Scene<'_, '_>, thread: &Thread, message: &Message) -> Result<(), ChatError> {
    let key = (scene.resource(), thread.id.as_str(), message.id);
    Ok(scene.txn.put(&tables::CHAT_MESSAGES, key, message)?)
}

fn send(
    scene: &mut Scene<'_, '_>,
    user: &UserId,
    id: &str,
    draft: Draft,
) -> Result<u64, ChatError> {
    let (mut thread, member) = thread_of(scene.txn, scene.resource(), id, user)?;
    let (message_id, sequence) = thread.next_message(scene.now);
    let message = Message {
        id: message_id,
        sequence,
        version: message_id,
        content: Content::Said {
            by: user.clone(),
            kind: draft.kind,
            text: draft.text,
        },
        created: of_millis(message_id),
        sender_display_name: draft.sender_display_name.or(member.person.display_name),
        edited: None,
        deleted: None,
        metadata: draft.metadata,
    };
    write(scene, &thread, &message)?;
    thread.last_received = Some(message.created);
    put_thread(scene.txn, scene.resource(), &thread)?;
    tell(scene, &thread, message, What::MessageReceived)?;
    Ok(message_id)
}

/// Edits a message, or takes it back when there is no edit.
fn change(
    scene: &mut Scene<'_, '_>,
    user: &UserId,
    thread: &str,
    id: u64,
    edit: Option<Edit>,
) -> Result<(), ChatError> {
    let (thread, member) = thread_of(scene.txn, scene.resource(), thread, user)?;
    let key = (scene.resource(), thread.id.as_str(), id);
    let found = scene.txn.get(&tables::CHAT_MESSAGES, key)?;
    let mut message = found.ok_or(ChatError::NoMessage)?;
    match &mut message.content {
        Content::Said { by, .. } if *by == *user => (),
        // What is before a member's time does not exist for it.
        _ if id < member.sees_from() => return Err(ChatError::NoMessage),
        _ => return Err(ChatError::Forbidden(Lack::Authorship)),
    }
    if message.deleted.is_some() {
        return if edit.is_some() {
            Err(ChatError::NoMessage)
        } else {
            Ok(())
        };
    }
    // Behind every message there is: who was removed is known by the last id it sees.
    let least = thread.newest.max(message.version) + 1;
    message.version = millis(scene.now).max(least);
    let what = match edit {
        Some(edit) => {
            apply(&mut message, edit)?;
            message.edited = Some(scene.now);
            What::MessageEdited
        }
        None => {
            forget_text(&mut message);
            message.deleted = Some(scene.now);
            What::MessageDeleted
        }
    };
    write(scene, &thread, &message)?;
    tell(scene, &thread, message, what)
}

fn apply(message: &mut Message, edit: Edit) -> Result<(), ChatError> {
    if let (Content::Said { text, .. }, Some(new)) = (&mut message.content, edit.text) {
        *text = new;
    }
    for (key, value) in edit.metadata {
        match value {
            Some(value) => drop(message.metadata.insert(key, value)),
            None => drop(message.metadata.remove(&key)),
        }
    }
    check_metadata(&message.metadata)
}

fn forget_text(message: &mut Message) {
    if let Content::Said { text, .. } = &mut message.content {
        text.clear();
    }
    message.metadata.clear();
}

/// Tells everybody but who said it.
fn tell(
    scene: &mut Scene<'_, '_>,
    thread: &Thread,
    message: Message,
    what: fn(Said) -> What,
) -> Result<(), ChatError> {
    let Content::Said { by, kind, text } = message.content else {
        return Ok(());
    };
    let said = Said {
        id: message.id,
        kind,
        text,
        display_name: message.sender_display_name,
        metadata: message.metadata,
        composed: message.created,
    };
    let members = members(scene.txn, scene.resource(), &thread.id)?;
    let recipients = others(&members, &by);
    scene.announce(thread, &by, message.version, recipients, what(said))?;
    Ok(())
}
