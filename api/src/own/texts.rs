//! The built-in carrier: texts that arrive, handsets and what they answer by themselves.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_comms::sms::handsets::{Rule, ScriptError, Text, When};
use gridpost_comms::sms::{Inbound, ReceiveError};
use gridpost_model::{PhoneNumber, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Value;
use super::numbers::{read_number, sentence};
use super::problem::{Problem, read_json};
use crate::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextIn {
    from: String,
    to: String,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Arrived {
    message_id: String,
}

/// A text arrives.
pub(super) async fn receive(State(parts): State<Shared>, body: Bytes) -> Result<Response, Problem> {
    let text: TextIn = read_json(&body)?;
    let inbound = Inbound {
        from: read_number(&text.from)?,
        to: read_number(&text.to)?,
        text: text.message,
    };
    match parts.comms.receive(inbound).await {
        Ok(id) => {
            let arrived = Arrived {
                message_id: id.as_str().to_owned(),
            };
            Ok((StatusCode::ACCEPTED, Json(arrived)).into_response())
        }
        Err(ReceiveError::NotOurs(number)) => Err(Problem::not_found(format!(
            "The number {number} belongs to no communication resource. Give it to one with PUT /_gridpost/v1/numbers/{number}."
        ))),
        Err(error @ ReceiveError::TooLong) => Err(Problem::bad_request(sentence(&error))),
        Err(ReceiveError::NotStored(error)) => Err(Problem::not_stored(&error)),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextOut {
    message_id: String,
    from: String,
    message: String,
    at: Timestamp,
}

impl From<Text> for TextOut {
    fn from(text: Text) -> Self {
        let message_id = text.id.as_str().to_owned();
        Self {
            message_id,
            from: text.from,
            message: text.text,
            at: text.at,
        }
    }
}

/// What a handset got.
pub(super) async fn messages(
    State(parts): State<Shared>,
    number: Result<Path<String>, PathRejection>,
) -> Result<Json<Value<TextOut>>, Problem> {
    let number = read_number(&number?.0)?;
    let value = parts
        .handsets
        .texts(&number)
        .into_iter()
        .map(TextOut::from)
        .collect();
    Ok(Json(Value { value }))
}

/// How a handset answers by itself.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    rules: Vec<RuleBody>,
}

/// At most one of `is` and `contains`; neither: every text.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
    reply: String,
    #[serde(default)]
    after_ms: u64,
}

impl RuleBody {
    fn read(self) -> Result<Rule, Problem> {
        let when = match (self.is, self.contains) {
            (None, None) => When::Any,
            (Some(text), None) => When::Is(text),
            (None, Some(text)) => When::Contains(text),
            (Some(_), Some(_)) => {
                return Err(Problem::bad_request(
                    "A rule has 'is' or 'contains', not both.",
                ));
            }
        };
        Ok(Rule {
            when,
            reply: self.reply,
            after_ms: self.after_ms,
        })
    }
}

impl From<Rule> for RuleBody {
    fn from(rule: Rule) -> Self {
        let (is, contains) = match rule.when {
            When::Any => (None, None),
            When::Is(text) => (Some(text), None),
            When::Contains(text) => (None, Some(text)),
        };
        Self {
            is,
            contains,
            reply: rule.reply,
            after_ms: rule.after_ms,
        }
    }
}

/// Shows a script.
pub(super) async fn script(
    State(parts): State<Shared>,
    number: Result<Path<String>, PathRejection>,
) -> Result<Json<Script>, Problem> {
    let number = read_number(&number?.0)?;
    Ok(Json(shown(&parts, &number)))
}

/// Replaces a script.
pub(super) async fn put_script(
    State(parts): State<Shared>,
    number: Result<Path<String>, PathRejection>,
    body: Bytes,
) -> Result<Json<Script>, Problem> {
    let number = read_number(&number?.0)?;
    let script: Script = read_json(&body)?;
    let rules = script
        .rules
        .into_iter()
        .map(RuleBody::read)
        .collect::<Result<Vec<_>, _>>()?;
    set(&parts, &number, rules).await?;
    Ok(Json(shown(&parts, &number)))
}

/// Removes a script.
pub(super) async fn delete_script(
    State(parts): State<Shared>,
    number: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let number = read_number(&number?.0)?;
    set(&parts, &number, Vec::new()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(parts: &Shared, number: &PhoneNumber) -> Script {
    Script {
        rules: parts
            .handsets
            .rules(number)
            .into_iter()
            .map(RuleBody::from)
            .collect(),
    }
}

async fn set(parts: &Shared, number: &PhoneNumber, rules: Vec<Rule>) -> Result<(), Problem> {
    match parts.handsets.set_rules(number, rules).await {
        Ok(()) => Ok(()),
        Err(ScriptError::NotStored(error)) => Err(Problem::not_stored(&error)),
        Err(error @ (ScriptError::TooMany | ScriptError::TooLong)) => {
            Err(Problem::bad_request(sentence(&error)))
        }
    }
}
