//! Read receipts and typing.

use axum::extract::{Path, State};
use axum::response::Response;
use gridpost_comms::chat::Identifier;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::messages::number;
use super::page::{By, ListCall};
use crate::Shared;
use crate::auth::user_token::UserCall;
use crate::communication::{Refusal, read_json_or_default};

pub(super) async fn receipts(
    State(parts): State<Shared>,
    Path(thread): Path<String>,
    call: ListCall,
) -> Result<Response, Refusal> {
    let (chat, asked) = (parts.comms.chat(&call.user), &call.asked);
    let page = chat.receipts(&thread, asked.skip, asked.size)?;
    Ok(call.answer(&parts, &page, By::Skip, |receipt| {
        json!({
            "senderCommunicationIdentifier": Identifier::from(&receipt.reader),
            "chatMessageId": receipt.message.to_string(),
            "readOn": receipt.at,
        })
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadIn {
    chat_message_id: String,
}

pub(super) async fn read(
    State(parts): State<Shared>,
    Path(thread): Path<String>,
    call: UserCall,
) -> Result<StatusCode, Refusal> {
    let asked: ReadIn = call.json()?;
    let message = number(&asked.chat_message_id);
    parts.comms.chat(&call.user).read(&thread, message).await?;
    Ok(StatusCode::OK)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypingIn {
    sender_display_name: Option<String>,
}

pub(super) async fn typing(
    State(parts): State<Shared>,
    Path(thread): Path<String>,
    call: UserCall,
) -> Result<StatusCode, Refusal> {
    let asked: TypingIn = read_json_or_default(&call.body)?;
    let chat = parts.comms.chat(&call.user);
    chat.typing(&thread, asked.sender_display_name).await?;
    Ok(StatusCode::OK)
}
