//! What an endpoint is asked before it gets events.
//!
//! Promise: the questions are those of the service, header by header; the code, the token and the lane in them belong
//! to one attempt to subscribe.
//! Not here: asking, and what to make of an answer (`handshake`).
//! Source: reference event-grid 4.1, 4.2.

use std::time::Duration;

use bytes::Bytes;
use gridpost_model::event::NewEvent;
use gridpost_model::subscription::{DeliverySchema, LaneId, ProvisioningState, WebHook};
use gridpost_model::{Event, ResourceId, Secret, Timestamp};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method};
use serde::Serialize;

use crate::Settings;
use crate::subscriptions::SubscriptionSpec;

/// How long the validation URL can be visited. The newer of the two documented values.
pub const WINDOW: Duration = Duration::from_secs(10 * 60);

/// What we call ourselves to CloudEvents endpoints. The Functions host knows no other name.
pub(crate) const ORIGIN: &str = "eventgrid.azure.net";

/// What is asked of an endpoint, and the secrets by which an agreement is recognised.
pub(crate) struct Proposal {
    pub(crate) lane: LaneId,
    pub(crate) token: Secret,
    pub(crate) hook: WebHook,
    pub(crate) schema: DeliverySchema,
    pub(crate) source: ResourceId,
    pub(crate) name: String,
    id: String,
    pub(crate) code: Secret,
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
        // Other kinds are not asked.
        let connections = &settings.outbound.connections;
        let hook = connections.webhook(&spec.destination).ok().flatten();
        Self {
            lane,
            token: Secret::new(token),
            hook: hook.unwrap_or_default(),
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
    pub(crate) fn question(&self) -> (Method, HeaderMap, Bytes) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
