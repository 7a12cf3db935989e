//! Threads: create, list, read, change, delete.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use gridpost_comms::chat::{
    Created, Identifier, NewThread, Retention, Thread, ThreadChange, ThreadItem,
};
use gridpost_model::Timestamp;
use http::request::Parts as Head;
use http::{HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::body::{InvalidOut, ParticipantIn, candidates, given};
use super::page::{By, ListCall};
use crate::auth::user_token::UserCall;
use crate::communication::Refusal;
use crate::object::Object;
use crate::origin::base_url;
use crate::{Parts, Shared};

/// What stands in a path as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~');

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateIn {
    topic: String,
    participants: Option<Vec<Object<ParticipantIn>>>,
    metadata: Option<BTreeMap<String, String>>,
    retention_policy: Option<Object<RetentionIn>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetentionIn {
    kind: String,
    delete_thread_after_days: Option<u32>,
}

impl RetentionIn {
    fn read(self) -> Result<Retention, Refusal> {
        match (&*self.kind, self.delete_thread_after_days) {
            ("none", _) => Ok(Retention::Unlimited),
            ("threadCreationDate", Some(days)) => Ok(Retention::Days(days)),
            ("threadCreationDate", None) => Err(Refusal::bad_request(
                "'retentionPolicy' of the kind 'threadCreationDate' needs 'deleteThreadAfterDays'.",
            )),
            _ => Err(Refusal::bad_request(
                "'retentionPolicy.kind' is 'threadCreationDate' or 'none'.",
            )),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreatedOut<'a> {
    chat_thread: ThreadOut<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    invalid_participants: Vec<InvalidOut>,
}

/// `ChatThreadProperties`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ThreadOut<'a> {
    id: &'a str,
    topic: &'a str,
    created_on: Timestamp,
    created_by_communication_identifier: Identifier<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    retention_policy: RetentionOut,
}

#[derive(Serialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum RetentionOut {
    None,
    ThreadCreationDate { delete_thread_after_days: u32 },
}

impl<'a> From<&'a Thread> for ThreadOut<'a> {
    fn from(thread: &'a Thread) -> Self {
        Self {
            id: &thread.id,
            topic: &thread.topic,
            created_on: thread.created,
            created_by_communication_identifier: (&thread.created_by).into(),
            metadata: &thread.metadata,
            retention_policy: match thread.retention {
                Retention::Unlimited => RetentionOut::None,
                Retention::Days(delete_thread_after_days) => RetentionOut::ThreadCreationDate {
                    delete_thread_after_days,
                },
            },
        }
    }
}

pub(super) async fn create(
    State(parts): State<Shared>,
    head: Head,
    call: UserCall,
) -> Result<Response, Refusal> {
    let asked: CreateIn = call.json()?;
    let request_id = head.headers.get("repeatability-request-id");
    let new = NewThread {
        topic: asked.topic,
        participants: candidates(asked.participants.unwrap_or_default())?,
        metadata: asked.metadata.unwrap_or_default(),
        retention: asked
            .retention_policy
            .map_or(Ok(Retention::Unlimited), |Object(policy)| policy.read())?,
        request_id: request_id.map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned()),
    };
    let Created { thread, invalid } = parts.comms.chat(&call.user).create(new).await?;
    let body = CreatedOut {
        chat_thread: (&thread).into(),
        invalid_participants: invalid.into_iter().map(InvalidOut::from).collect(),
    };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    let location = location(&parts, &head, &thread.id);
    response.headers_mut().extend(location);
    if request_id.is_some() {
        let accepted = HeaderValue::from_static("accepted");
        response
            .headers_mut()
            .insert("repeatability-result", accepted);
    }
    Ok(response)
}

/// `Location` of something in chat; `below` is what follows `/chat/threads/`, its segments not yet escaped.
pub(super) fn location(
    parts: &Parts,
    head: &Head,
    below: &str,
) -> Option<(header::HeaderName, HeaderValue)> {
    let segments: Vec<String> = below
        .split('/')
        .map(|segment| utf8_percent_encode(segment, IN_PATH).to_string())
        .collect();
    let url = format!(
        "{}/chat/threads/{}",
        base_url(parts, head),
        segments.join("/")
    );
    let value = HeaderValue::from_str(&url).ok()?;
    Some((header::LOCATION, value))
}

/// `ChatThreadItem`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemOut<'a> {
    id: &'a str,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_message_received_on: Option<Timestamp>,
}

impl<'a> From<&'a ThreadItem> for ItemOut<'a> {
    fn from(item: &'a ThreadItem) -> Self {
        Self {
            id: &item.id,
            topic: &item.topic,
            last_message_received_on: item.last_received,
        }
    }
}

pub(super) async fn list(State(parts): State<Shared>, call: ListCall) -> Result<Response, Refusal> {
    let (chat, asked) = (parts.comms.chat(&call.user), &call.asked);
    let page = chat.list(asked.since, asked.cursor.as_deref(), asked.size)?;
    Ok(call.answer(&parts, &page, By::Cursor, ItemOut::from))
}

pub(super) async fn get(
    State(parts): State<Shared>,
    Path(thread): Path<String>,
    call: UserCall,
) -> Result<Response, Refusal> {
    let thread = parts.comms.chat(&call.user).get(&thread)?;
    Ok(Json(ThreadOut::from(&thread)).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateIn {
    topic: Option<String>,
    metadata: Option<BTreeMap<String, Option<String>>>,
    #[serde(default, deserialize_with = "given")]
    retention_policy: Option<Option<Object<RetentionIn>>>,
}

pub(super) async fn update(
    State(parts): State<Shared>,
    Path(thread): Path<String>,
    call: UserCall,
) -> Result<StatusCode, Refusal> {
    let asked: UpdateIn = call.json()?;
    let retention = asked
        .retention_policy
        .map(|policy| policy.map_or(Ok(Retention::Unlimited), |Object(policy)| policy.read()));
    let change = ThreadChange {
        topic: asked.topic,
        metadata: asked.metadata.unwrap_or_default(),
        retention: retention.transpose()?,
    };
    parts.comms.chat(&call.user).update(&thread, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete(
    State(parts): State<Shared>,
    Path(thread): Path<String>,
    call: UserCall,
) -> Result<StatusCode, Refusal> {
    parts.comms.chat(&call.user).delete(&thread).await?;
    Ok(StatusCode::NO_CONTENT)
}
