//! The chat events: which there are, to whom they go, and their envelope.
//!
//! Promise: everybody in the thread but the actor hears of what happened once, and the thread once. In shape `2020-09`
//! the events of users are those of that year, key for key; in `current` they carry today's fields and the names of
//! 2020 besides. `ChatMember…` events go only to subscriptions that name them.
//! Not here: their fields (`events::data`), when they are staged (`announce`).
//! Source: reference communication-events 1 to 3, 9.

mod data;

use std::iter;
use std::sync::Arc;

use gridpost_model::event::{NewEvent, NotAnEvent};
use gridpost_model::{Event, Timestamp};

use crate::EventShape;
use crate::chat::announce::{Announcement, What};
use crate::chat::message::ReadReceipt;
use crate::chat::person::Person;
use crate::identity::UserId;

const MESSAGE_RECEIVED: &str = "Microsoft.Communication.ChatMessageReceived";
const MESSAGE_EDITED: &str = "Microsoft.Communication.ChatMessageEdited";
const MESSAGE_DELETED: &str = "Microsoft.Communication.ChatMessageDeleted";
const THREAD_CREATED: &str = "Microsoft.Communication.ChatThreadCreatedWithUser";
const THREAD_DELETED: &str = "Microsoft.Communication.ChatThreadWithUserDeleted";
const PROPERTIES_UPDATED: &str = "Microsoft.Communication.ChatThreadPropertiesUpdatedPerUser";
const PARTICIPANT_ADDED: &str = "Microsoft.Communication.ChatParticipantAddedToThreadWithUser";
const PARTICIPANT_REMOVED: &str =
    "Microsoft.Communication.ChatParticipantRemovedFromThreadWithUser";
const MEMBER_ADDED: &str = "Microsoft.Communication.ChatMemberAddedToThreadWithUser";
const MEMBER_REMOVED: &str = "Microsoft.Communication.ChatMemberRemovedFromThreadWithUser";

const MESSAGE_RECEIVED_IN_THREAD: &str = "Microsoft.Communication.ChatMessageReceivedInThread";
const MESSAGE_EDITED_IN_THREAD: &str = "Microsoft.Communication.ChatMessageEditedInThread";
const MESSAGE_DELETED_IN_THREAD: &str = "Microsoft.Communication.ChatMessageDeletedInThread";
const OF_THREAD_CREATED: &str = "Microsoft.Communication.ChatThreadCreated";
const OF_THREAD_DELETED: &str = "Microsoft.Communication.ChatThreadDeleted";
const OF_THREAD_UPDATED: &str = "Microsoft.Communication.ChatThreadPropertiesUpdated";
const THREAD_PARTICIPANT_ADDED: &str = "Microsoft.Communication.ChatThreadParticipantAdded";
const THREAD_PARTICIPANT_REMOVED: &str = "Microsoft.Communication.ChatThreadParticipantRemoved";
const TYPING_IN_THREAD: &str = "Microsoft.Communication.ChatTypingIndicatorReceivedInThread";

/// What all of them begin with.
const CHAT: &str = "Microsoft.Communication.Chat";

/// Ours: the service has no such event, and no subscription hears of it.
const READ_RECEIPT: &str = "Gridpost.ChatReadReceiptReceived";

/// Not of a thread: of a user.
const USER_DISCONNECTED: &str = "Microsoft.Communication.UserDisconnected";

const DATA_VERSION: &str = "1.0";

/// One event that is to be: its type, its reader, and whom it is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notice<'a> {
    event_type: &'static str,
    reader: Reader<'a>,
    /// Who was added or removed.
    about: Option<&'a Person>,
}

/// Whom an event is for, and in which words.
#[derive(Clone, Copy, Debug)]
enum Reader<'a> {
    /// The thread.
    Thread,
    /// A user, in today's words and those of 2020.
    User(&'a UserId),
    /// A user, in the words of 2020 alone.
    UserOf2020(&'a UserId),
}

/// The types that tell of somebody coming or going.
#[derive(Clone, Copy)]
struct Names {
    participant: &'static str,
    member: &'static str,
    thread: &'static str,
}

const ADDED: Names = Names {
    participant: PARTICIPANT_ADDED,
    member: MEMBER_ADDED,
    thread: THREAD_PARTICIPANT_ADDED,
};

const REMOVED: Names = Names {
    participant: PARTICIPANT_REMOVED,
    member: MEMBER_REMOVED,
    thread: THREAD_PARTICIPANT_REMOVED,
};

type Notices<'a> = Box<dyn Iterator<Item = Notice<'a>> + 'a>;

/// The events of a happening, in the order they are staged.
pub(crate) fn notices(announcement: &Announcement, shape: EventShape) -> Notices<'_> {
    let to = &announcement.recipients;
    match &announcement.what {
        What::MessageReceived(_) => all(MESSAGE_RECEIVED, MESSAGE_RECEIVED_IN_THREAD, to, shape),
        What::MessageEdited(_) => all(MESSAGE_EDITED, MESSAGE_EDITED_IN_THREAD, to, shape),
        What::MessageDeleted(_) => all(MESSAGE_DELETED, MESSAGE_DELETED_IN_THREAD, to, shape),
        What::ThreadCreated { .. } => all(THREAD_CREATED, OF_THREAD_CREATED, to, shape),
        What::ThreadDeleted => all(THREAD_DELETED, OF_THREAD_DELETED, to, shape),
        What::PropertiesUpdated { .. } => all(PROPERTIES_UPDATED, OF_THREAD_UPDATED, to, shape),
        What::ParticipantsAdded(people) => about_each(people, ADDED, to, shape),
        What::ParticipantsRemoved(people) => about_each(people, REMOVED, to, shape),
        What::Typing { .. } => Box::new(iter::once(to_thread(TYPING_IN_THREAD))),
    }
}

fn to_thread<'a>(event_type: &'static str) -> Notice<'a> {
    Notice {
        event_type,
        reader: Reader::Thread,
        about: None,
    }
}

/// One event for each recipient and one for the thread.
fn all<'a>(
    of_user: &'static str,
    of_thread: &'static str,
    recipients: &'a [UserId],
    shape: EventShape,
) -> Notices<'a> {
    let to_each = recipients.iter().map(move |recipient| Notice {
        event_type: of_user,
        reader: match shape {
            EventShape::Current => Reader::User(recipient),
            EventShape::Of2020 => Reader::UserOf2020(recipient),
        },
        about: None,
    });
    Box::new(to_each.chain(iter::once(to_thread(of_thread))))
}

/// The same for each of the people; each recipient is told in the words of 2020, and in `current` in today's too.
fn about_each<'a>(
    people: &'a [Person],
    names: Names,
    recipients: &'a [UserId],
    shape: EventShape,
) -> Notices<'a> {
    let of_one = move |person: &'a Person| {
        let to_each = recipients.iter().flat_map(move |recipient| {
            let today = (shape == EventShape::Current).then_some(Notice {
                event_type: names.participant,
                reader: Reader::User(recipient),
                about: Some(person),
            });
            let of_2020 = Notice {
                event_type: names.member,
                reader: Reader::UserOf2020(recipient),
                about: Some(person),
            };
            today.into_iter().chain(iter::once(of_2020))
        });
        to_each.chain(iter::once(Notice {
            about: Some(person),
            ..to_thread(names.thread)
        }))
    };
    Box::new(people.iter().flat_map(of_one))
}

/// One event, whole. `topic` is the resource it is of.
pub(crate) fn event(
    topic: &Arc<str>,
    announcement: &Announcement,
    notice: &Notice<'_>,
    id: &str,
) -> Result<Event, NotAnEvent> {
    let new = NewEvent {
        id,
        topic,
        subject: &subject(announcement, notice),
        event_type: notice.event_type,
        event_time: &announcement.at.to_string(),
        data_version: DATA_VERSION,
        data: &data::of(announcement, notice),
    };
    Event::event_grid(&new, announcement.at)
}

/// That a user is gone. The same in every shape: in 2020 there was no such event. `topic` is the resource it is of.
pub(crate) fn user_disconnected(
    topic: &Arc<str>,
    user: &UserId,
    id: &str,
    now: Timestamp,
) -> Result<Event, NotAnEvent> {
    let new = NewEvent {
        id,
        topic,
        subject: &format!("user/{user}"),
        event_type: USER_DISCONNECTED,
        event_time: &now.to_string(),
        data_version: DATA_VERSION,
        data: &data::Disconnected::from(user),
    };
    Event::event_grid(&new, now)
}

/// That a member has read up to a message. The same in every shape. `topic` is the resource it is of.
pub(crate) fn read_receipt(
    topic: &Arc<str>,
    thread: &str,
    receipt: &ReadReceipt,
    id: &str,
) -> Result<Event, NotAnEvent> {
    let new = NewEvent {
        id,
        topic,
        subject: &format!("thread/{thread}/sender/{}", receipt.reader),
        event_type: READ_RECEIPT,
        event_time: &receipt.at.to_string(),
        data_version: DATA_VERSION,
        data: &data::Read::new(thread, receipt),
    };
    Event::event_grid(&new, receipt.at)
}

/// Whom an event is for, if it is one of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Audience<'a> {
    /// A user, by its raw id.
    User(&'a str),
    /// Whoever is in the thread, but the one who is typing.
    Thread { thread: &'a str, actor: UserId },
}

/// Whom an event is for: what [`subject`] wrote, read back. `None`: it is not told to users. A stranger's event may look
/// like ours, so what is read here proves nothing.
pub(crate) fn audience(event: &Event) -> Option<Audience<'_>> {
    let subject = &*event.subject;
    if &*event.event_type == TYPING_IN_THREAD {
        let (thread, actor) = subject.strip_prefix("thread/")?.rsplit_once("/sender/")?;
        let actor = actor.parse().ok()?;
        return Some(Audience::Thread { thread, actor });
    }
    if !event.event_type.starts_with(CHAT) {
        return None;
    }
    let (_, recipient) = subject.rsplit_once("/recipient/")?;
    Some(Audience::User(recipient))
}

/// Whether it tells of somebody coming or going in the words of 2020; in `current` it has a twin in today's.
pub(crate) fn is_of_2020(event: &Event) -> bool {
    [MEMBER_ADDED, MEMBER_REMOVED].contains(&&*event.event_type)
}

/// `thread/{thread}/{what}/{who}`, and `/recipient/{user}` when it is for a user.
fn subject(announcement: &Announcement, notice: &Notice<'_>) -> String {
    let what = match (&announcement.what, notice.reader) {
        (What::ThreadCreated { .. }, _) => "createdBy",
        (What::ThreadDeleted, _) => "deletedBy",
        (What::PropertiesUpdated { .. }, _) => "editedBy",
        (What::ParticipantsAdded(_), Reader::Thread) => "participantadded",
        (What::ParticipantsAdded(_), Reader::User(_)) => "participantAdded",
        (What::ParticipantsAdded(_), Reader::UserOf2020(_)) => "memberAdded",
        (What::ParticipantsRemoved(_), Reader::Thread) => "participantremoved",
        (What::ParticipantsRemoved(_), Reader::User(_)) => "participantRemoved",
        (What::ParticipantsRemoved(_), Reader::UserOf2020(_)) => "memberRemoved",
        _ => "sender",
    };
    let who = notice
        .about
        .map_or(&announcement.actor, |person| &person.id);
    let thread = &announcement.thread;
    match notice.reader {
        Reader::Thread => format!("thread/{thread}/{what}/{who}"),
        Reader::User(recipient) | Reader::UserOf2020(recipient) => {
            format!("thread/{thread}/{what}/{who}/recipient/{recipient}")
        }
    }
}

#[cfg(test)]
mod tests;
