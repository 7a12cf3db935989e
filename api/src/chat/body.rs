//! What chat bodies have in common: identifiers, participants, values that may be taken back.

use std::collections::BTreeMap;

use gridpost_comms::chat::{Candidate, Identifier, InvalidParticipant, Person};
use gridpost_model::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::communication::Refusal;
use crate::object::Object;

/// `CommunicationIdentifierModel`, as clients send it: a raw id, a typed member, or both.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdentifierIn {
    raw_id: Option<String>,
    communication_user: Option<Object<UserIn>>,
    phone_number: Option<Object<PhoneIn>>,
    microsoft_teams_user: Option<Object<TeamsUserIn>>,
}

#[derive(Deserialize)]
struct UserIn {
    id: String,
}

#[derive(Deserialize)]
struct PhoneIn {
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TeamsUserIn {
    user_id: String,
}

impl IdentifierIn {
    /// The raw id it stands for.
    pub(super) fn raw(self) -> Result<String, Refusal> {
        let user = self.communication_user.map(|Object(user)| user.id);
        let phone = self
            .phone_number
            .map(|Object(phone)| format!("4:{}", phone.value));
        let teams = self
            .microsoft_teams_user
            .map(|Object(user)| format!("8:orgid:{}", user.user_id));
        let raw = self.raw_id.filter(|raw| !raw.is_empty());
        let raw = raw.or(user).or(phone).or(teams);
        raw.ok_or_else(|| {
            Refusal::bad_request(
                "A communication identifier needs a 'rawId' or a 'communicationUser'.",
            )
        })
    }
}

/// `ChatParticipant`, as clients send it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParticipantIn {
    communication_identifier: Object<IdentifierIn>,
    display_name: Option<String>,
    share_history_time: Option<Timestamp>,
    metadata: Option<BTreeMap<String, String>>,
}

/// The participants a client names.
pub(super) fn candidates(named: Vec<Object<ParticipantIn>>) -> Result<Vec<Candidate>, Refusal> {
    let candidate = |Object(one): Object<ParticipantIn>| {
        Ok(Candidate {
            id: one.communication_identifier.0.raw()?,
            display_name: one.display_name,
            share_history_time: one.share_history_time,
            metadata: one.metadata.unwrap_or_default(),
        })
    };
    named.into_iter().map(candidate).collect()
}

/// `ChatParticipant`, as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParticipantOut<'a> {
    communication_identifier: Identifier<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_history_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Person> for ParticipantOut<'a> {
    fn from(person: &'a Person) -> Self {
        Self {
            communication_identifier: (&person.id).into(),
            display_name: person.display_name.as_deref(),
            share_history_time: person.share_history_time,
            metadata: &person.metadata,
        }
    }
}

/// One of `invalidParticipants`.
#[derive(Serialize)]
pub(super) struct InvalidOut {
    code: &'static str,
    message: &'static str,
    target: String,
}

impl From<InvalidParticipant> for InvalidOut {
    fn from(invalid: InvalidParticipant) -> Self {
        Self {
            code: invalid.why.code(),
            message: invalid.why.message(),
            target: invalid.target,
        }
    }
}

/// What a merge patch says of one field: nothing, that it goes, or its new value.
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_4_identifiers_are_read_in_every_spelling() {
        let table = [
            (
                r#"{"rawId":"8:acs:a_b","communicationUser":{"id":"8:acs:a_b"}}"#,
                Some("8:acs:a_b"),
            ),
            (
                r#"{"communicationUser":{"id":"8:acs:a_b"}}"#,
                Some("8:acs:a_b"),
            ),
            (
                r#"{"phoneNumber":{"value":"+14255550123"}}"#,
                Some("4:+14255550123"),
            ),
            (
                r#"{"microsoftTeamsUser":{"userId":"u","isAnonymous":false}}"#,
                Some("8:orgid:u"),
            ),
            (r#"{"kind":"unknown","rawId":""}"#, None),
        ];
        for (json, raw) in table {
            let read: IdentifierIn = serde_json::from_str(json).unwrap();
            assert_eq!(read.raw().ok().as_deref(), raw, "{json}");
        }
    }
}
