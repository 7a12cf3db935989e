//! One set of communication services with everything it needs, and the hands to turn its clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gridpost_comms::resources::{EVENT_SHAPE_TAG, ServiceSpec};
use gridpost_comms::sms::handsets::{Handsets, Text};
use gridpost_comms::sms::{Carrier, Inbound, MessageId, Recipient, RecipientResult, SendRequest};
use gridpost_comms::{Comms, CommunicationService, RateLimits, Settings};
use gridpost_grid::{Grid, Limits, outbound};
use gridpost_model::{Chance, Clock as _, PhoneNumber, ResourceId, Timestamp};
use gridpost_sim::{SeededChance, VirtualClock};
use gridpost_store::{Options, Partition, Position, ReadLimit, Store, StoreError, Txn};
use serde_json::Value;
use tempfile::TempDir;

/// When every test begins.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// The number of the resource `dev`.
pub(crate) const OWNED: &str = "+15555550100";

/// An ordinary handset.
pub(crate) const HANDSET: &str = "+15555550123";

pub(crate) struct World {
    pub(crate) comms: Comms,
    pub(crate) handsets: Handsets,
    pub(crate) clock: VirtualClock,
    pub(crate) store: Store,
    grid: Grid,
    folder: TempDir,
}

impl World {
    /// Services with the built-in carrier, the resource `dev` and its number.
    pub(crate) async fn start() -> Self {
        let world = Self::open(
            tempfile::tempdir().unwrap(),
            VirtualClock::at(BEGINNING),
            None,
        );
        world.provision().await;
        world
    }

    /// The same with another carrier.
    pub(crate) async fn with(carrier: Arc<dyn Carrier>) -> Self {
        let clock = VirtualClock::at(BEGINNING);
        let world = Self::open(tempfile::tempdir().unwrap(), clock, Some(carrier));
        world.provision().await;
        world
    }

    async fn provision(&self) {
        let (dev, _) = self
            .comms
            .put_resource(resource("dev"), spec())
            .await
            .unwrap();
        self.comms.assign(&dev.id, number(OWNED)).await.unwrap();
    }

    fn open(folder: TempDir, clock: VirtualClock, carrier: Option<Arc<dyn Carrier>>) -> Self {
        // Every opening has chance of its own: identifiers of an earlier life must not come again.
        let seed = u64::try_from(clock.now().ticks()).unwrap() ^ u64::from(carrier.is_some());
        let chance: Arc<dyn Chance> = Arc::new(SeededChance::new(seed));
        let time = Arc::new(clock.clone());
        let (store, recovery) = Store::open(Options::new(folder.path(), time.clone())).unwrap();
        let spawn: gridpost_grid::Spawn = Arc::new(|_, task| drop(tokio::spawn(task)));
        let settings = gridpost_grid::Settings {
            clock: time.clone(),
            chance: Arc::clone(&chance),
            outbound: outbound::Settings::default(),
            public_url: "https://127.0.0.1:8480".into(),
            tracing: gridpost_grid::trace::Tracing::default(),
            spawn: Arc::clone(&spawn),
            limits: Limits::default(),
            tokens: None,
        };
        let grid = Grid::open(store.clone(), &recovery, settings).unwrap();
        let handsets = Handsets::open(store.clone(), time.clone()).unwrap();
        let carrier = carrier.unwrap_or_else(|| Arc::new(handsets.clone()));
        let host_name = "localhost:8480".into();
        let settings = Settings {
            clock: time,
            chance,
            spawn,
            host_name,
            rate_limits: RateLimits::default(),
        };
        let comms = Comms::open(store.clone(), grid.clone(), carrier, settings).unwrap();
        Self {
            comms,
            handsets,
            clock,
            store,
            grid,
            folder,
        }
    }

    /// Ends the services in good order and starts them again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            comms,
            handsets,
            clock,
            store,
            grid,
            folder,
        } = self;
        comms.close().await;
        grid.close().await;
        store.close().await;
        drop((comms, handsets, grid, store));
        Self::open(folder, clock, None)
    }

    /// What a process finds that starts after this one was killed right now: the files as they are.
    pub(crate) fn after_kill(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        Self::open(folder, VirtualClock::at(self.clock.now()), None)
    }

    /// Waits until nothing is due any more, as the clock stands.
    pub(crate) async fn settle(&self) {
        until("nothing is due", || !self.comms.is_busy()).await;
    }

    /// Turns the clock and waits for what falls due.
    pub(crate) async fn advance(&self, span: Duration) {
        self.settle().await;
        self.clock.turn_to(self.clock.now() + span);
        self.settle().await;
    }

    /// Keeps the writer of `dev` busy until what is returned is dropped: what a test begins meanwhile is kept after
    /// that, in the order in which it began.
    pub(crate) async fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (release, held) = std::sync::mpsc::channel();
        let (begins, begun) = tokio::sync::oneshot::channel();
        let (store, partition) = (self.store.clone(), Partition::of(&resource("dev")));
        tokio::spawn(async move {
            let hold = move |_: &mut Txn<'_>| {
                begins.send(()).unwrap();
                let _: Result<(), _> = held.recv();
                Ok::<_, StoreError>(())
            };
            drop(store.write(partition, hold).await);
        });
        begun.await.unwrap();
        release
    }

    /// Lets every task go on as far as it can without the writer.
    pub(crate) async fn breathe(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn dev(&self) -> Arc<CommunicationService> {
        self.comms.resource(&resource("dev")).unwrap()
    }

    pub(crate) async fn send(&self, request: SendRequest) -> Vec<RecipientResult> {
        self.comms.send(&self.dev(), request).await.unwrap()
    }

    /// Sends one text and expects it to be accepted.
    pub(crate) async fn send_to(&self, to: &str) -> MessageId {
        let results = self.send(to_each(&[to])).await;
        assert_eq!(results[0].status, 202, "{results:?}");
        results[0].message_id.clone().unwrap()
    }

    /// A handset sends a text to the number of `dev`.
    pub(crate) async fn text(&self, from: &str, text: &str) -> MessageId {
        self.comms
            .receive(inbound(from, OWNED, text))
            .await
            .unwrap()
    }

    /// The texts on a handset.
    pub(crate) fn texts(&self, handset: &str) -> Vec<Text> {
        self.handsets.texts(&number(handset))
    }

    /// Every event that was staged, in order.
    pub(crate) fn events(&self) -> Vec<Value> {
        let limit = ReadLimit {
            events: 50_000,
            kept_bytes: 64 << 20,
            scanned_bytes: 256 << 20,
        };
        let batch = self
            .store
            .read_events(Position::START, limit, &mut |_| true)
            .unwrap();
        let json = batch
            .events
            .iter()
            .map(|read| serde_json::from_slice(&read.event.json));
        json.collect::<Result<_, _>>().unwrap()
    }

    /// The data of the events of one type, in order.
    pub(crate) fn data(&self, event_type: &str) -> Vec<Value> {
        let wanted = format!("Microsoft.Communication.{event_type}");
        let events = self
            .events()
            .into_iter()
            .filter(|event| event["eventType"] == wanted);
        events.map(|event| event["data"].clone()).collect()
    }

    pub(crate) fn reports(&self) -> Vec<Value> {
        self.data("SMSDeliveryReportReceived")
    }

    pub(crate) fn status_of(&self, id: &MessageId) -> Option<&'static str> {
        let found = self
            .comms
            .delivery_report(&self.dev(), id.as_str())
            .unwrap();
        found.map(|report| report.status.as_str())
    }
}

/// The id of a communication resource.
pub(crate) fn resource(name: &str) -> ResourceId {
    let id = format!(
        "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Communication/communicationServices/{name}"
    );
    id.parse().unwrap()
}

pub(crate) fn spec() -> ServiceSpec {
    ServiceSpec {
        location: "global".into(),
        data_location: "United States".into(),
        ..ServiceSpec::default()
    }
}

pub(crate) fn shape(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(EVENT_SHAPE_TAG.to_owned(), value.to_owned())])
}

pub(crate) fn number(text: &str) -> PhoneNumber {
    text.parse().unwrap()
}

pub(crate) fn inbound(from: &str, to: &str, text: &str) -> Inbound {
    Inbound {
        from: number(from),
        to: number(to),
        text: text.to_owned(),
    }
}

/// A request with a delivery report from the number of `dev`.
pub(crate) fn to_each(recipients: &[&str]) -> SendRequest {
    let mut request = SendRequest {
        from: OWNED.into(),
        message: "hello".into(),
        ..Default::default()
    };
    request.options.enable_delivery_report = true;
    request.recipients = recipients
        .iter()
        .map(|to| Recipient {
            to: (*to).into(),
            ..Recipient::default()
        })
        .collect();
    request
}

/// Gives way to others until something is so. Fails when it does not become so in good time.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(20);
    assert!(
        tokio::time::timeout(patience, waiting).await.is_ok(),
        "waited in vain until {what}"
    );
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}
