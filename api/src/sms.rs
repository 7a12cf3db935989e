//! SMS, as its clients speak it.
//!
//! Promise: a request whose envelope is valid is answered 202, whatever becomes of its recipients; each of them has a
//! result of its own, in the order they were given.
//! Not here: what is checked and what happens (`comms::sms`).
//! Source: reference communication-services 6.

use std::borrow::Cow;

use axum::Json;
use axum::extract::{Path, State};
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use gridpost_comms::sms::{
    DeliveryReport, OptOutError, OptOutResult, Recipient, RecipientResult, Repeatability,
    SendError, SendOptions, SendRequest,
};
use gridpost_model::Timestamp;
use http::{HeaderValue, StatusCode, header};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::communication::{Call, Refusal, Value, echo_request_id};
use crate::object::Object;
use crate::routes::Routes;
use crate::{Parts, Shared, cors, words};

/// `/sms`, `/sms/optouts:…` and `/deliveryReports/{id}`.
pub fn routes() -> Routes {
    Routes::new()
        .route("/sms", post(send))
        .route("/sms/optouts:add", post(add_opt_outs))
        .route("/sms/optouts:remove", post(remove_opt_outs))
        .route("/sms/optouts:check", post(check_opt_outs))
        .route("/deliveryReports/{id}", get(delivery_report))
        .layer(from_fn(words::layer))
        .layer(from_fn(cors::layer))
        .layer(from_fn(echo_request_id))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendIn {
    from: String,
    sms_recipients: Vec<Object<RecipientIn>>,
    message: String,
    sms_send_options: Option<Object<OptionsIn>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecipientIn {
    to: String,
    repeatability_request_id: Option<String>,
    repeatability_first_sent: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionsIn {
    enable_delivery_report: bool,
    tag: Option<String>,
    delivery_report_timeout_in_seconds: Option<u32>,
    /// A partner that is to carry the text. There is none, and another way of carrying it was not asked for.
    messaging_connect: Option<IgnoredAny>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecipientOut {
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    http_status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeatability_result: Option<&'static str>,
    successful: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<Cow<'static, str>>,
}

async fn send(State(parts): State<Shared>, call: Call) -> Result<Response, Refusal> {
    let asked: SendIn = call.json()?;
    let options = asked.sms_send_options.as_ref();
    if options.is_some_and(|Object(options)| options.messaging_connect.is_some()) {
        let message =
            "'smsSendOptions.messagingConnect' is not supported by this version of Gridpost.";
        return Err(Refusal::bad_request(message));
    }
    let results = parts.comms.send(&call.resource, asked.into()).await?;
    let value = results.into_iter().map(RecipientOut::from).collect();
    Ok((StatusCode::ACCEPTED, Json(Value { value })).into_response())
}

#[derive(Deserialize)]
struct OptOutsIn {
    from: String,
    recipients: Vec<OptOutIn>,
}

#[derive(Deserialize)]
struct OptOutIn {
    to: String,
}

impl OptOutsIn {
    fn of(call: &Call) -> Result<(String, Vec<String>), Refusal> {
        let asked: Self = call.json()?;
        Ok((
            asked.from,
            asked.recipients.into_iter().map(|one| one.to).collect(),
        ))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OptOutOut {
    to: String,
    http_status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_opted_out: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'static str>,
}

type OptOutAnswer = Result<Json<Value<OptOutOut>>, Refusal>;

async fn add_opt_outs(State(parts): State<Shared>, call: Call) -> OptOutAnswer {
    let (from, recipients) = OptOutsIn::of(&call)?;
    opt_out_answer(
        parts
            .comms
            .add_opt_outs(&call.resource, &from, &recipients)
            .await,
    )
}

async fn remove_opt_outs(State(parts): State<Shared>, call: Call) -> OptOutAnswer {
    let (from, recipients) = OptOutsIn::of(&call)?;
    opt_out_answer(
        parts
            .comms
            .remove_opt_outs(&call.resource, &from, &recipients)
            .await,
    )
}

async fn check_opt_outs(State(parts): State<Shared>, call: Call) -> OptOutAnswer {
    let (from, recipients) = OptOutsIn::of(&call)?;
    opt_out_answer(
        parts
            .comms
            .check_opt_outs(&call.resource, &from, &recipients),
    )
}

fn opt_out_answer(results: Result<Vec<OptOutResult>, OptOutError>) -> OptOutAnswer {
    Ok(Json(Value {
        value: results?.into_iter().map(OptOutOut::from).collect(),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportOut {
    message_id: String,
    from: String,
    to: String,
    delivery_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_status_details: Option<String>,
    delivery_attempts: Vec<AttemptOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptOut {
    timestamp: Timestamp,
    segments_succeeded: u32,
    segments_failed: u32,
}

async fn delivery_report(
    State(parts): State<Shared>,
    Path(id): Path<String>,
    call: Call,
) -> Result<Response, Refusal> {
    match parts.comms.delivery_report(&call.resource, &id) {
        Ok(Some(report)) => Ok(Json(ReportOut::from(report)).into_response()),
        Ok(None) => Ok(no_report(&parts)),
        Err(error) => Err(Refusal::not_stored(&error)),
    }
}

/// The one answer that this service writes as a problem document.
fn no_report(parts: &Parts) -> Response {
    let trace = parts.chance.uuid().replace('-', "");
    let body = json!({
        "type": "https://tools.ietf.org/html/rfc9110#section-15.5.5",
        "title": "Not Found",
        "status": 404,
        "traceId": format!("00-{trace}-{}-00", &trace[..16]),
    });
    let mut response = (StatusCode::NOT_FOUND, body.to_string()).into_response();
    let problem = HeaderValue::from_static("application/problem+json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, problem);
    response
}

impl From<SendIn> for SendRequest {
    fn from(asked: SendIn) -> Self {
        Self {
            from: asked.from,
            recipients: asked
                .sms_recipients
                .into_iter()
                .map(|Object(one)| Recipient::from(one))
                .collect(),
            message: asked.message,
            options: asked
                .sms_send_options
                .map(|Object(options)| SendOptions::from(options))
                .unwrap_or_default(),
        }
    }
}

impl From<RecipientIn> for Recipient {
    fn from(asked: RecipientIn) -> Self {
        Self {
            to: asked.to,
            request_id: asked.repeatability_request_id,
            first_sent: asked.repeatability_first_sent,
        }
    }
}

impl From<OptionsIn> for SendOptions {
    fn from(asked: OptionsIn) -> Self {
        Self {
            enable_delivery_report: asked.enable_delivery_report,
            tag: asked.tag,
            report_timeout_seconds: asked.delivery_report_timeout_in_seconds,
        }
    }
}

impl From<RecipientResult> for RecipientOut {
    fn from(result: RecipientResult) -> Self {
        Self {
            successful: result.is_successful(),
            message_id: result.message_id.map(|id| id.as_str().to_owned()),
            http_status_code: result.status,
            repeatability_result: result.repeatability.map(Repeatability::as_str),
            error_message: result.error,
            to: result.to,
        }
    }
}

impl From<OptOutResult> for OptOutOut {
    fn from(result: OptOutResult) -> Self {
        Self {
            http_status_code: result.status(),
            error_message: result.error(),
            is_opted_out: result.is_opted_out,
            to: result.to,
        }
    }
}

impl From<DeliveryReport> for ReportOut {
    fn from(report: DeliveryReport) -> Self {
        Self {
            message_id: report.message_id.as_str().to_owned(),
            from: report.from,
            to: report.to.to_string(),
            delivery_status: report.status.as_str(),
            delivery_status_details: report.details,
            delivery_attempts: report
                .attempts
                .iter()
                .map(|attempt| AttemptOut {
                    timestamp: attempt.at,
                    segments_succeeded: attempt.segments_succeeded,
                    segments_failed: attempt.segments_failed,
                })
                .collect(),
            received_timestamp: report.received,
            tag: report.tag,
        }
    }
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotStored(error) => Self::not_stored(&error),
            SendError::NotOwned => Self::denied(error.to_string()),
            SendError::BadFrom
            | SendError::Recipients(_)
            | SendError::Length(_)
            | SendError::ReportTimeout
            | SendError::Tag => Self::bad_request(error.to_string()),
        }
    }
}

impl From<OptOutError> for Refusal {
    fn from(error: OptOutError) -> Self {
        match error {
            OptOutError::NotStored(error) => Self::not_stored(&error),
            OptOutError::NotOwned => Self::denied(error.to_string()),
            OptOutError::BadFrom | OptOutError::Recipients(_) => {
                Self::bad_request(error.to_string())
            }
        }
    }
}
