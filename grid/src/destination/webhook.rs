//! The webhook request, exactly as the service sends it.
//!
//! Promise: header names, values and the shape of the body are those of the reference. All headers but three are
//! made once per subscription; a large event is shared with its request, not copied.
//! Source: reference event-grid 5.1, 4.2.

use gridpost_model::Event;
use gridpost_model::event::NotAnEvent;
use gridpost_model::subscription::{DeliverySchema, Entra, EventSubscription, WebHook};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::Parcel;
use super::attributes::Taken;
use crate::outbound::{Body, Endpoint, SigningKey, message_id};

const EVENT_TYPE: HeaderName = HeaderName::from_static("aeg-event-type");
const SUBSCRIPTION_NAME: HeaderName = HeaderName::from_static("aeg-subscription-name");
const DELIVERY_COUNT: HeaderName = HeaderName::from_static("aeg-delivery-count");
const DATA_VERSION: HeaderName = HeaderName::from_static("aeg-data-version");
const METADATA_VERSION: HeaderName = HeaderName::from_static("aeg-metadata-version");
const OUTPUT_EVENT_ID: HeaderName = HeaderName::from_static("aeg-output-event-id");
const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");

/// A webhook and what all requests to it have in common.
pub(crate) struct Webhook {
    endpoint: Endpoint,
    schema: DeliverySchema,
    /// Whether several events may go together. The shape of a request follows from this, not from how many there are.
    batches: bool,
    headers: HeaderMap,
    taken: Taken,
    signing: Option<SigningKey>,
    entra: Option<Entra>,
}

impl Webhook {
    /// A webhook at that endpoint, with the name and the delivery schema of the subscription. `hook` says the rest.
    pub(super) fn new(
        subscription: &EventSubscription,
        endpoint: Endpoint,
        hook: &WebHook,
    ) -> Self {
        let schema = subscription.delivery_schema;
        let batches = 1 < hook.batch.max_events;
        let mut headers = common_headers(&subscription.name, schema, batches, &endpoint);
        let taken = Taken::sort(&hook.attributes, &mut headers);
        Self {
            endpoint,
            schema,
            batches,
            headers,
            taken,
            signing: hook.signing.as_ref().and_then(SigningKey::parse),
            entra: hook.entra.clone(),
        }
    }

    /// The application that requests need a token for.
    pub(crate) fn entra(&self) -> Option<&Entra> {
        self.entra.as_ref()
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether requests are signed.
    pub(crate) fn signs(&self) -> bool {
        self.signing.is_some()
    }

    pub(crate) fn request(&self, parcel: &Parcel<'_>) -> Result<http::Request<Body>, NotAnEvent> {
        let mut request = http::Request::new(self.body(parcel.events)?);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.target().clone();
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        if parcel.attempts_made > 0 {
            headers.insert(DELIVERY_COUNT, parcel.attempts_made.into());
        }
        if let [event] = parcel.events {
            if self.schema != DeliverySchema::CloudEvents {
                set(headers, DATA_VERSION, &event.data_version);
            }
            set(headers, OUTPUT_EVENT_ID, &event.id);
            self.taken.put(headers, event);
        } else {
            // What is said of one event cannot be said of several.
            headers.remove(DATA_VERSION);
            headers.remove(OUTPUT_EVENT_ID);
        }
        if let Some(token) = parcel.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        if let Some(key) = &self.signing {
            let mut signed = HeaderMap::new();
            let parts = request.body().parts();
            key.sign(&mut signed, &message_id(parcel.events), parcel.at, parts);
            request.headers_mut().extend(signed);
        }
        Ok(request)
    }

    fn body(&self, events: &[&Event]) -> Result<Body, NotAnEvent> {
        match events {
            [event] if self.schema != DeliverySchema::CloudEvents => {
                Ok(Body::array_of_one(event.in_schema(self.schema)?))
            }
            [event] if !self.batches => Ok(Body::Whole(event.in_schema(self.schema)?)),
            events => self.array_of(events),
        }
    }

    fn array_of(&self, events: &[&Event]) -> Result<Body, NotAnEvent> {
        let bytes: usize = events.iter().map(|event| event.json.len() + 1).sum();
        let mut array = Vec::with_capacity(bytes + 2);
        for event in events {
            array.push(if array.is_empty() { b'[' } else { b',' });
            array.extend_from_slice(&event.in_schema(self.schema)?);
        }
        array.push(b']');
        Ok(Body::Whole(array.into()))
    }
}

/// The headers of every request. The ones that change hold their place, so that replacing them moves nothing.
fn common_headers(
    name: &str,
    schema: DeliverySchema,
    batches: bool,
    endpoint: &Endpoint,
) -> HeaderMap {
    let text = HeaderValue::from_static;
    let cloud = schema == DeliverySchema::CloudEvents;
    let mut headers = HeaderMap::with_capacity(9);
    headers.insert(HOST, endpoint.authority().clone());
    headers.insert(CONTENT_TYPE, text(content_type(schema, batches)));
    headers.insert(EVENT_TYPE, text("Notification"));
    set(&mut headers, SUBSCRIPTION_NAME, &name.to_uppercase());
    headers.insert(DELIVERY_COUNT, text("0"));
    headers.insert(METADATA_VERSION, text(if cloud { "1.0" } else { "1" }));
    if cloud {
        headers.insert(REQUEST_ORIGIN, text("eventgrid.azure.net"));
    } else {
        headers.insert(DATA_VERSION, text(""));
    }
    headers.insert(OUTPUT_EVENT_ID, text(""));
    headers
}

fn content_type(schema: DeliverySchema, batches: bool) -> &'static str {
    match schema {
        DeliverySchema::CloudEvents if batches => {
            "application/cloudevents-batch+json; charset=utf-8"
        }
        DeliverySchema::CloudEvents => "application/cloudevents+json; charset=utf-8",
        DeliverySchema::EventGrid | DeliverySchema::Custom => "application/json; charset=utf-8",
    }
}

/// The longest text of a publisher that is put into a header: servers refuse requests with long ones.
const MAX_HEADER_BYTES: usize = 1_024;

/// Sets a header to a publisher's text. A text that cannot stand in a header is left out: the body has it too.
fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    match HeaderValue::from_bytes(text.as_bytes()) {
        Ok(value) if text.len() <= MAX_HEADER_BYTES => headers.insert(name, value),
        _ => headers.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use gridpost_model::event::NewEvent;
    use gridpost_model::subscription::{Batch, LaneId, ProvisioningState, WebHook};
    use gridpost_model::{Destination, Filter, RetryPolicy, Timestamp};
    use http_body_util::BodyExt as _;
    use hyper::body::Body as _;

    use super::*;

    fn webhook(schema: DeliverySchema) -> Webhook {
        batching(schema, 1)
    }

    fn batching(schema: DeliverySchema, max_events: u32) -> Webhook {
        let url = "https://example.com/hook?code=1";
        let subscription = EventSubscription {
            name: "my-Hook".into(),
            source: "/subscriptions/s".parse().unwrap(),
            lane: LaneId(1),
            destination: Destination::WebHook(WebHook::new(url)),
            filter: Filter::default(),
            labels: Vec::new(),
            expires: None,
            delivery_schema: schema,
            retry_policy: RetryPolicy::default(),
            dead_letter: None,
            state: ProvisioningState::Succeeded,
            created: Timestamp::EPOCH,
            updated: Timestamp::EPOCH,
        };
        let hook = WebHook {
            batch: Batch {
                max_events,
                ..Batch::default()
            },
            ..WebHook::new(url)
        };
        Webhook::new(&subscription, url.parse().unwrap(), &hook)
    }

    impl Webhook {
        fn request_of(&self, event: &Event, attempts_made: u32) -> http::Request<Body> {
            let parcel = Parcel {
                events: &[event],
                attempts_made,
                at: Timestamp::EPOCH,
                token: None,
            };
            self.request(&parcel).unwrap()
        }
    }

    fn event(id: &str) -> Event {
        let new = NewEvent {
            id,
            topic: &"/t".into(),
            subject: "s",
            event_type: "x",
            event_time: "2026-01-01T00:00:00Z",
            data_version: "1.0",
            data: &serde_json::json!(null),
        };
        Event::event_grid(&new, Timestamp::EPOCH).unwrap()
    }

    fn headers(request: &http::Request<Body>) -> Vec<(&str, &str)> {
        request
            .headers()
            .iter()
            .map(|(n, v)| (n.as_str(), v.to_str().unwrap()))
            .collect()
    }

    async fn body(request: http::Request<Body>) -> bytes::Bytes {
        request.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn section_5_1_the_request_in_the_event_grid_schema() {
        let event = event("e-1");
        let request = webhook(DeliverySchema::EventGrid).request_of(&event, 2);
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "/hook?code=1");
        assert_eq!(
            headers(&request),
            [
                ("host", "example.com"),
                ("content-type", "application/json; charset=utf-8"),
                ("aeg-event-type", "Notification"),
                ("aeg-subscription-name", "MY-HOOK"),
                ("aeg-delivery-count", "2"),
                ("aeg-metadata-version", "1"),
                ("aeg-data-version", "1.0"),
                ("aeg-output-event-id", "e-1"),
            ]
        );
        let expected = [b"[", event.json.as_ref(), b"]"].concat();
        assert_eq!(body(request).await, expected);
    }

    #[tokio::test]
    async fn section_5_1_the_request_in_the_cloud_events_schema() {
        let event = event("e-1");
        let request = webhook(DeliverySchema::CloudEvents).request_of(&event, 0);
        assert_eq!(
            headers(&request),
            [
                ("host", "example.com"),
                (
                    "content-type",
                    "application/cloudevents+json; charset=utf-8"
                ),
                ("aeg-event-type", "Notification"),
                ("aeg-subscription-name", "MY-HOOK"),
                ("aeg-delivery-count", "0"),
                ("aeg-metadata-version", "1.0"),
                ("webhook-request-origin", "eventgrid.azure.net"),
                ("aeg-output-event-id", "e-1"),
            ]
        );
        assert_eq!(body(request).await, event.to_cloud_event().unwrap());
    }

    #[tokio::test]
    async fn section_5_1_a_custom_event_is_an_array_of_its_publishers_object() {
        let mut custom = event("e-1");
        custom.schema = gridpost_model::EventSchema::Custom;
        let request = webhook(DeliverySchema::Custom).request_of(&custom, 0);
        assert_eq!(body(request).await, "[null]");
        let request = webhook(DeliverySchema::EventGrid).request_of(&custom, 0);
        let expected = [b"[", custom.json.as_ref(), b"]"].concat();
        assert_eq!(body(request).await, expected);
    }

    #[tokio::test]
    async fn a_large_event_is_an_array_of_one_too() {
        let mut large = event("e-1");
        large.json = format!(r#"{{"data":"{}"}}"#, "x".repeat(100_000)).into();
        let request = webhook(DeliverySchema::EventGrid).request_of(&large, 0);
        let expected = [b"[", large.json.as_ref(), b"]"].concat();
        assert_eq!(
            request.body().size_hint().exact(),
            Some(expected.len() as u64)
        );
        assert_eq!(body(request).await, expected);
    }

    #[test]
    fn an_id_that_cannot_stand_in_a_header_is_left_out() {
        let request = webhook(DeliverySchema::EventGrid).request_of(&event("a\nb"), 0);
        assert!(!request.headers().contains_key(OUTPUT_EVENT_ID));
        let long = event(&"a".repeat(MAX_HEADER_BYTES + 1));
        let request = webhook(DeliverySchema::EventGrid).request_of(&long, 0);
        assert!(!request.headers().contains_key(OUTPUT_EVENT_ID));
    }

    #[tokio::test]
    async fn section_5_5_several_events_are_one_array_and_speak_of_no_single_one() {
        let (one, other) = (event("e-1"), event("e-2"));
        let parcel = Parcel {
            events: &[&one, &other],
            attempts_made: 3,
            at: Timestamp::EPOCH,
            token: None,
        };
        let request = batching(DeliverySchema::EventGrid, 10)
            .request(&parcel)
            .unwrap();
        assert_eq!(
            headers(&request),
            [
                ("host", "example.com"),
                ("content-type", "application/json; charset=utf-8"),
                ("aeg-event-type", "Notification"),
                ("aeg-subscription-name", "MY-HOOK"),
                ("aeg-delivery-count", "3"),
                ("aeg-metadata-version", "1"),
            ]
        );
        let expected = [b"[", one.json.as_ref(), b",", other.json.as_ref(), b"]"].concat();
        assert_eq!(body(request).await, expected);
    }

    #[tokio::test]
    async fn section_5_5_where_batches_may_come_a_single_cloud_event_is_a_batch_too() {
        let one = event("e-1");
        let request = batching(DeliverySchema::CloudEvents, 2).request_of(&one, 0);
        assert_eq!(
            request.headers()[CONTENT_TYPE],
            "application/cloudevents-batch+json; charset=utf-8"
        );
        assert_eq!(request.headers()[OUTPUT_EVENT_ID], "e-1");
        let expected = [b"[", one.to_cloud_event().unwrap().as_ref(), b"]"].concat();
        assert_eq!(body(request).await, expected);
    }
}
