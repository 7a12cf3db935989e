//! Faults that are injected into deliveries, in the development profile.
//!
//! Not here: what a fault does to an attempt (`grid::faults`).

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_grid::faults::{DELAY_LIMIT, Fault, Kind, Standing};
use gridpost_model::Timestamp;
use gridpost_model::time::write_span;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Value;
use super::clock::Span;
use super::problem::{Problem, read_json};
use crate::{Parts, Profile, Shared};

/// How long a name is at most: it stands in paths and headers.
const NAME_LIMIT: usize = 64;

/// A fault, as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FaultIn {
    fault: Word,
    status: Option<u16>,
    delay: Option<Span>,
    subscription: Option<String>,
    host: Option<String>,
    times: Option<u32>,
    probability: Option<f64>,
    expires_in: Option<Span>,
}

/// What a fault does, in the words of our REST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Word {
    Status,
    Delay,
    Hang,
    Reset,
    Duplicate,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FaultOut {
    name: String,
    fault: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    probability: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    /// How many attempts it struck.
    struck: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
}

impl From<Standing> for FaultOut {
    fn from(standing: Standing) -> Self {
        let left = standing.left();
        let fault = standing.fault;
        let (word, status, delay) = match fault.kind {
            Kind::Status(status) => (Word::Status, Some(status.as_u16()), None),
            Kind::Delay(delay) => (Word::Delay, None, Some(write_span(delay))),
            Kind::Hang => (Word::Hang, None, None),
            Kind::Reset => (Word::Reset, None, None),
            Kind::Duplicate => (Word::Duplicate, None, None),
        };
        Self {
            name: standing.name.to_string(),
            fault: word,
            status,
            delay,
            subscription: fault.subscription,
            host: fault.host,
            times: fault.times,
            probability: fault.probability,
            expires: fault.expires,
            struck: standing.struck,
            left,
        }
    }
}

impl FaultIn {
    fn read(self, now: Timestamp) -> Result<Fault, Problem> {
        let kind = self.kind()?;
        let probability = self.probability.unwrap_or(1.0);
        if !(probability > 0.0 && probability <= 1.0) {
            return Err(Problem::bad_request(
                "'probability' is above 0 and at most 1.",
            ));
        }
        if self.times == Some(0) {
            return Err(Problem::bad_request("'times' must be at least 1."));
        }
        let expires_in = self.expires_in.as_ref().map(Span::read).transpose()?;
        Ok(Fault {
            subscription: self.subscription,
            host: self.host,
            kind,
            times: self.times,
            probability,
            expires: expires_in.map(|span: Duration| now + span),
        })
    }

    fn kind(&self) -> Result<Kind, Problem> {
        if self.status.is_some() != (self.fault == Word::Status) {
            return Err(Problem::bad_request(
                "'status' belongs to the fault \"status\", and to no other.",
            ));
        }
        let delay = self.delay.as_ref().map(Span::read).transpose()?;
        if delay.is_some() != (self.fault == Word::Delay) {
            return Err(Problem::bad_request(
                "'delay' belongs to the fault \"delay\", and to no other.",
            ));
        }
        Ok(match (self.fault, self.status, delay) {
            // A status of success would lose the event: nothing is sent, and all seems well.
            (Word::Status, Some(status @ 300..=599), _) => {
                Kind::Status(StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT))
            }
            (Word::Status, ..) => {
                return Err(Problem::bad_request("'status' must be from 300 to 599."));
            }
            (Word::Delay, _, Some(delay)) if delay <= DELAY_LIMIT => Kind::Delay(delay),
            (Word::Delay, ..) => {
                return Err(Problem::bad_request("'delay' is at most 60 seconds."));
            }
            (Word::Hang, ..) => Kind::Hang,
            (Word::Reset, ..) => Kind::Reset,
            (Word::Duplicate, ..) => Kind::Duplicate,
        })
    }
}

/// All faults.
pub(super) async fn list(State(parts): State<Shared>) -> Json<Value<FaultOut>> {
    let standing = parts.grid.faults().list(parts.clock.now());
    Json(Value {
        value: standing.into_iter().map(FaultOut::from).collect(),
    })
}

/// One fault.
pub(super) async fn get(
    State(parts): State<Shared>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<FaultOut>, Problem> {
    let name = name?.0;
    shown(&parts, &name).map(Json)
}

fn shown(parts: &Parts, name: &str) -> Result<FaultOut, Problem> {
    let standing = parts.grid.faults().list(parts.clock.now());
    let found = standing.into_iter().find(|one| *one.name == *name);
    found.map(FaultOut::from).ok_or_else(|| none(name))
}

fn none(name: &str) -> Problem {
    Problem::not_found(format!("There is no fault '{name}'."))
}

/// Sets a fault.
pub(super) async fn put(
    State(parts): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    body: Bytes,
) -> Result<Response, Problem> {
    let name = name?.0;
    if parts.profile == Profile::Production {
        return Err(Problem::forbidden(
            "Faults are injected in the development profile only.",
        ));
    }
    let is_good = (1..=NAME_LIMIT).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    if !is_good {
        return Err(Problem::bad_request(
            "A fault's name is 1 to 64 letters, digits, '.', '-' and '_'.",
        ));
    }
    let fault: FaultIn = read_json(&body)?;
    let fault = fault.read(parts.clock.now())?;
    if let Some(name) = &fault.subscription
        && !parts.grid.has_event_subscription_named(name)
    {
        return Err(Problem::bad_request(format!(
            "There is no event subscription '{name}': the fault would strike nothing."
        )));
    }
    let is_new = parts
        .grid
        .faults()
        .put(&name, fault)
        .map_err(|error| Problem::conflict(format!("Nothing was changed: {error}.")))?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(shown(&parts, &name)?)).into_response())
}

/// Ends a fault.
pub(super) async fn delete(
    State(parts): State<Shared>,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let name = name?.0;
    if parts.grid.faults().remove(&name) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(none(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(body: &str) -> Option<Kind> {
        let fault: FaultIn = serde_json::from_str(body).ok()?;
        fault.read(Timestamp::EPOCH).ok().map(|fault| fault.kind)
    }

    #[test]
    fn every_kind_is_read_with_what_belongs_to_it() {
        let unavailable = Kind::Status(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            kind(r#"{"fault":"status","status":503}"#),
            Some(unavailable)
        );
        let delay = Kind::Delay(Duration::from_secs(2));
        assert_eq!(kind(r#"{"fault":"delay","delay":"2s"}"#), Some(delay));
        assert_eq!(kind(r#"{"fault":"hang"}"#), Some(Kind::Hang));
        assert_eq!(kind(r#"{"fault":"reset","times":1}"#), Some(Kind::Reset));
        assert_eq!(kind(r#"{"fault":"duplicate"}"#), Some(Kind::Duplicate));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for body in [
            r#"{"fault":"status"}"#,
            r#"{"fault":"status","status":200}"#,
            r#"{"fault":"hang","status":503}"#,
            r#"{"fault":"delay"}"#,
            r#"{"fault":"delay","delay":61}"#,
            r#"{"fault":"reset","delay":1}"#,
            r#"{"fault":"reset","times":0}"#,
            r#"{"fault":"reset","probability":0}"#,
            r#"{"fault":"reset","probability":1.5}"#,
            r#"{"fault":"reset","expiresIn":"soon"}"#,
            r#"{"fault":"explode"}"#,
            r#"{"fault":"reset","often":true}"#,
        ] {
            assert_eq!(kind(body), None, "{body}");
        }
    }
}
