//! Who takes part: the people of a thread, as they are given and as they are told of.
//!
//! Not here: which users exist (`identity`), who is in which thread (`thread`).
//! Source: reference communication-services 4 and 7.

use std::collections::BTreeMap;

use gridpost_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::UserId;

/// `CommunicationIdentifierModel` of a user. The samples have no `kind`; clients infer it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identifier<'a> {
    raw_id: &'a UserId,
    communication_user: CommunicationUser<'a>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct CommunicationUser<'a> {
    id: &'a UserId,
}

impl<'a> From<&'a UserId> for Identifier<'a> {
    fn from(id: &'a UserId) -> Self {
        Self {
            raw_id: id,
            communication_user: CommunicationUser { id },
        }
    }
}

/// One participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// `communicationIdentifier`.
    pub id: UserId,
    /// `displayName`.
    pub display_name: Option<String>,
    /// `shareHistoryTime`: since when it sees what was said.
    pub share_history_time: Option<Timestamp>,
    /// `metadata`.
    pub metadata: BTreeMap<String, String>,
}

impl Person {
    /// Somebody of whom nothing but the id is known.
    pub(crate) fn bare(id: UserId) -> Self {
        Self {
            id,
            display_name: None,
            share_history_time: None,
            metadata: BTreeMap::new(),
        }
    }
}

/// Somebody a client names, who may be no user of ours.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// The raw id.
    pub id: String,
    /// `displayName`.
    pub display_name: Option<String>,
    /// `shareHistoryTime`.
    pub share_history_time: Option<Timestamp>,
    /// `metadata`.
    pub metadata: BTreeMap<String, String>,
}

/// Somebody who was not taken in, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidParticipant {
    /// `target`: the raw id.
    pub target: String,
    /// Why.
    pub why: Unfit,
}

/// Why somebody was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unfit {
    /// Not a user of this communication resource.
    Foreign,
    /// There is no such user.
    Unknown,
}

impl Unfit {
    /// `code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Foreign => "403",
            Self::Unknown => "404",
        }
    }

    /// `message`.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Foreign => "The participant does not belong to this communication resource.",
            Self::Unknown => "The participant does not exist.",
        }
    }
}
