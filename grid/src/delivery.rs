//! All lanes together.

use std::sync::Arc;

use gridpost_model::subscription::{EventSubscription, LaneId};
use gridpost_store::{Recovery, Store};

use crate::outbound::Client;
use crate::{OpenError, Settings};

/// All lanes, and what they share.
pub(crate) struct Delivery {
    client: Client,
}

impl Delivery {
    pub(crate) fn new(_store: Store, settings: &Settings) -> Result<Arc<Self>, OpenError> {
        let client = Client::new(&settings.outbound, Arc::clone(&settings.clock))?;
        Ok(Arc::new(Self { client }))
    }

    pub(crate) fn recover(
        self: &Arc<Self>,
        _subscriptions: Vec<Arc<EventSubscription>>,
        _recovery: &Recovery,
    ) -> Result<(), OpenError> {
        Ok(())
    }

    /// Starts sending. `expired` is called, from any thread, when a subscription's `expires` has come.
    pub(crate) fn start(self: &Arc<Self>, _expired: Box<dyn Fn(LaneId) + Send + Sync>) {}

    /// The guarded client, for handshakes and notices.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Opens the lane of a new subscription: after its row is committed, before `Registry::matched` names it.
    pub(crate) fn open_lane(self: &Arc<Self>, _subscription: Arc<EventSubscription>) {}

    /// Tells a lane that its subscription was changed: another state, destination, policy, expiry.
    pub(crate) fn change_lane(&self, _subscription: Arc<EventSubscription>) {}

    /// Closes the lane of a deleted subscription: after `Registry::matched` has stopped naming it. What was still
    /// to be delivered is dropped and counted; its waiting rows are removed; its dead letters stay.
    pub(crate) async fn close_lane(&self, _lane: LaneId) {}

    pub(crate) async fn close(&self) {}
}
