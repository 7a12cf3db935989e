//! Messages, as rows.
//!
//! Promise: a message's key ends in its id, and ids grow with time, so the newest page, the next page and one message
//! are each found by key, however long the thread is.
//! Not here: who may write or read them (`messages`).
//! Source: reference communication-services 7.

use std::collections::BTreeMap;

use gridpost_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::chat::person::Person;
use crate::identity::UserId;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `id`: milliseconds since 1970.
    pub id: u64,
    /// `sequenceId`.
    pub sequence: u64,
    /// `version`: milliseconds since 1970 of the last change.
    pub version: u64,
    /// What it says.
    pub content: Content,
    /// `createdOn`.
    pub created: Timestamp,
    /// `senderDisplayName`.
    pub sender_display_name: Option<String>,
    /// `editedOn`.
    pub edited: Option<Timestamp>,
    /// `deletedOn`. What it said is gone.
    pub deleted: Option<Timestamp>,
    /// `metadata`.
    pub metadata: BTreeMap<String, String>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Somebody said something.
    Said {
        /// Who.
        by: UserId,
        /// Plain or marked up.
        kind: Kind,
        /// What.
        text: String,
    },
    /// The topic is another one.
    TopicUpdated {
        /// Who changed it.
        by: UserId,
        /// The new one.
        topic: String,
    },
    /// People were added.
    ParticipantsAdded {
        /// By whom.
        by: UserId,
        /// Who.
        people: Vec<Person>,
    },
    /// People were removed, or left.
    ParticipantsRemoved {
        /// By whom.
        by: UserId,
        /// Who.
        people: Vec<Person>,
    },
}

/// How a text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `text`.
    #[default]
    Text,
    /// `html`.
    Html,
}

impl Kind {
    /// How events write it. `RichText/Html` is unconfirmed.
    pub(crate) const fn in_events(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Html => "RichText/Html",
        }
    }
}

impl Content {
    /// `type`.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Said {
                kind: Kind::Text, ..
            } => "text",
            Self::Said {
                kind: Kind::Html, ..
            } => "html",
            Self::TopicUpdated { .. } => "topicUpdated",
            Self::ParticipantsAdded { .. } => "participantAdded",
            Self::ParticipantsRemoved { .. } => "participantRemoved",
        }
    }
}

/// Up to where somebody has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReceipt {
    /// Who.
    pub reader: UserId,
    /// `chatMessageId`.
    pub message: u64,
    /// `readOn`.
    pub at: Timestamp,
}
