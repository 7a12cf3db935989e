//! Telling an endpoint that its event subscription was deleted.
//!
//! Promise: sent once, after the deletion is committed; what comes back, or does not, changes nothing. An endpoint
//! that never agreed to receive events is told nothing.
//! Source: reference event-grid 4.3.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gridpost_model::subscription::{DeliverySchema, EventSubscription, ProvisioningState};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde::Serialize;
use tracing::debug;

use crate::Inner;
use crate::handshake;
use crate::outbound::Request;
use crate::proposal::{array_of, notification_headers, own_event};
use crate::subscriptions::resource_id;

/// Sends the notice, in a task of its own.
pub(crate) fn send(inner: &Arc<Inner>, deleted: &Arc<EventSubscription>) {
    if deleted.state != ProvisioningState::Succeeded {
        return;
    }
    let client = inner.delivery.client();
    // Queues, topics and hubs are told nothing: a message would stand among the events.
    let Ok(Some(hook)) = client.connections().webhook(&deleted.destination) else {
        return;
    };
    let Ok(endpoint) = client.endpoint(hook.url.reveal()) else {
        return;
    };
    let Some((headers, body)) = notice(inner, deleted) else {
        return;
    };
    let mut request = Request {
        method: Method::POST,
        endpoint,
        headers,
        body,
    };
    handshake::add_attributes(&hook, &mut request);
    let name = deleted.name.clone();
    let sending = Sending::begin(inner);
    let task = async move {
        let outcome = handshake::send(&sending.0, &hook, request).await;
        debug!(subscription.name = %name, ?outcome, "told the endpoint that {name} was deleted");
    };
    (inner.settings.spawn)("grid-deletion-notice", Box::pin(task));
}

/// A notice that is on its way, counted until this is dropped.
struct Sending(Arc<Inner>);

impl Sending {
    fn begin(inner: &Arc<Inner>) -> Self {
        inner.registry.notices.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(inner))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.registry.notices.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Headers and body, in the schema in which the endpoint received events.
fn notice(inner: &Inner, deleted: &EventSubscription) -> Option<(HeaderMap, bytes::Bytes)> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        event_subscription_id: String,
    }
    let event = own_event(
        &inner.settings.chance.uuid(),
        &deleted.source,
        "Microsoft.EventGrid.SubscriptionDeletedEvent",
        &Data {
            event_subscription_id: resource_id(deleted),
        },
        inner.settings.clock.now(),
    );
    let mut headers = notification_headers("SubscriptionDeletion", &deleted.name);
    if deleted.delivery_schema != DeliverySchema::CloudEvents {
        return Some((headers, array_of(&event.json)));
    }
    let media_type = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
    headers.insert(CONTENT_TYPE, media_type);
    headers.remove("aeg-data-version");
    headers.insert("aeg-metadata-version", HeaderValue::from_static("1.0"));
    Some((headers, event.to_cloud_event().ok()?))
}
