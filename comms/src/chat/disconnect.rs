//! Users who are gone: nobody listens for them any more.
//!
//! Promise: a user whose last listener went, and who had none again within the grace, is told of once, however often
//! it came and went meanwhile. What is owed is a row, written at the latest when the services close, so a
//! restart in between forgets nobody.
//! Not here: who listens (`live`), the event's body (`events`).
//! Source: reference communication-events 6 and trap 17, which leaves the definition to us.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use gridpost_model::Timestamp;
use gridpost_store::{Partition, StoreError, Txn, WriteError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::agenda::Wake;
use crate::chat::due::{Due, Work};
use crate::chat::events;
use crate::chat::live::MOST_LISTENERS;
use crate::identity::{User, UserId};
use crate::resources::CommunicationService;
use crate::{Inner, tables};

/// How long a user may be away before it counts as gone: a page that is loaded again, a phone that changes networks.
const GRACE: Duration = Duration::from_secs(30);

/// A user whose last listener went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Away {
    /// When it counts as gone. The row of an earlier departure names an earlier moment, and means nothing any more.
    gone: Timestamp,
}

/// Departures that are to be kept, at most as many as there are listeners: when the disk is full for long, later ones
/// are not told of.
#[derive(Default)]
pub(crate) struct Departures(Mutex<HashMap<UserId, (Arc<CommunicationService>, Away)>>);

impl Departures {
    /// A user's last listener went. To be called while nobody can look whether it listens, so that whoever looks finds it
    /// either listening or here.
    pub(crate) fn note(&self, user: &User, now: Timestamp) {
        let mut departures = self.0.lock();
        if departures.len() < MOST_LISTENERS || departures.contains_key(&user.id) {
            let away = Away { gone: now + GRACE };
            departures.insert(user.id.clone(), (Arc::clone(&user.resource), away));
        }
    }

    fn of(&self, partition: Partition) -> Vec<(UserId, Arc<CommunicationService>, Away)> {
        let departures = self.0.lock();
        let all = departures.iter();
        all.filter(|(_, (service, _))| service.partition() == partition)
            .map(|(user, (service, away))| (user.clone(), Arc::clone(service), *away))
            .collect()
    }

    fn is_noted(&self, user: &UserId) -> bool {
        self.0.lock().contains_key(user)
    }

    /// Forgets a departure that was kept. A later one of the same user is still to be kept.
    fn forget(&self, user: &UserId, kept: Away) {
        let mut departures = self.0.lock();
        if departures
            .get(user)
            .is_some_and(|(_, latest)| *latest == kept)
        {
            departures.remove(user);
        }
    }
}

/// Keeps the departures of a partition, but for those from resources that are gone.
pub(crate) async fn keep(inner: &Inner, partition: Partition) -> Result<(), StoreError> {
    let of_partition = inner.departures.of(partition);
    if of_partition.is_empty() {
        return Ok(());
    }
    let mut wake = Wake::new(&inner.agenda, partition);
    let kept = inner.store.write(partition, move |txn| {
        for (user, service, away) in &of_partition {
            if !service.is_kept(txn)? {
                continue;
            }
            txn.put(&tables::AWAY, (user.resource(), user.user()), away)?;
            let work = Work::Disconnect {
                resource: user.resource().to_owned(),
                user: user.clone(),
            };
            Due {
                at: away.gone,
                work,
            }
            .put(txn, &mut wake)?;
        }
        Ok((of_partition, wake))
    });
    let kept = kept.await.map_err(WriteError::<StoreError>::into_inner)?;
    let (of_partition, _wake) = kept.into_inner();
    for (user, _, away) in &of_partition {
        inner.departures.forget(user, *away);
    }
    Ok(())
}

/// Keeps all that are left, when nothing is visited any more.
pub(crate) async fn keep_the_rest(inner: &Inner) {
    let partitions: BTreeSet<Partition> = {
        let departures = inner.departures.0.lock();
        departures
            .values()
            .map(|(service, _)| service.partition())
            .collect()
    };
    for partition in partitions {
        if let Err(error) = keep(inner, partition).await {
            tracing::warn!(%error, "users who were connected are not told of as gone: {error}");
        }
    }
}

/// Tells of a user who did not come back, if its resource is there and that is what the row of that moment was about.
pub(crate) fn settle(
    txn: &mut Txn<'_>,
    inner: &Inner,
    user: &UserId,
    gone: Timestamp,
) -> Result<(), StoreError> {
    let key = (user.resource(), user.user());
    if txn.get(&tables::AWAY, key)? != Some(Away { gone }) {
        return Ok(());
    }
    txn.remove(&tables::AWAY, key)?;
    let Some(service) = inner.service_of(user.resource()) else {
        return Ok(());
    };
    // It may have come back and left again: then it is noted, and gone a grace after that.
    if inner.live.is_listening(user) || inner.departures.is_noted(user) {
        return Ok(());
    }
    let id = inner.settings.chance.uuid();
    let topic: Arc<str> = service.id.as_str().into();
    let now = inner.settings.clock.now();
    let event = events::user_disconnected(&topic, user, &id, now)?;
    inner.grid.stage(txn, &service.id, event);
    Ok(())
}
