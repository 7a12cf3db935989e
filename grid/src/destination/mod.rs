//! Where lanes send to. One file per kind of destination.
//!
//! Promise: what does not change from event to event is prepared once, when the subscription is made or changed.
//! Endpoints of HTTP are sent to over the worker's own connection; every other kind brings a client of its own.

pub(crate) mod attributes;
pub(crate) mod message;
mod storage_queue;
mod webhook;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use gridpost_model::subscription::EventSubscription;
use gridpost_model::{Destination, Event, Timestamp};
use http::HeaderValue;

use crate::outbound::{BadUrl, Client, Failure, Response};
use message::{Body, Entity};
use storage_queue::Queue;
pub(crate) use webhook::Webhook;

/// A destination, ready to be sent to.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each subscription, and most are webhooks"
)]
pub(crate) enum Prepared {
    /// An HTTP endpoint: the worker keeps the connection.
    Webhook(Webhook),
    /// Anything else: it keeps its own.
    Other(Arc<dyn Handler>),
}

/// A destination with a client of its own: a queue, a topic, a hub.
pub(crate) trait Handler: Send + Sync {
    /// Carries events there; one answer speaks for all of them. The worker ends it with `TimedOut` after 30 s by
    /// dropping the future. A status of 200 to 204 is success; other statuses are judged like
    /// a webhook's; an end that has no status is `Failure::Handler`, with its outcome.
    fn send<'a>(&'a self, shipment: Shipment<'a>) -> BoxFuture<'a, Result<Response, Failure>>;
}

/// What a handler is given to send.
pub(crate) struct Shipment<'a> {
    /// One event, or several. Never none.
    pub(crate) events: &'a [Arc<Event>],
    /// Attempts made before, the same for all of them.
    pub(crate) attempts_made: u32,
    /// The replay that sends them once more.
    pub(crate) replay: Option<String>,
    /// What the destination is told of the trace, as `traceparent`.
    pub(crate) trace: Option<String>,
}

/// What one request carries.
pub(crate) struct Parcel<'a> {
    /// One event, or a batch of them. Never none.
    pub(crate) events: &'a [&'a Event],
    /// Attempts made before, the same for all of them.
    pub(crate) attempts_made: u32,
    /// When it is sent.
    pub(crate) at: Timestamp,
    /// What the endpoint asks for to let us in.
    pub(crate) token: Option<&'a HeaderValue>,
}

impl Prepared {
    /// Prepares what a subscription's events have in common.
    pub(crate) fn new(
        subscription: &Arc<EventSubscription>,
        client: &Client,
    ) -> Result<Self, BadUrl> {
        let to_entity = |entity, body| {
            let entity = Entity::new(subscription, entity, body, client)?;
            Ok(Self::Other(Arc::new(entity)))
        };
        match &subscription.destination {
            destination @ (Destination::WebHook(_) | Destination::AzureFunction(_)) => {
                let hook = client.connections().webhook(destination)?;
                let hook = hook.ok_or(BadUrl::Malformed)?;
                let endpoint = client.endpoint(hook.url.reveal())?;
                Ok(Self::Webhook(Webhook::new(subscription, endpoint, &hook)))
            }
            Destination::StorageQueue(queue) => Ok(Self::Other(Arc::new(Queue::new(
                subscription,
                queue,
                client,
            )?))),
            Destination::ServiceBusQueue(entity) | Destination::ServiceBusTopic(entity) => {
                to_entity(entity, Body::Object)
            }
            Destination::EventHub(entity) => to_entity(entity, Body::Array),
        }
    }
}
