//! The event router: topics, event subscriptions, matching, and delivery that keeps its promises.
//!
//! Promise: an event that `publish` accepted, or `stage` put into a committed transaction, reaches every subscription
//! that matched it at that moment, or becomes a dead letter that says why. Only a subscription that is deleted, expires
//! or is never confirmed takes its undelivered events with it. They are counted as dropped, as far as they were in
//! memory or in a table: of a lane that is behind, those still in the journal only are not.
//! Not here: what communication services are (`comms`), how anything looks on the wire (`api`).

pub mod access;
mod alarm;
pub mod amqp;
pub mod audit;
mod backlog;
pub mod confirm;
pub mod connections;
pub mod credentials;
pub mod dead_letter;
mod dead_letter_blob;
pub mod dead_letter_removal;
mod delivery;
mod destination;
pub mod directory;
pub mod domain_topics;
pub mod dry_run;
pub mod entrances;
pub mod exchange;
pub mod explain;
pub mod faults;
mod handshake;
pub mod intake;
mod kept;
mod lane;
pub mod manage;
pub mod matching;
pub mod metrics;
mod notice;
mod orphans;
pub mod outbound;
pub mod principals;
pub mod probation;
pub mod proposal;
mod publish;
mod radix;
mod recent;
pub mod refusals;
mod registry;
pub mod replay;
mod retire;
pub mod retry;
pub mod roles;
pub mod scope;
mod secret_hash;
mod settle;
mod sources;
mod specification;
pub mod storage;
pub mod subscriptions;
pub mod system_topics;
pub mod tail;
pub mod tap;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod trace;
pub mod transcript;
mod validation;
mod waiting;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gridpost_model::subscription::LaneId;
use gridpost_model::{Chance, Clock};
use gridpost_store::{ReadError, Recovery, Store, StoreError};

pub use dead_letter::{DeadLetter, DeadLetterId, DeadLetterQuery};
pub use metrics::{Metrics, Pending};
pub use publish::PublishError;
pub use tail::{Activity, Attempted};

use tokens::TokenSource;
use trace::Tracing;

use delivery::Delivery;
use principals::SignIns;
use registry::Registry;
use replay::Replays;

/// Starts a task under the supervisor, by name. The name is what a panic report shows.
pub type Spawn = Arc<dyn Fn(&'static str, BoxFuture<'static, ()>) + Send + Sync>;

/// The event router. Cheap to clone; all clones are the same router.
#[derive(Clone)]
pub struct Grid(Arc<Inner>);

/// What the router is made of. `registry` decides who wants what, `delivery` brings it there.
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) replays: Replays,
    pub(crate) sign_ins: SignIns,
    pub(crate) sides: audit::Sides,
    pub(crate) doors: directory::Doors,
}

/// What the router needs from outside.
#[derive(Clone)]
pub struct Settings {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where chance comes from.
    pub chance: Arc<dyn Chance>,
    /// Where we may dial to, and how.
    pub outbound: outbound::Settings,
    /// The base of validation URLs, without a slash at its end: `https://127.0.0.1:8480`.
    pub public_url: String,
    /// Who collects traces.
    pub tracing: Tracing,
    /// Starts tasks.
    pub spawn: Spawn,
    /// Bounds of every lane.
    pub limits: Limits,
    /// Who issues tokens for Entra-protected endpoints. Without one they cannot be sent to.
    pub tokens: Option<Arc<dyn TokenSource>>,
}

/// The bounds of a lane, and of what lanes leave behind. Defaults are what was measured to be enough.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections to one destination, each carrying one event at a time.
    pub connections: usize,
    /// Events a lane keeps in memory; beyond it the lane reads from the journal.
    pub events: usize,
    /// Bytes of events a lane keeps in memory.
    pub bytes: usize,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// Dead letters that are kept, those of all lanes together.
    pub dead_letters: dead_letter_removal::Retention,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            events: 1024,
            bytes: 4 << 20,
            idle: Duration::from_secs(30),
            dead_letters: dead_letter_removal::Retention::default(),
        }
    }
}

/// The router cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A table could not be read.
    #[error("the router's tables could not be read")]
    Tables(#[from] StoreError),
    /// The journal could not be replayed.
    #[error("the journal could not be replayed")]
    Journal(#[from] ReadError),
    /// The outbound client could not be made.
    #[error("the outbound client could not be made")]
    Outbound(#[from] outbound::BadSettings),
}

impl Grid {
    /// Loads what is stored, replays the journal into the lanes and starts them. Nothing is sent before the replay ended.
    ///
    /// # Errors
    /// The store cannot be read, or the settings name certificates that are none.
    pub fn open(store: Store, recovery: &Recovery, settings: Settings) -> Result<Self, OpenError> {
        let registry = Registry::load(&store)?;
        let delivery = Delivery::new(store.clone(), &settings)?;
        delivery.recover(registry.all_subscriptions(), recovery)?;
        let inner = Inner {
            replays: Replays::load(&store)?,
            sign_ins: SignIns::new(&*settings.chance),
            sides: audit::Sides::default(),
            doors: directory::Doors::default(),
            store,
            settings,
            registry,
            delivery,
        };
        let grid = Self(Arc::new(inner));
        let changed = &grid.0.registry.changed;
        grid.0.delivery.start(Arc::clone(changed));
        grid.watch_time();
        grid.remove_orphans();
        grid.resume_replays();
        Ok(grid)
    }

    /// Stops sending, lets attempts under way end (at most 5 s) and writes down what they came to.
    pub async fn close(&self) {
        self.0.delivery.close().await;
    }

    /// What happens from now on, as it happens. A listener that lags loses the oldest activities.
    pub fn tail(&self) -> tokio::sync::broadcast::Receiver<Arc<Activity>> {
        self.0.delivery.shared().tail.listen()
    }

    /// The last attempts of an event subscription, oldest first.
    pub fn recent(&self, lane: LaneId) -> Vec<Attempted> {
        self.0.delivery.recent(lane)
    }

    /// All counters.
    pub fn metrics(&self) -> Metrics {
        let mut evaluated = HashMap::new();
        for source in self.0.registry.read().sources.values() {
            source.wanted.evaluated(&mut evaluated);
        }
        self.0.delivery.metrics(&evaluated)
    }

    /// What is still to be delivered.
    pub fn pending(&self) -> Pending {
        let registry = &self.0.registry;
        let handshakes = registry.handshakes.lock().len() as u64;
        Pending {
            exchanges: handshakes + registry.notices.load(Ordering::Acquire),
            ..self.0.delivery.pending()
        }
    }
}
