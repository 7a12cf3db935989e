//! Where lanes send to. One file per kind of destination; webhooks first.
//!
//! Promise: what does not change from event to event is prepared once, when the subscription is made or changed.

mod webhook;

use std::sync::Arc;

use gridpost_model::event::NotAnEvent;
use gridpost_model::subscription::EventSubscription;
use gridpost_model::{Destination, Event};

use crate::outbound::{BadUrl, Body, Client, Endpoint};
use webhook::Webhook;

/// A destination, ready to be sent to.
pub(crate) enum Prepared {
    /// An HTTP endpoint.
    Webhook(Webhook),
}

impl Prepared {
    /// Prepares what a subscription's events have in common.
    pub(crate) fn new(
        subscription: &Arc<EventSubscription>,
        client: &Client,
    ) -> Result<Self, BadUrl> {
        match &subscription.destination {
            Destination::WebHook(hook) => {
                let endpoint = client.endpoint(hook.url.reveal())?;
                Ok(Self::Webhook(Webhook::new(subscription, endpoint)))
            }
        }
    }

    /// Where to dial.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Webhook(hook) => hook.endpoint(),
        }
    }

    /// The request that carries an event, after that many attempts.
    pub(crate) fn request(
        &self,
        event: &Event,
        attempts_made: u32,
    ) -> Result<http::Request<Body>, NotAnEvent> {
        match self {
            Self::Webhook(hook) => hook.request(event, attempts_made),
        }
    }
}
