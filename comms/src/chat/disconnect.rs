//! Users who are gone: nobody listens for them any more.
//!
//! Promise: a user whose last listener went, and who had none again within the grace, is told of once, however often
//! it came and went meanwhile. What is owed is a row, so a restart in between forgets nobody.
//! Not here: who listens (`live`), the event's body (`events`).
//! Source: reference communication-events 6 and trap 17, which leaves the definition to us.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gridpost_model::Timestamp;
use gridpost_store::{Partition, StoreError, WriteError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::agenda::Wake;
use crate::chat::due::{Due, Work};
use crate::chat::live::MOST_LISTENERS;
use crate::chat::{ChatError, Scene, events};
use crate::identity::{User, UserId};
use crate::{Comms, Inner, tables};

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
pub(crate) struct Departures(Mutex<HashMap<UserId, (Partition, Away)>>);

impl Comms {
    /// A user's last listener went. Unless it has one again in time, `UserDisconnected` is raised.
    pub(crate) fn user_disconnected(&self, user: &User) {
        let (inner, partition) = (&self.0, user.resource.partition());
        let now = inner.settings.clock.now();
        let mut departures = inner.departures.0.lock();
        if departures.len() < MOST_LISTENERS || departures.contains_key(&user.id) {
            let away = Away { gone: now + GRACE };
            departures.insert(user.id.clone(), (partition, away));
        }
        drop(departures);
        inner.agenda.note(partition, now);
    }
}

/// Keeps the departures of a partition.
pub(crate) async fn keep(inner: &Inner, partition: Partition) -> Result<(), StoreError> {
    let of_partition: Vec<(UserId, Away)> = inner
        .departures
        .0
        .lock()
        .iter()
        .filter(|(_, (at, _))| *at == partition)
        .map(|(user, (_, away))| (user.clone(), *away))
        .collect();
    if of_partition.is_empty() {
        return Ok(());
    }
    let mut wake = Wake::new(&inner.agenda, partition);
    let kept = inner.store.write(partition, move |txn| {
        for (user, away) in &of_partition {
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
    let mut departures = inner.departures.0.lock();
    for (user, away) in of_partition {
        // A later departure of the same user is still to be kept.
        if departures
            .get(&user)
            .is_some_and(|(_, latest)| *latest == away)
        {
            departures.remove(&user);
        }
    }
    Ok(())
}

/// Tells of a user who did not come back, if that is what the row of that moment was about.
pub(crate) fn settle(
    scene: &mut Scene<'_, '_>,
    user: &UserId,
    gone: Timestamp,
) -> Result<(), ChatError> {
    let key = (user.resource(), user.user());
    if scene.txn.get(&tables::AWAY, key)? != Some(Away { gone }) {
        return Ok(());
    }
    scene.txn.remove(&tables::AWAY, key)?;
    if scene.inner.live.is_listening(user) {
        return Ok(());
    }
    let id = scene.inner.settings.chance.uuid();
    let topic: Arc<str> = scene.service.id.as_str().into();
    let event =
        events::user_disconnected(&topic, user, &id, scene.now).map_err(StoreError::from)?;
    scene.inner.grid.stage(scene.txn, &scene.service.id, event);
    Ok(())
}
