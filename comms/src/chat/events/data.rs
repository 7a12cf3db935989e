//! The `data` of chat events: its fields, in the order of the samples.
//!
//! Promise: a field is named in one place for all three readers (the thread, a user, a user of 2020), so that the
//! shapes cannot drift apart.
//! Source: reference communication-events 2, 3, 9.

use std::collections::BTreeMap;

use gridpost_model::Timestamp;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{Notice, Reader};
use crate::chat::announce::{Announcement, Said, What};
use crate::chat::message::ReadReceipt;
use crate::chat::person::{Identifier, Person};
use crate::chat::thread::of_millis;
use crate::identity::UserId;

/// The fields of one event, in order.
pub(super) struct Data<'a> {
    reader: Reader<'a>,
    fields: Vec<(&'static str, Value<'a>)>,
}

enum Value<'a> {
    Text(&'a str),
    MessageId(u64),
    Version(u64),
    Time(Timestamp),
    /// With `+00:00`, as the events of threads write it.
    OffsetTime(Timestamp),
    User(&'a UserId),
    /// `displayName` and `memberId`.
    Member(&'a Person),
    Members(&'a [Person]),
    /// `displayName` and `participantCommunicationIdentifier`.
    Participant(&'a Person),
    Participants(&'a [Person]),
    Topic(&'a str),
    Texts(&'a BTreeMap<String, String>),
    Empty,
}

/// The fields of an event.
pub(super) fn of<'a>(announcement: &'a Announcement, notice: &Notice<'a>) -> Data<'a> {
    let mut data = Data {
        reader: notice.reader,
        fields: Vec::with_capacity(16),
    };
    data.happening(announcement, notice.about);
    let is_of_thread = !matches!(
        announcement.what,
        What::MessageReceived(_)
            | What::MessageEdited(_)
            | What::MessageDeleted(_)
            | What::Typing { .. }
    );
    if is_of_thread {
        data.time("createTime", announcement.created);
    }
    data.put("version", Value::Version(announcement.version));
    data.recipient(notice.about.is_some());
    data.put("transactionId", Value::Text(&announcement.transaction));
    data.put("threadId", Value::Text(&announcement.thread));
    data
}

impl<'a> Data<'a> {
    fn put(&mut self, name: &'static str, value: Value<'a>) {
        self.fields.push((name, value));
    }

    fn time(&mut self, name: &'static str, moment: Timestamp) {
        let value = match self.reader {
            Reader::Thread => Value::OffsetTime(moment),
            Reader::User(_) | Reader::UserOf2020(_) => Value::Time(moment),
        };
        self.put(name, value);
    }

    /// A field of 2020; the events of threads never had it.
    fn of_2020(&mut self, name: &'static str, value: Value<'a>) {
        if !matches!(self.reader, Reader::Thread) {
            self.put(name, value);
        }
    }

    /// A field that came later.
    fn of_today(&mut self, name: &'static str, value: Value<'a>) {
        if !matches!(self.reader, Reader::UserOf2020(_)) {
            self.put(name, value);
        }
    }

    /// Comings and goings have twins, so theirs carry the name of one generation only, as the samples do.
    fn recipient(&mut self, has_twin: bool) {
        let (Reader::User(recipient) | Reader::UserOf2020(recipient)) = self.reader else {
            return;
        };
        if !(has_twin && matches!(self.reader, Reader::User(_))) {
            self.of_2020("recipientId", Value::Text(recipient.as_str()));
        }
        self.of_today("recipientCommunicationIdentifier", Value::User(recipient));
    }

    fn happening(&mut self, announcement: &'a Announcement, about: Option<&'a Person>) {
        let (at, actor) = (announcement.at, &announcement.actor);
        match &announcement.what {
            What::MessageReceived(said) => {
                self.put("messageBody", Value::Text(&said.text));
                self.message(said, actor);
            }
            What::MessageEdited(said) => {
                self.time("editTime", at);
                self.put("messageBody", Value::Text(&said.text));
                self.message(said, actor);
            }
            What::MessageDeleted(said) => {
                self.time("deleteTime", at);
                self.message(said, actor);
            }
            What::ThreadCreated {
                topic,
                metadata,
                people,
            } => {
                self.of_2020("createdBy", Value::Text(actor.as_str()));
                self.of_today("createdByCommunicationIdentifier", Value::User(actor));
                self.put("properties", Value::Topic(topic));
                self.of_today("metadata", Value::Texts(metadata));
                self.of_2020("members", Value::Members(people));
                self.of_today("participants", Value::Participants(people));
            }
            What::ThreadDeleted => {
                self.of_2020("deletedBy", Value::Text(actor.as_str()));
                self.of_today("deletedByCommunicationIdentifier", Value::User(actor));
                self.time("deleteTime", at);
            }
            What::PropertiesUpdated { topic, metadata } => {
                self.of_2020("editedBy", Value::Text(actor.as_str()));
                self.of_today("editedByCommunicationIdentifier", Value::User(actor));
                self.time("editTime", at);
                self.put("properties", Value::Topic(topic));
                self.of_today("metadata", Value::Texts(metadata));
            }
            What::ParticipantsAdded(_) => {
                self.time("time", at);
                self.mover("addedBy", "addedByCommunicationIdentifier", actor);
                self.moved("memberAdded", "participantAdded", about);
            }
            What::ParticipantsRemoved(_) => {
                self.time("time", at);
                self.mover("removedBy", "removedByCommunicationIdentifier", actor);
                self.moved("memberRemoved", "participantRemoved", about);
            }
            What::Typing { display_name } => {
                self.put("messageBody", Value::Text(""));
                self.put("messageId", Value::MessageId(announcement.version));
                self.put("metadata", Value::Empty);
                self.sender(display_name.as_deref(), actor);
                self.time("composeTime", of_millis(announcement.version));
                self.put("type", Value::Text("Text"));
            }
        }
    }

    fn message(&mut self, said: &'a Said, actor: &'a UserId) {
        self.put("messageId", Value::MessageId(said.id));
        let has_body = self.fields.iter().any(|(name, _)| *name == "messageBody");
        if has_body {
            self.of_today("metadata", Value::Texts(&said.metadata));
        }
        self.sender(said.display_name.as_deref(), actor);
        self.time("composeTime", said.composed);
        self.put("type", Value::Text(said.kind.in_events()));
    }

    fn sender(&mut self, display_name: Option<&'a str>, actor: &'a UserId) {
        self.of_2020("senderId", Value::Text(actor.as_str()));
        self.of_today("senderCommunicationIdentifier", Value::User(actor));
        if let Some(name) = display_name {
            self.put("senderDisplayName", Value::Text(name));
        }
    }

    /// The two generations are told of people in events of their own, so none has both names.
    fn mover(&mut self, of_2020: &'static str, of_today: &'static str, actor: &'a UserId) {
        match self.reader {
            Reader::UserOf2020(_) => self.put(of_2020, Value::Text(actor.as_str())),
            Reader::User(_) | Reader::Thread => self.put(of_today, Value::User(actor)),
        }
    }

    fn moved(&mut self, of_2020: &'static str, of_today: &'static str, about: Option<&'a Person>) {
        let Some(person) = about else { return };
        match self.reader {
            Reader::UserOf2020(_) => self.put(of_2020, Value::Member(person)),
            Reader::User(_) | Reader::Thread => self.put(of_today, Value::Participant(person)),
        }
    }
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::MessageId(id) => serializer.collect_str(id),
            Self::Version(version) => serializer.serialize_u64(*version),
            Self::Time(moment) => moment.serialize(serializer),
            Self::OffsetTime(moment) => {
                let text = moment.to_string();
                serializer.collect_str(&format_args!("{}+00:00", text.trim_end_matches('Z')))
            }
            Self::User(id) => Identifier::from(*id).serialize(serializer),
            Self::Member(person) => MemberOut::from(*person).serialize(serializer),
            Self::Members(people) => serializer.collect_seq(people.iter().map(MemberOut::from)),
            Self::Participant(person) => ParticipantOut::from(*person).serialize(serializer),
            Self::Participants(people) => {
                serializer.collect_seq(people.iter().map(ParticipantOut::from))
            }
            Self::Topic(topic) => PropertiesOut { topic }.serialize(serializer),
            Self::Texts(texts) => texts.serialize(serializer),
            Self::Empty => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

#[derive(serde::Serialize)]
struct PropertiesOut<'a> {
    topic: &'a str,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    member_id: &'a UserId,
}

impl<'a> From<&'a Person> for MemberOut<'a> {
    fn from(person: &'a Person) -> Self {
        Self {
            display_name: person.display_name.as_deref(),
            member_id: &person.id,
        }
    }
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ParticipantOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    participant_communication_identifier: Identifier<'a>,
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Person> for ParticipantOut<'a> {
    fn from(person: &'a Person) -> Self {
        Self {
            display_name: person.display_name.as_deref(),
            participant_communication_identifier: Identifier::from(&person.id),
            metadata: &person.metadata,
        }
    }
}

/// What `UserDisconnected` says.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Disconnected<'a> {
    user_communication_identifier: Identifier<'a>,
}

impl<'a> From<&'a UserId> for Disconnected<'a> {
    fn from(user: &'a UserId) -> Self {
        Self {
            user_communication_identifier: user.into(),
        }
    }
}

/// What `ChatReadReceiptReceived` says.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Read<'a> {
    chat_message_id: String,
    read_on: String,
    sender_communication_identifier: Identifier<'a>,
    thread_id: &'a str,
}

impl<'a> Read<'a> {
    pub(super) fn new(thread: &'a str, receipt: &'a ReadReceipt) -> Self {
        Self {
            chat_message_id: receipt.message.to_string(),
            read_on: receipt.at.to_string(),
            sender_communication_identifier: (&receipt.reader).into(),
            thread_id: thread,
        }
    }
}
