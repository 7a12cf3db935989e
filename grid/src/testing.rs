//! What the unit tests of this crate share. The tests of whole routers are in `tests/it`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gridpost_model::subscription::{DeliverySchema, EventSubscription, LaneId, ProvisioningState};
use gridpost_model::time::Sleep;
use gridpost_model::{Chance, Clock, Event, EventSchema, Filter, RetryPolicy, Timestamp};

use crate::subscriptions::SubscriptionSpec;
use crate::trace::Tracing;
use crate::{Limits, Settings, outbound};

/// A clock that always shows the same time.
pub(crate) struct StoppedClock(pub(crate) Timestamp);

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn sleep_until(&self, _moment: Timestamp) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// Chance that counts.
#[derive(Default)]
pub(crate) struct Counting(AtomicU64);

impl Chance for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, counted) in bytes.iter_mut().rev().zip(number.iter().rev().cycle()) {
            *byte = *counted;
        }
    }
}

/// Settings of a router that nobody starts.
pub(crate) fn settings() -> Settings {
    Settings {
        clock: Arc::new(StoppedClock(Timestamp::from_seconds(1_700_000_000))),
        chance: Arc::new(Counting::default()),
        outbound: outbound::Settings::default(),
        public_url: "https://127.0.0.1:8480".into(),
        tracing: Tracing::default(),
        spawn: Arc::new(|_, _| ()),
        limits: Limits::default(),
        tokens: None,
    }
}

/// A confirmed subscription with that filter.
pub(crate) fn subscription(lane: u64, filter: Filter) -> EventSubscription {
    EventSubscription {
        name: format!("es{lane}"),
        source: "/subscriptions/s/resourceGroups/rg/providers/p/t/dev"
            .parse()
            .unwrap(),
        lane: LaneId(lane),
        destination: SubscriptionSpec::to("https://example.com/hook").destination,
        filter,
        labels: Vec::new(),
        expires: None,
        delivery_schema: DeliverySchema::EventGrid,
        retry_policy: RetryPolicy::default(),
        dead_letter: None,
        state: ProvisioningState::Succeeded,
        created: Timestamp::EPOCH,
        updated: Timestamp::EPOCH,
    }
}

/// An event of that type and subject, with nothing in it.
pub(crate) fn event(event_type: &str, subject: &str) -> Event {
    Event {
        schema: EventSchema::EventGrid,
        id: "1".into(),
        topic: "/subscriptions/s/resourceGroups/rg/providers/p/t/dev".into(),
        event_type: event_type.into(),
        subject: subject.into(),
        data_version: "1.0".into(),
        published: Timestamp::EPOCH,
        trace: None,
        json: bytes::Bytes::new(),
    }
}
