//! A router with connections to resources, and the hands to turn its clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gridpost_grid::connections::Connections;
use gridpost_grid::outbound::{self, Reach};
use gridpost_grid::storage::StorageAccount;
use gridpost_grid::subscriptions::{Source, SubscriptionSpec};
use gridpost_grid::{Grid, Limits, Settings};
use gridpost_model::event::NewEvent;
use gridpost_model::filter::TopicKind;
use gridpost_model::subscription::StorageQueue;
use gridpost_model::{Clock as _, Destination, Event, Timestamp};
use gridpost_sim::{SeededChance, VirtualClock};
use gridpost_store::{Options, Partition, Scan, Store, StoreError, Table, WriteError};
use tempfile::TempDir;

pub(crate) const ACCOUNT: &str =
    "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/acct";

/// Noon would hide whether hours are padded.
const BEGINNING: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Events staged in one transaction.
const AT_ONCE: usize = 100;

pub(crate) struct World {
    pub(crate) grid: Grid,
    store: Store,
    pub(crate) clock: VirtualClock,
    connections: Connections,
    folder: TempDir,
}

impl World {
    pub(crate) fn start(account: Arc<StorageAccount>) -> Self {
        let storage = HashMap::from([(ACCOUNT.parse().unwrap(), account)]);
        Self::knowing(Connections {
            storage,
            ..Connections::default()
        })
    }

    pub(crate) fn knowing(connections: Connections) -> Self {
        let clock = VirtualClock::at(BEGINNING);
        Self::open(tempfile::tempdir().unwrap(), clock, connections)
    }

    fn open(folder: TempDir, clock: VirtualClock, connections: Connections) -> Self {
        let options = Options::new(folder.path(), Arc::new(clock.clone()));
        let (store, recovery) = Store::open(options).unwrap();
        let runtime = tokio::runtime::Handle::current();
        let settings = Settings {
            clock: Arc::new(clock.clone()),
            chance: Arc::new(SeededChance::new(1)),
            outbound: outbound::Settings {
                reach: Reach {
                    loopback: true,
                    ..Reach::default()
                },
                plain_http: true,
                connections: connections.clone(),
                ..outbound::Settings::default()
            },
            public_url: "https://127.0.0.1:8480".into(),
            // Lanes start workers from the store's own thread, which no runtime knows.
            spawn: Arc::new(move |_, task| drop(runtime.spawn(task))),
            limits: Limits::default(),
            tokens: None,
            tracing: gridpost_grid::trace::Tracing::default(),
        };
        let grid = Grid::open(store.clone(), &recovery, settings).unwrap();
        Self {
            grid,
            store,
            clock,
            connections,
            folder,
        }
    }

    /// Ends the router in good order and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            grid,
            store,
            clock,
            connections,
            folder,
        } = self;
        grid.close().await;
        store.close().await;
        drop((grid, store));
        Self::open(folder, clock, connections)
    }

    /// Lets time pass, in steps, so that whatever falls due in between happens in between.
    pub(crate) async fn advance(&self, span: Duration) {
        let end = self.clock.now() + span;
        self.quiet().await;
        while let Some(alarm) = self.clock.next_alarm().filter(|alarm| *alarm < end) {
            self.clock.turn_to(alarm);
            self.quiet().await;
        }
        self.clock.turn_to(end);
        self.quiet().await;
    }

    /// Waits until nothing is sent any more unless the clock moves.
    pub(crate) async fn quiet(&self) {
        until("all is quiet", || self.grid.pending().is_quiet()).await;
    }

    /// Subscribes a queue of the account to everything of the communication resource.
    pub(crate) async fn subscribe(
        &self,
        name: &str,
        queue: &str,
        adapt: impl FnOnce(&mut SubscriptionSpec),
    ) {
        let destination = Destination::StorageQueue(StorageQueue {
            resource_id: ACCOUNT.to_lowercase().parse().unwrap(),
            queue: queue.into(),
            time_to_live_seconds: None,
        });
        self.subscribe_to(name, destination, adapt).await;
    }

    /// Subscribes a destination to everything of the communication resource.
    pub(crate) async fn subscribe_to(
        &self,
        name: &str,
        destination: Destination,
        adapt: impl FnOnce(&mut SubscriptionSpec),
    ) {
        let mut spec = SubscriptionSpec::to("https://unused.example");
        spec.destination = destination;
        adapt(&mut spec);
        let made = self
            .grid
            .put_event_subscription(&communication(), name, spec)
            .await;
        made.unwrap();
    }

    /// How many dead letters are still to be written as blobs.
    pub(crate) fn unwritten(&self) -> usize {
        const TABLE: Table<serde_json::Value> = Table::new(45, "dead_letter_blobs");
        let rows = self.store.snapshot().scan_all(&TABLE, Scan::all());
        rows.unwrap().len()
    }

    /// Stages events with these ids and that much text in each.
    pub(crate) async fn publish(&self, ids: std::ops::Range<usize>, text_bytes: usize) {
        let all: Vec<usize> = ids.collect();
        for part in all.chunks(AT_ONCE) {
            let events: Vec<Event> = part
                .iter()
                .map(|id| self.event(&id.to_string(), text_bytes))
                .collect();
            let (grid, source) = (self.grid.clone(), communication().id);
            let partition = Partition::of(&source);
            let stage = move |txn: &mut gridpost_store::Txn<'_>| {
                for event in events {
                    grid.stage(txn, &source, event);
                }
                Ok::<_, StoreError>(())
            };
            let committed = self.store.write(partition, stage).await;
            committed.map_err(WriteError::into_inner).unwrap();
        }
    }

    fn event(&self, id: &str, text_bytes: usize) -> Event {
        let new = NewEvent {
            id,
            topic: &communication().id.as_str().into(),
            subject: "/phonenumber/15550001",
            event_type: "Microsoft.Communication.SMSReceived",
            event_time: "2027-01-15T08:00:00Z",
            data_version: "1.0",
            data: &serde_json::json!({"message": "x".repeat(text_bytes)}),
        };
        Event::event_grid(&new, self.clock.now()).unwrap()
    }
}

fn communication() -> Source {
    let id = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Communication/communicationServices/dev";
    Source {
        id: id.parse().unwrap(),
        kind: TopicKind::Communication,
    }
}

/// Gives way to others until something is so. Fails when it does not become so in good time.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let patience = Duration::from_secs(120);
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    let waiting = async {
        while !so() {
            tick.tick().await;
        }
    };
    assert!(
        tokio::time::timeout(patience, waiting).await.is_ok(),
        "waited in vain until {what}"
    );
}
