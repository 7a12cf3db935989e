//! Participants: list, add, remove.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::body::{IdentifierIn, InvalidOut, ParticipantIn, ParticipantOut, candidates};
use super::page::{By, ListCall};
use crate::auth::user_token::UserCall;
use crate::communication::Refusal;
use crate::object::Object;
use crate::{Parts, Shared};

pub(super) async fn list(
    State(parts): State<Shared>,
    Path(thread): Path<String>,
    call: ListCall,
) -> Result<Response, Refusal> {
    let (chat, asked) = (parts.comms.chat(&call.user), &call.asked);
    let page = chat.participants(&thread, asked.skip, asked.size)?;
    Ok(call.answer(&parts, &page, By::Skip, |member| {
        ParticipantOut::from(&member.person)
    }))
}

pub(super) async fn act(
    State(parts): State<Shared>,
    Path((thread, verb)): Path<(String, String)>,
    call: UserCall,
) -> Result<Response, Refusal> {
    match &*verb {
        ":add" => add(&parts, &thread, &call).await,
        ":remove" => remove(&parts, &thread, &call).await,
        _ => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            "Participants have the operations ':add' and ':remove'.",
        )),
    }
}

#[derive(Deserialize)]
struct AddIn {
    participants: Vec<Object<ParticipantIn>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddOut {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    invalid_participants: Vec<InvalidOut>,
}

async fn add(parts: &Parts, thread: &str, call: &UserCall) -> Result<Response, Refusal> {
    let asked: AddIn = call.json()?;
    let named = candidates(asked.participants)?;
    let invalid = parts.comms.chat(&call.user).add(thread, named).await?;
    let body = AddOut {
        invalid_participants: invalid.into_iter().map(InvalidOut::from).collect(),
    };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn remove(parts: &Parts, thread: &str, call: &UserCall) -> Result<Response, Refusal> {
    let whom = call.json::<IdentifierIn>()?.raw()?;
    parts.comms.chat(&call.user).remove(thread, &whom).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
