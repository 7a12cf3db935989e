//! Messages in a queue of a storage account.
//!
//! Promise: a message is one event, base64 of its bare object, put by a signed request; it is delivered once the
//! queue has answered that it has it.
//! Source: reference event-grid 6 and trap 9; "Put Message" of the storage service.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gridpost_model::subscription::{DeliverySchema, EventSubscription, StorageQueue};
use gridpost_model::{Event, Timestamp};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::Url;

use super::{Handler, Shipment};
use crate::outbound::{BadUrl, Body, Client, Failure, Pool, Response};
use crate::retry::Outcome;
use crate::storage::StorageAccount;

/// The largest text of a message. Source: limits of the storage service.
const MESSAGE_BYTES: usize = 64 << 10;

/// A queue and the connections to it.
pub(crate) struct Queue {
    account: Arc<StorageAccount>,
    client: Client,
    pool: Pool,
    url: Url,
    schema: DeliverySchema,
}

impl Queue {
    pub(crate) fn new(
        subscription: &EventSubscription,
        queue: &StorageQueue,
        client: &Client,
    ) -> Result<Self, BadUrl> {
        let account = Arc::clone(client.connections().storage(&queue.resource_id)?);
        let mut url = format!("{}/{}/messages", account.queues(), queue.queue);
        if let Some(seconds) = queue.time_to_live_seconds {
            url.push_str(&format!("?messagettl={seconds}"));
        }
        let endpoint = client.endpoint(&url)?;
        Ok(Self {
            account,
            client: client.clone(),
            pool: Pool::new(client.clone(), endpoint),
            url: url.parse().map_err(|_| BadUrl::Malformed)?,
            schema: subscription.delivery_schema,
        })
    }

    async fn put(&self, event: &Event) -> Result<Response, Failure> {
        let object = event
            .in_schema(self.schema)
            .map_err(|error| Failure::Protocol(error.to_string()))?;
        let message = STANDARD.encode(object);
        if MESSAGE_BYTES < message.len() {
            return Ok(too_large());
        }
        let body = Bytes::from(format!(
            "<QueueMessage><MessageText>{message}</MessageText></QueueMessage>"
        ));
        let now = self.client.wall();
        let response = self.pool.exchange(|| self.request(&body, now)).await?;
        understood(response)
    }

    fn request(&self, body: &Bytes, now: Timestamp) -> http::Request<Body> {
        let endpoint = self.pool.endpoint();
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        let method = Method::POST;
        self.account
            .sign(&method, &self.url, &mut headers, body.len(), now);
        headers.insert(HOST, endpoint.authority().clone());
        let mut request = http::Request::new(Body::Whole(body.clone()));
        *request.method_mut() = method;
        *request.uri_mut() = endpoint.target().clone();
        *request.headers_mut() = headers;
        request
    }
}

impl Handler for Queue {
    fn send<'a>(&'a self, shipment: Shipment<'a>) -> BoxFuture<'a, Result<Response, Failure>> {
        Box::pin(async move {
            let mut last = too_large();
            for event in shipment.events {
                last = self.put(event).await?;
                if !last.status.is_success() {
                    break;
                }
            }
            Ok(last)
        })
    }
}

/// What the service would answer; it is not asked, because it would have to be sent the whole message first.
fn too_large() -> Response {
    Response {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"a message of a storage queue has at most 64 KiB in base64"),
    }
}

/// A wrong or revoked key is answered with 403. It can be put right while the event waits, as an expired permission
/// of the service's own could be, so it is tried again.
fn understood(response: Response) -> Result<Response, Failure> {
    let code = response.headers.get("x-ms-error-code");
    let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
    let is_about_the_key = match response.status {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::FORBIDDEN => {
            code.starts_with("Authentication") || code.starts_with("Authorization")
        }
        _ => false,
    };
    if is_about_the_key {
        return Err(Failure::Handler {
            outcome: Outcome::Unauthorized,
            detail: format!("the storage account refused the signature: {code}"),
        });
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::connections::Connections;
    use crate::outbound::{Reach, Settings};
    use crate::testing;

    const ACCOUNT: &str =
        "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/acct";

    fn queue(time_to_live_seconds: Option<i32>) -> Queue {
        let account = StorageAccount::from_connection_string("UseDevelopmentStorage=true").unwrap();
        let connections = Connections {
            storage: [(ACCOUNT.parse().unwrap(), Arc::new(account))].into(),
            ..Connections::default()
        };
        let settings = Settings {
            reach: Reach {
                loopback: true,
                ..Reach::default()
            },
            plain_http: true,
            connections,
            ..Settings::default()
        };
        let clock = Arc::new(testing::StoppedClock(Timestamp::from_seconds(
            1_700_000_000,
        )));
        let client = Client::new(&settings, clock).unwrap();
        let destination = StorageQueue {
            resource_id: ACCOUNT.to_uppercase().parse().unwrap(),
            queue: "events".into(),
            time_to_live_seconds,
        };
        let subscription = testing::subscription(1, gridpost_model::Filter::default());
        Queue::new(&subscription, &destination, &client).unwrap()
    }

    #[tokio::test]
    async fn section_6_the_request_puts_a_message() {
        let queue = queue(Some(-1));
        let request = queue.request(&Bytes::from_static(b"<x/>"), queue.client.wall());
        assert_eq!(request.method(), Method::POST);
        assert_eq!(
            request.uri(),
            "/devstoreaccount1/events/messages?messagettl=-1"
        );
        let headers = request.headers();
        assert_eq!(headers["host"], "127.0.0.1:10001");
        assert_eq!(headers["content-type"], "application/xml");
        assert_eq!(headers["x-ms-date"], "Tue, 14 Nov 2023 22:13:20 GMT");
        assert!(headers.contains_key("authorization"));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "<x/>");
    }

    #[tokio::test]
    async fn an_event_that_makes_a_message_of_over_64_kib_is_not_sent() {
        let mut large = testing::event("x", "s");
        large.json = format!(r#"{{"data":"{}"}}"#, "x".repeat(49_200)).into();
        let events = [Arc::new(large)];
        let shipment = Shipment {
            events: &events,
            attempts_made: 0,
            replay: None,
            trace: None,
        };
        let answer = queue(None).send(shipment).await.unwrap();
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn section_5_2_a_refused_signature_is_tried_again_and_other_refusals_are_not() {
        let answer = |status, code: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-ms-error-code", code.parse().unwrap());
            understood(Response {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: Bytes::new(),
            })
        };
        for (status, code) in [
            (401, "NoAuthenticationInformation"),
            (403, "AuthenticationFailed"),
            (403, "AuthorizationFailure"),
        ] {
            let failure = answer(status, code).unwrap_err();
            assert_eq!(Outcome::of_failure(&failure), Outcome::Unauthorized);
        }
        for (status, code) in [
            (403, "AccountIsDisabled"),
            (404, "QueueNotFound"),
            (201, ""),
            (503, "ServerBusy"),
        ] {
            assert_eq!(answer(status, code).unwrap().status.as_u16(), status);
        }
    }
}
