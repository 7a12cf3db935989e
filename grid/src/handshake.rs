//! Asking an endpoint whether it wants our events, before it gets any.
//!
//! Promise: an endpoint that did not agree receives nothing but this question; whoever asked for the subscription is
//! shown what was sent and what came back.
//! Not here: visits of the validation URL (`confirm`), what happens when nobody visits (`retire`).
//! Source: reference event-grid 4.1 (Event Grid schema), 4.2 (CloudEvents).

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use gridpost_model::event::NewEvent;
use gridpost_model::subscription::{
    DeliverySchema, Destination, LaneId, ProvisioningState, WebHook,
};
use gridpost_model::{Event, ResourceId, Secret, Timestamp};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::confirm::Handshaking;
use crate::outbound::{Failure, Outcome, Request, Response};
use crate::subscriptions::{SubscribeError, SubscriptionSpec};
use crate::{Inner, Settings};

/// How long the validation URL can be visited. The newer of the two documented values.
pub const WINDOW: Duration = Duration::from_secs(10 * 60);

/// How long we wait after a time-out before we ask again.
const PAUSE: Duration = Duration::from_secs(5);

/// How often we ask. The service's own number is not known; more would outlast the patience of management clients.
const ATTEMPTS: u32 = 2;

/// What we call ourselves to CloudEvents endpoints. The Functions host knows no other name.
const ORIGIN: &str = "eventgrid.azure.net";

/// How much of an answer's body a transcript shows.
const SHOWN_BYTES: usize = 1024;

/// How an endpoint agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// It wants events.
    Given,
    /// It left the decision to whoever visits the validation URL.
    Pending,
}

/// Everything that was said in a handshake.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transcript {
    /// Requests and what came back, in order.
    pub exchanges: Vec<Exchange>,
    /// What was made of it, in a sentence.
    pub conclusion: String,
}

/// One request and what came back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// When it was sent.
    pub at: Timestamp,
    /// `POST` or `OPTIONS`.
    pub method: String,
    /// The endpoint, without its secret query.
    pub url: String,
    /// What was sent, without `host` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body that was sent.
    pub body: String,
    /// What came back.
    pub answer: Answer,
    /// How long it took.
    pub took_ms: u64,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// An HTTP answer.
    #[serde(rename_all = "camelCase")]
    Answered {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// The beginning of its body.
        body: String,
    },
    /// None, and why.
    Failed(String),
}

/// What is asked of an endpoint, and the secrets by which an agreement is recognised.
pub(crate) struct Proposal {
    pub(crate) lane: LaneId,
    pub(crate) token: Secret,
    hook: WebHook,
    schema: DeliverySchema,
    source: ResourceId,
    pub(crate) name: String,
    id: String,
    code: Secret,
    validation_url: String,
    at: Timestamp,
}

impl Proposal {
    pub(crate) fn new(
        settings: &Settings,
        lane: LaneId,
        source: &ResourceId,
        name: &str,
        spec: &SubscriptionSpec,
    ) -> Self {
        let chance = settings.chance.as_ref();
        let (id, code, at) = (chance.uuid(), chance.uuid(), settings.clock.now());
        let token = chance.uuid().replace('-', "").to_ascii_uppercase();
        let validation_url = format!(
            "{}/eventsubscriptions/{}/validate?id={}&t={at}&apiVersion=2018-05-01-preview&token={token}",
            settings.public_url,
            lane.0,
            chance.uuid(),
        );
        let Destination::WebHook(hook) = &spec.destination;
        Self {
            lane,
            token: Secret::new(token),
            hook: hook.clone(),
            schema: spec.delivery_schema,
            source: source.clone(),
            name: name.to_owned(),
            id,
            code: Secret::new(code),
            validation_url,
            at,
        }
    }

    /// The state of a subscription that waits for a visit from `now` on.
    pub(crate) fn awaiting(&self, now: Timestamp) -> ProvisioningState {
        let (token, code) = (self.token.clone(), self.code.clone());
        ProvisioningState::AwaitingManualAction {
            token,
            code,
            until: now + WINDOW,
        }
    }

    /// Method, headers and body of the question.
    fn question(&self) -> (Method, HeaderMap, Bytes) {
        match self.schema {
            DeliverySchema::CloudEvents => {
                (Method::OPTIONS, self.permission_headers(), Bytes::new())
            }
            DeliverySchema::EventGrid | DeliverySchema::Custom => {
                let headers = notification_headers("SubscriptionValidation", &self.name);
                (Method::POST, headers, self.validation_event())
            }
        }
    }

    fn permission_headers(&self) -> HeaderMap {
        headers([
            ("webhook-request-origin", ORIGIN),
            ("webhook-request-callback", &self.validation_url),
            ("webhook-request-rate", "120"),
        ])
    }

    fn validation_event(&self) -> Bytes {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'a> {
            validation_code: &'a str,
            validation_url: &'a str,
        }
        let data = Data {
            validation_code: self.code.reveal(),
            validation_url: &self.validation_url,
        };
        let event = own_event(
            &self.id,
            &self.source,
            "Microsoft.EventGrid.SubscriptionValidationEvent",
            &data,
            self.at,
        );
        array_of(&event.json)
    }
}

/// An event that the router itself sends to an endpoint.
pub(crate) fn own_event(
    id: &str,
    source: &ResourceId,
    event_type: &str,
    data: &impl Serialize,
    at: Timestamp,
) -> Event {
    let topic = source.as_str().into();
    let event_time = at.to_string();
    let new = NewEvent {
        id,
        topic: &topic,
        subject: "",
        event_type,
        event_time: &event_time,
        data_version: "1",
        data,
    };
    Event::event_grid(&new, at).expect("texts can always be written as JSON")
}

/// The headers of a request that carries an event of our own.
pub(crate) fn notification_headers(kind: &str, subscription: &str) -> HeaderMap {
    headers([
        ("content-type", "application/json; charset=utf-8"),
        ("aeg-event-type", kind),
        ("aeg-subscription-name", &subscription.to_ascii_uppercase()),
        ("aeg-delivery-count", "0"),
        ("aeg-data-version", "1"),
        ("aeg-metadata-version", "1"),
    ])
}

fn headers<const N: usize>(all: [(&'static str, &str); N]) -> HeaderMap {
    all.into_iter()
        .filter_map(|(name, value)| {
            Some((
                HeaderName::from_static(name),
                HeaderValue::from_str(value).ok()?,
            ))
        })
        .collect()
}

/// A JSON array with one element.
pub(crate) fn array_of(json: &[u8]) -> Bytes {
    [b"[", json, b"]"].concat().into()
}

/// What to make of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Given,
    Pending,
    /// No answer in time; ask again.
    Late,
    Refused(&'static str),
}

/// Asks the endpoint, again after a time-out, and says how it agreed.
pub(crate) async fn ask(
    inner: &Inner,
    proposal: &Proposal,
    open: &Handshaking,
) -> Result<Agreement, SubscribeError> {
    let mut transcript = Transcript::default();
    for attempt in 1.. {
        let outcome = exchange(inner, proposal, &mut transcript).await?;
        let verdict = match proposal.schema {
            DeliverySchema::CloudEvents => judge_permission(&outcome),
            DeliverySchema::EventGrid | DeliverySchema::Custom => {
                judge_validation(&outcome, &proposal.code)
            }
        };
        match verdict {
            Verdict::Given => return Ok(Agreement::Given),
            // Many endpoints visit the URL while they answer, or before.
            Verdict::Pending if open.was_visited() => return Ok(Agreement::Given),
            Verdict::Pending => return Ok(Agreement::Pending),
            Verdict::Late if attempt < ATTEMPTS => {
                let clock = &inner.settings.clock;
                clock.sleep_until(clock.now() + PAUSE).await;
            }
            Verdict::Late => {
                transcript.conclusion = "The endpoint did not answer in time.".to_owned();
                return Err(failed(inner, proposal, &outcome, transcript));
            }
            Verdict::Refused(why) => {
                transcript.conclusion = why.to_owned();
                return Err(failed(inner, proposal, &outcome, transcript));
            }
        }
    }
    unreachable!("the last attempt returns")
}

async fn exchange(
    inner: &Inner,
    proposal: &Proposal,
    transcript: &mut Transcript,
) -> Result<Outcome, SubscribeError> {
    let client = inner.delivery.client();
    let (method, headers, body) = proposal.question();
    let endpoint = client
        .endpoint(proposal.hook.url.reveal())
        .map_err(|error| {
            crate::manage::Invalid::new("destination.properties.endpointUrl", error.to_string())
        })?;
    let clock = &inner.settings.clock;
    let at = clock.now();
    let request = Request {
        method: method.clone(),
        endpoint,
        headers: headers.clone(),
        body: body.clone(),
    };
    let outcome = client.send(request).await;
    transcript.exchanges.push(Exchange {
        at,
        method: method.to_string(),
        url: proposal.hook.base_url().to_owned(),
        headers: shown(&headers),
        body: String::from_utf8_lossy(&body).into_owned(),
        answer: Answer::of(&outcome),
        took_ms: u64::try_from(clock.now().since(at).as_millis()).unwrap_or(u64::MAX),
    });
    Ok(outcome)
}

/// Reference 4.1: exactly 200 with the code agrees; 200 without leaves it to a visit; the rest refuses.
fn judge_validation(outcome: &Outcome, code: &Secret) -> Verdict {
    #[derive(Deserialize)]
    struct Reply {
        #[serde(rename = "validationResponse")]
        code: Option<String>,
    }
    match outcome {
        Outcome::Failed(Failure::TimedOut) => Verdict::Late,
        Outcome::Failed(_) => Verdict::Refused("The endpoint could not be reached."),
        Outcome::Answered(answer) if answer.status == StatusCode::OK => {
            let reply = serde_json::from_slice::<Reply>(&answer.body).ok();
            match reply.and_then(|reply| reply.code) {
                Some(found) if Secret::new(found.as_str()) == *code => Verdict::Given,
                _ => Verdict::Pending,
            }
        }
        Outcome::Answered(_) => {
            Verdict::Refused("The endpoint has to answer the validation event with status 200.")
        }
    }
}

/// Reference 4.2: the allowed origin agrees, whatever the status; a good answer without one leaves it to a visit. An
/// error without one, or somebody else's origin, is a refusal.
fn judge_permission(outcome: &Outcome) -> Verdict {
    let answer = match outcome {
        Outcome::Failed(Failure::TimedOut) => return Verdict::Late,
        Outcome::Failed(_) => return Verdict::Refused("The endpoint could not be reached."),
        Outcome::Answered(answer) => answer,
    };
    match allowed_origins(answer) {
        Some(origins)
            if origins
                .iter()
                .any(|one| *one == "*" || one.eq_ignore_ascii_case(ORIGIN)) =>
        {
            Verdict::Given
        }
        Some(_) => Verdict::Refused(
            "The endpoint's WebHook-Allowed-Origin header allows neither 'eventgrid.azure.net' nor '*'.",
        ),
        None if answer.status.is_success() => Verdict::Pending,
        None => Verdict::Refused(
            "The endpoint has to answer the OPTIONS request with a WebHook-Allowed-Origin header.",
        ),
    }
}

fn allowed_origins(answer: &Response) -> Option<Vec<&str>> {
    let values: Vec<&str> = answer
        .headers
        .get_all("webhook-allowed-origin")
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    (!values.is_empty()).then_some(values)
}

/// The error in the words of the service, its spelling included, so that scripts that look for it find it.
fn failed(
    inner: &Inner,
    proposal: &Proposal,
    outcome: &Outcome,
    transcript: Transcript,
) -> SubscribeError {
    let method = proposal.question().0;
    let code = match outcome {
        Outcome::Answered(answer) => {
            let reason = answer
                .status
                .canonical_reason()
                .unwrap_or(answer.status.as_str());
            reason.replace([' ', '-', '\''], "")
        }
        Outcome::Failed(_) => "Unknown".to_owned(),
    };
    let message = format!(
        "Webhook validation handshake failed for {}. Http {method} request failed with response code {code}. For troublehooting, visit https://aka.ms/esvalidation. Activity id:{}, timestamp: {} (UTC).",
        proposal.hook.base_url(),
        inner.settings.chance.uuid(),
        inner.settings.clock.now().us_date(),
    );
    SubscribeError::HandshakeFailed {
        message,
        transcript: Box::new(transcript),
    }
}

impl Answer {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed(failure) => Self::Failed(failure.to_string()),
            Outcome::Answered(answer) => {
                let body = &answer.body[..answer.body.len().min(SHOWN_BYTES)];
                Self::Answered {
                    status: answer.status.as_u16(),
                    headers: shown(&answer.headers),
                    body: String::from_utf8_lossy(body).into_owned(),
                }
            }
        }
    }
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.exchanges {
            writeln!(f, "{} {} {}", one.at, one.method, one.url)?;
            for (name, value) in &one.headers {
                writeln!(f, "> {name}: {value}")?;
            }
            if !one.body.is_empty() {
                writeln!(f, "> {}", one.body)?;
            }
            match &one.answer {
                Answer::Failed(why) => writeln!(f, "< {why} ({} ms)", one.took_ms)?,
                Answer::Answered {
                    status,
                    headers,
                    body,
                } => {
                    writeln!(f, "< {status} ({} ms)", one.took_ms)?;
                    for (name, value) in headers {
                        writeln!(f, "< {name}: {value}")?;
                    }
                    if !body.is_empty() {
                        writeln!(f, "< {body}")?;
                    }
                }
            }
        }
        f.write_str(&self.conclusion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Outcome {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        Outcome::Answered(Response {
            status,
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        })
    }

    #[test]
    fn section_4_1_what_an_endpoint_answers_decides() {
        let code = Secret::new("512d38b6");
        let right = r#"{"validationResponse":"512d38b6"}"#;
        let judge = |status, body| judge_validation(&answer(status, &[], body), &code);
        assert_eq!(judge(200, right), Verdict::Given);
        assert_eq!(
            judge(200, r#"{"validationResponse":"512d38b6","more":1}"#),
            Verdict::Given
        );
        for body in [
            "",
            "OK",
            "{}",
            "[]",
            r#"{"validationResponse":"other"}"#,
            r#"{"ValidationResponse":"512d38b6"}"#,
        ] {
            assert_eq!(judge(200, body), Verdict::Pending, "{body}");
        }
        for status in [201, 202, 204, 302, 400, 401, 404, 500] {
            assert!(
                matches!(judge(status, right), Verdict::Refused(_)),
                "{status}"
            );
        }
        assert_eq!(
            judge_validation(&Outcome::Failed(Failure::TimedOut), &code),
            Verdict::Late
        );
        let gone = Outcome::Failed(Failure::Resolution);
        assert!(matches!(
            judge_validation(&gone, &code),
            Verdict::Refused(_)
        ));
    }

    #[test]
    fn section_4_2_headers_decide_not_the_status() {
        let judge = |status, headers: &[_]| judge_permission(&answer(status, headers, ""));
        let origin = "webhook-allowed-origin";
        assert_eq!(
            judge(
                200,
                &[
                    (origin, "eventgrid.azure.net"),
                    ("webhook-allowed-rate", "120")
                ]
            ),
            Verdict::Given
        );
        assert_eq!(judge(200, &[(origin, "*")]), Verdict::Given);
        assert_eq!(
            judge(405, &[(origin, "EventGrid.Azure.Net")]),
            Verdict::Given
        );
        assert_eq!(
            judge(200, &[(origin, "a.example, eventgrid.azure.net")]),
            Verdict::Given
        );
        assert_eq!(judge(204, &[]), Verdict::Pending);
        assert!(matches!(
            judge(200, &[(origin, "a.example")]),
            Verdict::Refused(_)
        ));
        assert!(matches!(judge(404, &[]), Verdict::Refused(_)));
        assert_eq!(
            judge_permission(&Outcome::Failed(Failure::TimedOut)),
            Verdict::Late
        );
    }

    #[test]
    fn section_4_1_the_request_that_asks() {
        let settings = crate::testing::settings();
        let source: ResourceId = "/subscriptions/s/resourceGroups/rg/providers/p/t/dev"
            .parse()
            .unwrap();
        let spec = SubscriptionSpec::to("https://example.com/hook?code=s3cret");
        let proposal = Proposal::new(&settings, LaneId(7), &source, "es1", &spec);
        let (method, headers, body) = proposal.question();
        assert_eq!(method, Method::POST);
        let expected = [
            ("content-type", "application/json; charset=utf-8"),
            ("aeg-event-type", "SubscriptionValidation"),
            ("aeg-subscription-name", "ES1"),
            ("aeg-delivery-count", "0"),
            ("aeg-data-version", "1"),
            ("aeg-metadata-version", "1"),
        ];
        assert_eq!(headers.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(headers[name], value);
        }
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let data = &body[0]["data"];
        assert_eq!(data["validationCode"], proposal.code.reveal());
        let url = data["validationUrl"].as_str().unwrap();
        assert!(
            url.starts_with("https://127.0.0.1:8480/eventsubscriptions/7/validate?id="),
            "{url}"
        );
        assert!(
            url.ends_with(&format!("&token={}", proposal.token.reveal())),
            "{url}"
        );
        assert_eq!(
            body[0]["eventType"],
            "Microsoft.EventGrid.SubscriptionValidationEvent"
        );
        assert_eq!(body[0]["topic"], source.as_str());
        assert_eq!(body.as_array().unwrap().len(), 1);
    }

    #[test]
    fn section_4_2_the_request_that_asks() {
        let settings = crate::testing::settings();
        let source: ResourceId = "/subscriptions/s".parse().unwrap();
        let delivery_schema = DeliverySchema::CloudEvents;
        let spec = SubscriptionSpec {
            delivery_schema,
            ..SubscriptionSpec::to("https://example.com/")
        };
        let proposal = Proposal::new(&settings, LaneId(7), &source, "es1", &spec);
        let (method, headers, body) = proposal.question();
        assert_eq!((method, body.len()), (Method::OPTIONS, 0));
        assert_eq!(headers["webhook-request-origin"], "eventgrid.azure.net");
        assert_eq!(
            headers["webhook-request-callback"],
            proposal.validation_url.as_str()
        );
        assert_eq!(headers["webhook-request-rate"], "120");
    }
}
