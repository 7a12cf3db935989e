//! One router with everything it needs, and the hands to turn its clock.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gridpost_grid::connections::Connections;
use gridpost_grid::outbound::{self, Reach};
use gridpost_grid::subscriptions::{Source, SubscriptionSpec};
use gridpost_grid::tokens::{NoToken, Token, TokenSource};
use gridpost_grid::{Grid, Limits, Settings};
use gridpost_model::filter::TopicKind;
use gridpost_model::subscription::{Entra, LaneId};
use gridpost_model::{Clock as _, Event, ResourceId, Secret, Timestamp, event::NewEvent};
use gridpost_sim::{SeededChance, VirtualClock};
use gridpost_store::{Options, Partition, Store, StoreError, WriteError};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::endpoint::Endpoint;

/// When every test begins.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_seconds(1_800_000_000);

pub(crate) const GROUP: &str = "/subscriptions/sub/resourceGroups/rg";

/// A router on a folder of its own.
pub(crate) struct World {
    pub(crate) grid: Grid,
    pub(crate) store: Store,
    pub(crate) clock: VirtualClock,
    chance_seed: u64,
    folder: TempDir,
    /// The name of tasks that are never run, as if a crash came first.
    pub(crate) never_run: Arc<Mutex<Option<&'static str>>>,
}

impl World {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::open(folder, VirtualClock::at(BEGINNING), 1)
    }

    /// As `start`, with a store tuned for the test.
    pub(crate) fn start_with(tune: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = VirtualClock::at(BEGINNING);
        Self::open_with(folder, clock, 1, Connections::default(), tune)
    }

    /// As `start`, with connections to resources.
    pub(crate) fn start_knowing(connections: Connections) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = VirtualClock::at(BEGINNING);
        Self::open_with(folder, clock, 1, connections, |_| ())
    }

    fn open(folder: TempDir, clock: VirtualClock, chance_seed: u64) -> Self {
        Self::open_with(folder, clock, chance_seed, Connections::default(), |_| ())
    }

    fn open_with(
        folder: TempDir,
        clock: VirtualClock,
        chance_seed: u64,
        connections: Connections,
        tune: impl FnOnce(&mut Options),
    ) -> Self {
        let mut options = Options::new(folder.path(), Arc::new(clock.clone()));
        tune(&mut options);
        let (store, recovery) = Store::open(options).unwrap();
        let runtime = tokio::runtime::Handle::current();
        let never_run: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let skipped = Arc::clone(&never_run);
        let settings = Settings {
            clock: Arc::new(clock.clone()),
            chance: Arc::new(SeededChance::new(chance_seed)),
            outbound: outbound::Settings {
                reach: Reach {
                    loopback: true,
                    ..Reach::default()
                },
                plain_http: true,
                connections,
                ..outbound::Settings::default()
            },
            public_url: "https://127.0.0.1:8480".into(),
            tracing: gridpost_grid::trace::Tracing::default(),
            // Lanes start workers from the store's own thread, which no runtime knows.
            spawn: Arc::new(move |name, task| {
                if *skipped.lock() != Some(name) {
                    drop(runtime.spawn(task));
                }
            }),
            limits: Limits::default(),
            tokens: Some(Arc::new(Issuer(clock.clone()))),
        };
        let grid = Grid::open(store.clone(), &recovery, settings).unwrap();
        Self {
            grid,
            store,
            clock,
            chance_seed,
            folder,
            never_run,
        }
    }

    /// Ends the router in good order and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|| ()).await
    }

    /// The same, with something happening in between.
    pub(crate) async fn restart_after(self, meanwhile: impl FnOnce()) -> Self {
        let Self {
            grid,
            store,
            clock,
            chance_seed,
            folder,
            ..
        } = self;
        grid.close().await;
        store.close().await;
        drop((grid, store));
        meanwhile();
        Self::open(folder, clock, chance_seed + 1)
    }

    /// Kills the router and starts it again on the same folder. In between somebody opens the store to look at it.
    pub(crate) async fn restart_looked_at(self) -> Self {
        let Self {
            grid,
            store,
            clock,
            chance_seed,
            folder,
            ..
        } = self;
        grid.close().await;
        drop((grid, store));
        let look = || Store::open(Options::new(folder.path(), Arc::new(clock.clone())));
        // The last clone goes with the last task of a lane.
        let mut looked = look();
        while looked.is_err() {
            tokio::task::yield_now().await;
            looked = look();
        }
        let (store, _) = looked.unwrap();
        store.close().await;
        drop(store);
        Self::open(folder, clock, chance_seed + 1)
    }

    /// Turns the clock by that much.
    pub(crate) fn advance(&self, span: Duration) {
        self.clock.turn_to(self.clock.now() + span);
    }

    /// Subscribes an endpoint to everything of the communication resource.
    pub(crate) async fn subscribe(&self, name: &str, endpoint: &Endpoint) -> LaneId {
        let spec = SubscriptionSpec::to(endpoint.url());
        let made = self
            .grid
            .put_event_subscription(&communication(), name, spec)
            .await;
        made.unwrap().0.lane
    }

    /// Stages an inbound text, as communication services do, and returns how many lanes want it.
    pub(crate) async fn text(&self, id: &str, from: &str) -> usize {
        let source = communication().id;
        let topic: Arc<str> = source.as_str().into();
        let event = Event::event_grid(
            &NewEvent {
                id,
                topic: &topic,
                subject: &format!("/phonenumber/{from}"),
                event_type: "Microsoft.Communication.SMSReceived",
                event_time: "2027-01-15T08:00:00Z",
                data_version: "1.0",
                data: &serde_json::json!({"from": from}),
            },
            self.clock.now(),
        )
        .unwrap();
        let grid = self.grid.clone();
        let committed = self
            .store
            .write(Partition::of(&source.clone()), move |txn| {
                Ok::<_, StoreError>(grid.stage(txn, &source, event))
            })
            .await;
        committed
            .map_err(WriteError::into_inner)
            .unwrap()
            .into_inner()
    }

    /// Tries to store something, and says whether that worked.
    pub(crate) async fn try_text(&self, id: &str) -> bool {
        let source = communication().id;
        let mut event = Event::clone(&self.grid.explain("before").unwrap()[0].event);
        event.id = id.into();
        let grid = self.grid.clone();
        let committed = self
            .store
            .write(Partition::of(&source.clone()), move |txn| {
                Ok::<_, StoreError>(grid.stage(txn, &source, event))
            })
            .await;
        committed.is_ok()
    }
}

/// Issues tokens that say what they are for, none for the application `closed` in the first seconds, and panics once
/// some have passed for `broken`.
struct Issuer(VirtualClock);

impl TokenSource for Issuer {
    fn token<'a>(&'a self, entra: &'a Entra) -> BoxFuture<'a, Result<Token, NoToken>> {
        let now = self.0.now();
        let broken = BEGINNING + Duration::from_secs(10);
        if entra.application == "broken" && (broken..broken + Duration::from_secs(5)).contains(&now)
        {
            panic!("the issuer is broken");
        }
        let closed = entra.application == "closed" && now < BEGINNING + Duration::from_secs(5);
        let token = Token {
            text: Secret::new(format!("for-{}", entra.application)),
            // Of no use a moment later, so that each request asks for one.
            expires: now,
        };
        Box::pin(async move {
            if closed {
                Err(NoToken("closed".to_owned()))
            } else {
                Ok(token)
            }
        })
    }
}

/// The communication resource of every test.
pub(crate) fn communication() -> Source {
    let id = format!("{GROUP}/providers/Microsoft.Communication/communicationServices/dev");
    Source {
        id: id.parse().unwrap(),
        kind: TopicKind::Communication,
    }
}

pub(crate) fn topic_id(name: &str) -> ResourceId {
    format!("{GROUP}/providers/Microsoft.EventGrid/topics/{name}")
        .parse()
        .unwrap()
}

pub(crate) fn system_topic_id(name: &str) -> ResourceId {
    format!("{GROUP}/providers/Microsoft.EventGrid/systemTopics/{name}")
        .parse()
        .unwrap()
}

/// Lane and token of a validation URL, as `api` reads them.
pub(crate) fn visited(url: &str) -> (LaneId, Secret) {
    let lane = url
        .split("/eventsubscriptions/")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let token = url.split("token=").nth(1).unwrap();
    (LaneId(lane.parse().unwrap()), Secret::new(token))
}

/// Gives way to others until something is so. Fails when it does not become so in good time.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let patience = Duration::from_secs(20);
    let waiting = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        tokio::time::timeout(patience, waiting).await.is_ok(),
        "waited in vain until {what}"
    );
}
