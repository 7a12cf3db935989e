//! Asking an endpoint whether it wants our events, before it gets any.
//!
//! Promise: an endpoint that did not agree receives nothing but this question; whoever asked for the subscription is
//! shown what was sent and what came back.
//! Not here: the question itself (`proposal`), visits of the validation URL (`confirm`), what happens when nobody visits (`retire`).
//! Source: reference event-grid 4.1 (Event Grid schema), 4.2 (CloudEvents).

use std::time::Duration;

use gridpost_model::Secret;
use gridpost_model::subscription::{DeliverySchema, WebHook};
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde::Deserialize;

use crate::Inner;
use crate::confirm::Handshaking;
use crate::destination::attributes::Taken;
use crate::outbound::{Failure, Outcome, Request, Response, SigningKey};
use crate::proposal::{ORIGIN, Proposal};
use crate::refusals::FailedHandshake;
use crate::subscriptions::SubscribeError;
use crate::transcript::{Exchange, Transcript};

/// How long we wait after a time-out before we ask again.
const PAUSE: Duration = Duration::from_secs(5);

/// How often we ask. The service's own number is not known; more would outlast the patience of management clients.
const ATTEMPTS: u32 = 2;

const NO_TOKEN: &str = "No token could be had for the Entra-protected endpoint.";

/// How an endpoint agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// It wants events.
    Given {
        /// At most so many requests per minute.
        allowed_rate: Option<u32>,
    },
    /// It left the decision to whoever visits the validation URL.
    Pending,
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
    let mut attempt = 1;
    loop {
        let outcome = exchange(inner, proposal, &mut transcript).await?;
        let verdict = match proposal.schema {
            DeliverySchema::CloudEvents => judge_permission(&outcome),
            DeliverySchema::EventGrid | DeliverySchema::Custom => {
                judge_validation(&outcome, &proposal.code)
            }
        };
        let why = match verdict {
            Verdict::Given => {
                let allowed_rate = allowed_rate(proposal.schema, &outcome);
                return Ok(Agreement::Given { allowed_rate });
            }
            // Many endpoints visit the URL while they answer, or before.
            Verdict::Pending if open.was_visited() => {
                return Ok(Agreement::Given { allowed_rate: None });
            }
            Verdict::Pending => {
                tracing::warn!(
                    subscription = %proposal.name,
                    "{} Nothing is delivered before its validation URL is visited; `gridpost doctor` shows it.",
                    why_pending(proposal.schema)
                );
                return Ok(Agreement::Pending);
            }
            Verdict::Late if attempt < ATTEMPTS => {
                attempt += 1;
                let clock = &inner.settings.clock;
                clock.sleep_until(clock.now() + PAUSE).await;
                continue;
            }
            Verdict::Late => "The endpoint did not answer in time.",
            Verdict::Refused(why) => why,
        };
        tracing::info!(subscription = %proposal.name, "the event subscription was refused: {why}");
        why.clone_into(&mut transcript.conclusion);
        expected(proposal).clone_into(&mut transcript.expected);
        inner.registry.failed_handshakes.keep(FailedHandshake {
            at: inner.settings.clock.now(),
            source: proposal.source.clone(),
            name: proposal.name.clone(),
            transcript: transcript.clone(),
        });
        return Err(failed(inner, proposal, &outcome, transcript));
    }
}

/// What would have been an agreement.
fn expected(proposal: &Proposal) -> &'static str {
    match proposal.schema {
        DeliverySchema::CloudEvents => {
            "An answer with the header WebHook-Allowed-Origin: eventgrid.azure.net (or *); or a status below 300, and a visit of the URL in WebHook-Request-Callback within 10 minutes."
        }
        DeliverySchema::EventGrid | DeliverySchema::Custom => {
            "Status 200 with the body {\"validationResponse\": \"<data.validationCode of the event>\"}; or status 200, and a visit of data.validationUrl within 10 minutes."
        }
    }
}

/// Why an endpoint that answered did not agree: there is one reason for each kind of question.
pub(crate) const fn why_pending(schema: DeliverySchema) -> &'static str {
    match schema {
        DeliverySchema::CloudEvents => {
            "The endpoint answered the OPTIONS request without a WebHook-Allowed-Origin header."
        }
        DeliverySchema::EventGrid | DeliverySchema::Custom => {
            "The endpoint answered the validation event with status 200, but not with its code: \
             {\"validationResponse\": \"<validationCode>\"}."
        }
    }
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
    let mut request = Request {
        method: method.clone(),
        endpoint,
        headers,
        body: body.clone(),
    };
    add_attributes(&proposal.hook, &mut request);
    let headers = request.headers.clone();
    let outcome = send(inner, &proposal.hook, request).await;
    let took = clock.now().since(at);
    let url = proposal.hook.base_url();
    transcript.exchanges.push(Exchange::new(
        at, took, &method, url, &headers, &body, &outcome,
    ));
    Ok(outcome)
}

/// Adds the delivery attributes that are the same in every request: endpoints ask for them before they listen.
pub(crate) fn add_attributes(hook: &WebHook, request: &mut Request) {
    // The others are of an event, and there is none.
    let _of_events = Taken::sort(&hook.attributes, &mut request.headers);
}

/// Sends a request that is no event, with the token that the endpoint asks for.
pub(crate) async fn send(inner: &Inner, hook: &WebHook, mut request: Request) -> Outcome {
    if let Some(entra) = &hook.entra {
        match inner.delivery.shared().tokens.header(entra).await {
            Ok(token) => request.headers.insert(AUTHORIZATION, token),
            Err(failure) => return Outcome::Failed(failure),
        };
    }
    if let Some(key) = hook.signing.as_ref().and_then(SigningKey::parse) {
        let id = format!("msg_{}", inner.settings.chance.uuid());
        let now = inner.settings.clock.wall();
        key.sign(&mut request.headers, &id, now, [&request.body[..]]);
    }
    inner.delivery.client().send(request).await
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
        Outcome::Failed(Failure::Token(_)) => Verdict::Refused(NO_TOKEN),
        Outcome::Failed(_) => Verdict::Refused("The endpoint could not be reached."),
        Outcome::Answered(answer) if answer.status == StatusCode::OK => {
            let reply = serde_json::from_slice::<Reply>(&answer.body).ok();
            match reply.and_then(|reply| reply.code) {
                Some(found) if Secret::new(found.as_str()) == *code => Verdict::Given,
                _ => Verdict::Pending,
            }
        }
        Outcome::Answered(answer) if answer.status.is_redirection() => Verdict::Refused(
            "The endpoint has to answer the validation event itself with status 200; redirects are not followed.",
        ),
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
        Outcome::Failed(Failure::Token(_)) => return Verdict::Refused(NO_TOKEN),
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

/// Reference 4.2: `*`, no header and whatever is no number allow any rate; so does a zero, which would allow nothing.
fn allowed_rate(schema: DeliverySchema, outcome: &Outcome) -> Option<u32> {
    let Outcome::Answered(answer) = outcome else {
        return None;
    };
    let value = answer.headers.get("webhook-allowed-rate")?;
    let rate = value.to_str().ok()?.trim().parse().ok()?;
    (schema == DeliverySchema::CloudEvents && rate > 0).then_some(rate)
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
        // The words of the service end here; ours say why.
        Outcome::Failed(failure) => format!("Unknown ({failure})"),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::HeaderName;

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
    fn section_4_2_a_number_is_a_rate_and_nothing_else_is() {
        let rate = |schema, text| {
            allowed_rate(schema, &answer(200, &[("webhook-allowed-rate", text)], ""))
        };
        assert_eq!(rate(DeliverySchema::CloudEvents, "120"), Some(120));
        for text in ["*", "0", "-5", "many", ""] {
            assert_eq!(rate(DeliverySchema::CloudEvents, text), None, "{text}");
        }
        assert_eq!(rate(DeliverySchema::EventGrid, "120"), None);
        let silent = answer(200, &[], "");
        assert_eq!(allowed_rate(DeliverySchema::CloudEvents, &silent), None);
    }
}
