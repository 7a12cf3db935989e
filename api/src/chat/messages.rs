//! Messages: send, list, read, edit, delete.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use gridpost_comms::chat::{Content, Draft, Edit, Identifier, Kind, Message};
use gridpost_model::Timestamp;
use http::StatusCode;
use http::request::Parts as Head;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::body::ParticipantOut;
use super::page::{By, ListCall};
use super::threads::location;
use crate::Shared;
use crate::auth::user_token::UserCall;
use crate::communication::Refusal;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendIn {
    content: String,
    sender_display_name: Option<String>,
    r#type: Option<KindIn>,
    metadata: Option<BTreeMap<String, String>>,
}

/// What clients may say; `topicUpdated` and the like are the system's.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct KindIn(Kind);

impl TryFrom<String> for KindIn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "text" => Ok(Self(Kind::Text)),
            "html" => Ok(Self(Kind::Html)),
            other => Err(format!(
                "unknown variant `{other}`, expected `text` or `html`"
            )),
        }
    }
}

pub(super) async fn send(
    State(parts): State<Shared>,
    Path(thread): Path<String>,
    head: Head,
    call: UserCall,
) -> Result<Response, Refusal> {
    let asked: SendIn = call.json()?;
    let draft = Draft {
        text: asked.content,
        kind: asked.r#type.map(|KindIn(kind)| kind).unwrap_or_default(),
        sender_display_name: asked.sender_display_name,
        metadata: asked.metadata.unwrap_or_default(),
    };
    let id = parts.comms.chat(&call.user).send(&thread, draft).await?;
    let body = Json(json!({"id": id.to_string()}));
    let mut response = (StatusCode::CREATED, body).into_response();
    let location = location(&parts, &head, &format!("{thread}/messages/{id}"));
    response.headers_mut().extend(location);
    Ok(response)
}

pub(super) async fn list(
    State(parts): State<Shared>,
    Path(thread): Path<String>,
    call: ListCall,
) -> Result<Response, Refusal> {
    let (chat, asked) = (parts.comms.chat(&call.user), &call.asked);
    let page = chat.messages(&thread, asked.since, asked.before()?, asked.size)?;
    Ok(call.answer(&parts, &page, By::Cursor, MessageOut::from))
}

pub(super) async fn get(
    State(parts): State<Shared>,
    Path((thread, message)): Path<(String, String)>,
    call: UserCall,
) -> Result<Response, Refusal> {
    let message = parts
        .comms
        .chat(&call.user)
        .message(&thread, number(&message))?;
    Ok(Json(MessageOut::from(&message)).into_response())
}

#[derive(Deserialize)]
struct EditIn {
    content: Option<String>,
    metadata: Option<BTreeMap<String, Option<String>>>,
}

pub(super) async fn edit(
    State(parts): State<Shared>,
    Path((thread, message)): Path<(String, String)>,
    call: UserCall,
) -> Result<StatusCode, Refusal> {
    let asked: EditIn = call.json()?;
    let edit = Edit {
        text: asked.content,
        metadata: asked.metadata.unwrap_or_default(),
    };
    let chat = parts.comms.chat(&call.user);
    chat.edit(&thread, number(&message), edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete(
    State(parts): State<Shared>,
    Path((thread, message)): Path<(String, String)>,
    call: UserCall,
) -> Result<StatusCode, Refusal> {
    let chat = parts.comms.chat(&call.user);
    chat.delete_message(&thread, number(&message)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A message's id. What is no number as we write it is the id of no message: none has 0.
pub(super) fn number(id: &str) -> u64 {
    let number = id.parse().unwrap_or(0_u64);
    if number.to_string() == id { number } else { 0 }
}

/// `ChatMessage`. System messages have no sender; a deleted message has no content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageOut<'a> {
    id: String,
    r#type: &'static str,
    sequence_id: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<ContentOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_display_name: Option<&'a str>,
    created_on: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_communication_identifier: Option<Identifier<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_on: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_on: Option<Timestamp>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum ContentOut<'a> {
    Said {
        message: &'a str,
    },
    Topic {
        topic: &'a str,
        initiator_communication_identifier: Identifier<'a>,
    },
    People {
        participants: Vec<ParticipantOut<'a>>,
        initiator_communication_identifier: Identifier<'a>,
    },
}

impl<'a> From<&'a Message> for MessageOut<'a> {
    fn from(message: &'a Message) -> Self {
        let sender = match &message.content {
            Content::Said { by, .. } => Some(by.into()),
            _ => None,
        };
        let content = ContentOut::from(&message.content);
        Self {
            id: message.id.to_string(),
            r#type: message.content.type_name(),
            sequence_id: message.sequence.to_string(),
            version: message.version.to_string(),
            content: message.deleted.is_none().then_some(content),
            sender_display_name: message.sender_display_name.as_deref(),
            created_on: message.created,
            sender_communication_identifier: sender,
            deleted_on: message.deleted,
            edited_on: message.edited,
            metadata: &message.metadata,
        }
    }
}

impl<'a> From<&'a Content> for ContentOut<'a> {
    fn from(content: &'a Content) -> Self {
        match content {
            Content::Said { text, .. } => Self::Said { message: text },
            Content::TopicUpdated { by, topic } => Self::Topic {
                topic,
                initiator_communication_identifier: by.into(),
            },
            Content::ParticipantsAdded { by, people }
            | Content::ParticipantsRemoved { by, people } => Self::People {
                participants: people.iter().map(ParticipantOut::from).collect(),
                initiator_communication_identifier: by.into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_id() {
        assert_eq!(number("1795312075000"), 1_795_312_075_000);
        for other in ["+1795312075000", "01795312075000", "-1", "", "x", "1e3"] {
            assert_eq!(number(other), 0, "{other}");
        }
    }

    #[test]
    fn the_type_of_a_message_is_a_word() {
        let read = |json: &str| serde_json::from_str::<KindIn>(json).ok().map(|kind| kind.0);
        assert_eq!(read(r#""html""#), Some(Kind::Html));
        for other in [r#"{"text": null}"#, r#""Text""#, r#""topicUpdated""#, "0"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
