//! Which number belongs to which communication resource.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_comms::{AssignError, Assignment};
use gridpost_model::{PhoneNumber, ResourceId, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Value;
use super::problem::{Problem, read_json};
use crate::{Parts, Shared};

#[derive(Serialize)]
pub(super) struct NumberOut {
    number: PhoneNumber,
    resource: String,
    since: Timestamp,
}

impl From<Assignment> for NumberOut {
    fn from(assignment: Assignment) -> Self {
        Self {
            number: assignment.number,
            resource: assignment.resource.as_str().to_owned(),
            since: assignment.since,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberIn {
    resource: Option<ResourceId>,
}

/// All numbers.
pub(super) async fn list(State(parts): State<Shared>) -> Json<Value<NumberOut>> {
    Json(Value {
        value: parts
            .comms
            .numbers()
            .into_iter()
            .map(NumberOut::from)
            .collect(),
    })
}

/// One number.
pub(super) async fn get(
    State(parts): State<Shared>,
    number: Result<Path<String>, PathRejection>,
) -> Result<Json<NumberOut>, Problem> {
    let number = read_number(&number?.0)?;
    let found = parts
        .comms
        .numbers()
        .into_iter()
        .find(|one| one.number == number);
    found
        .map(|one| Json(one.into()))
        .ok_or_else(|| nobodys(&number))
}

/// Gives a number to a resource; without a body, to the only one there is.
pub(super) async fn put(
    State(parts): State<Shared>,
    number: Result<Path<String>, PathRejection>,
    body: Bytes,
) -> Result<Response, Problem> {
    let number = read_number(&number?.0)?;
    let asked: NumberIn = if body.is_empty() {
        NumberIn::default()
    } else {
        read_json(&body)?
    };
    let resource = match asked.resource {
        Some(resource) => resource,
        None => only_resource(&parts)?,
    };
    let status = match parts.comms.owner_of(&number) {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    match parts.comms.assign(&resource, number).await {
        Ok(assignment) => Ok((status, Json(NumberOut::from(assignment))).into_response()),
        Err(AssignError::NotStored(error)) => Err(Problem::not_stored(&error)),
        Err(error @ AssignError::NoSuchResource(_)) => Err(Problem::not_found(sentence(&error))),
        Err(error @ AssignError::Taken(_)) => Err(Problem::conflict(sentence(&error))),
    }
}

/// Takes a number from its resource.
pub(super) async fn delete(
    State(parts): State<Shared>,
    number: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let number = read_number(&number?.0)?;
    match parts.comms.release(&number).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(nobodys(&number)),
        Err(error) => Err(Problem::not_stored(&error)),
    }
}

/// Reads a number of a path or body.
///
/// # Errors
/// It is none.
pub(super) fn read_number(text: &str) -> Result<PhoneNumber, Problem> {
    text.parse().map_err(|_| {
        Problem::bad_request(format!(
            "'{text}' is not a phone number. Write it as '+15555550100', with 1 to 15 digits."
        ))
    })
}

/// A domain error as a sentence of an answer.
pub(super) fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn only_resource(parts: &Parts) -> Result<ResourceId, Problem> {
    match &*parts.comms.all_resources() {
        [only] => Ok(only.id.clone()),
        all => Err(Problem::bad_request(format!(
            "There are {} communication resources. Name one in 'resource'.",
            all.len()
        ))),
    }
}

fn nobodys(number: &PhoneNumber) -> Problem {
    Problem::not_found(format!("The number {number} belongs to no resource."))
}
