//! What communication services do: the resources, the numbers they own, SMS, identities, chat, and the resources around
//! email.
//!
//! Promise: a change of state and the events it causes are staged in one transaction; work that is due later is
//! durable and survives a restart.
//! Not here: who is told of an event (`grid`), how a request looks on the wire (`api`), carriers other than the
//! built-in one.

mod agenda;
pub mod chat;
mod due;
pub mod identity;
pub mod mail;
pub mod metrics;
pub mod numbers;
mod rates;
mod registry;
pub mod resources;
#[cfg(test)]
mod samples;
pub mod sms;
mod tables;

use std::future::Future;
use std::sync::Arc;

use gridpost_grid::{Grid, Spawn};
use gridpost_model::{Chance, Clock};
use gridpost_store::{Store, StoreError};
use tokio::sync::{Mutex, oneshot};

pub use metrics::Metrics;
pub use numbers::{AssignError, Assignment};
pub use rates::{RateLimits, TooOften};
pub use resources::{CommunicationService, EventShape};

use agenda::Agenda;
use chat::disconnect::Departures;
use metrics::Counters;
use rates::Limiters;
use registry::Registry;
use sms::carrier::{Carrier, CarrierInbox};

/// The communication services. Cheap to clone; all clones are the same services.
#[derive(Clone)]
pub struct Comms(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) grid: Grid,
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) settings: Settings,
    pub(crate) registry: Arc<Registry>,
    pub(crate) mail: mail::Mail,
    pub(crate) agenda: Arc<Agenda>,
    pub(crate) metrics: Counters,
    pub(crate) identity_keys: identity::keys::Keys,
    pub(crate) live: Arc<chat::live::Hub>,
    pub(crate) departures: Departures,
    pub(crate) rates: Limiters,
    /// Held while resources or numbers are changed: such changes are rare, and what is in memory must follow them in order.
    pub(crate) managing: Mutex<()>,
}

/// What the services need from outside.
#[derive(Clone)]
pub struct Settings {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where identifiers and keys come from.
    pub chance: Arc<dyn Chance>,
    /// Starts tasks.
    pub spawn: Spawn,
    /// `hostName` of every resource: `localhost:8480`.
    pub host_name: String,
    /// How often clients may call.
    pub rate_limits: RateLimits,
}

/// The services cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A table could not be read.
    #[error("the tables of the communication services could not be read")]
    Tables(#[from] StoreError),
}

impl Comms {
    /// Loads what is stored and takes up what was left undone: messages are handed to the carrier again, reports and
    /// time-outs that fell due in the meantime happen now.
    ///
    /// # Errors
    /// The tables cannot be read.
    pub fn open(
        store: Store,
        grid: Grid,
        carrier: Arc<dyn Carrier>,
        settings: Settings,
    ) -> Result<Self, OpenError> {
        let registry = Arc::new(Registry::load(&store, &settings.host_name)?);
        let (live, hints) = chat::live::Hub::new(Arc::clone(&registry));
        let mail = mail::Mail::load(&store)?;
        let identity_keys = identity::keys::Keys::load(&store)?;
        let agenda = Arc::new(Agenda::default());
        let metrics = Counters::default();
        let rates = Limiters::new(settings.rate_limits);
        let managing = Mutex::default();
        let inner = Inner {
            store,
            grid,
            carrier,
            settings,
            registry,
            mail,
            agenda,
            metrics,
            identity_keys,
            live,
            departures: Departures::default(),
            rates,
            managing,
        };
        let inner = Arc::new(inner);
        inner
            .carrier
            .start(CarrierInbox::new(Arc::downgrade(&inner)));
        chat::live::start(&inner, hints);
        agenda::start(&inner);
        Ok(Self(inner))
    }

    /// Whether something is due now or under way. For tests that wait for quiet and for a drain.
    pub fn is_busy(&self) -> bool {
        self.0.agenda.is_busy(self.0.settings.clock.now())
    }

    /// Stops taking up due work and waits for what is under way. What remains is taken up at the next start.
    pub async fn close(&self) {
        self.0.agenda.close().await;
        chat::disconnect::keep_the_rest(&self.0).await;
    }
}

impl Inner {
    /// Does work that must not stop half-way when its client hangs up.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let task = async move {
            // An asker who left does not need the answer.
            let _ = answer.send(work.await);
        };
        (self.settings.spawn)(name, Box::pin(task));
        answered.await.map_err(|_| StoreError::Closed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.agenda.stop();
    }
}
