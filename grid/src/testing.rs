//! What the unit tests of this crate share. The tests of whole routers are in `tests/it`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gridpost_model::subscription::{DeliverySchema, EventSubscription, LaneId, ProvisioningState};
use gridpost_model::time::Sleep;
use gridpost_model::{Chance, Clock, Event, EventSchema, Filter, RetryPolicy, Timestamp};
use gridpost_store::{Options, Partition, Store, StoreError, Txn};

use crate::dead_letter::{DEAD_LETTERS, DeadLetterRow};
use crate::kept::KeptEvent;
use crate::retry::Reason;
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

/// An empty store, which goes with its folder. Its clock stands at the beginning of time.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock(Timestamp::EPOCH));
    let (store, _) = Store::open(Options::new(folder.path(), clock)).unwrap();
    (folder, store)
}

/// Puts dead letters of a lane, one for each of these minutes: `e7` was published and given up in minute 7.
pub(crate) async fn bury(store: &Store, lane: u64, minutes: Range<u32>) {
    let source = subscription(lane, Filter::default()).source;
    let partition = Partition::of(&source);
    let change = move |txn: &mut Txn<'_>| {
        for minute in minutes {
            let at = Timestamp::from_seconds(i64::from(minute) * 60);
            let event = Event {
                id: format!("e{minute}").into(),
                published: at,
                json: "{}".into(),
                ..event("x", "s")
            };
            let row = DeadLetterRow {
                event: KeptEvent::new(&event),
                subscription: format!("es{lane}").into(),
                source: source.clone(),
                schema: DeliverySchema::EventGrid,
                reason: Reason::TimeToLiveExceeded,
                attempts: 1,
                last: None,
                tried: Vec::new(),
                replay: None,
                at,
                blob_error: None,
            };
            txn.put(&DEAD_LETTERS, (LaneId(lane), u64::from(minute)), &row)?;
        }
        Ok::<_, StoreError>(())
    };
    store.write(partition, change).await.unwrap();
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
