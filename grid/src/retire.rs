//! The passing of time for event subscriptions: they expire, and validation windows end.
//!
//! Promise: an expired subscription is deleted, with a notice; one that nobody confirmed fails, and drops what waited
//! for it; both once their moment has come, also when it came while the server was down.
//! Not here: what `Failed` means for events (`registry`: it matches nothing).

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{Either, select};
use gridpost_model::Timestamp;
use gridpost_model::subscription::{EventSubscription, ProvisioningState};
use gridpost_store::StoreError;
use tracing::{info, warn};

use crate::registry::State;
use crate::{Grid, Inner};

/// How long we wait before we try again to write down what could not be stored.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of a subscription at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is deleted.
    Retire,
    /// It waited in vain.
    Fail,
}

impl Grid {
    /// Starts the task that watches the clock. It ends with the router.
    pub(crate) fn watch_time(&self) {
        let watch = watch(Arc::downgrade(&self.0));
        (self.0.settings.spawn)("grid-retire", Box::pin(watch));
    }
}

async fn watch(router: Weak<Inner>) {
    while let Some(inner) = router.upgrade() {
        let now = inner.settings.clock.now();
        let mut alarm = next_moment(&inner.registry.read(), now);
        if let Err(error) = carry_out_due(&inner, now).await {
            warn!(%error, "an expired event subscription could not be deleted; trying again");
            alarm = Some(now + PATIENCE);
        }
        let changed = Arc::clone(&inner.registry.changed);
        let sleep = alarm.map(|moment| inner.settings.clock.sleep_until(moment));
        // The task must not keep the router alive while it waits.
        drop(inner);
        match sleep {
            Some(sleep) => match select(pin!(changed.notified()), sleep).await {
                Either::Left(_) | Either::Right(_) => (),
            },
            None => changed.notified().await,
        }
    }
}

/// The first moment after `now` at which something becomes of some subscription.
fn next_moment(state: &State, now: Timestamp) -> Option<Timestamp> {
    state
        .lanes
        .values()
        .flat_map(|one| moments(one))
        .filter(|moment| now < *moment)
        .min()
}

fn moments(one: &EventSubscription) -> impl Iterator<Item = Timestamp> {
    let window = match &one.state {
        ProvisioningState::AwaitingManualAction { until, .. } => Some(*until),
        ProvisioningState::Succeeded | ProvisioningState::Failed => None,
    };
    one.expires.into_iter().chain(window)
}

/// What becomes of a subscription, if its moment has come. Pure.
fn fate(one: &EventSubscription, now: Timestamp) -> Option<Fate> {
    if one.expires.is_some_and(|expires| expires <= now) {
        return Some(Fate::Retire);
    }
    match &one.state {
        ProvisioningState::AwaitingManualAction { until, .. } if *until <= now => Some(Fate::Fail),
        _ => None,
    }
}

async fn carry_out_due(inner: &Arc<Inner>, now: Timestamp) -> Result<(), StoreError> {
    let state = inner.registry.read();
    for lane in state
        .lanes
        .values()
        .filter(|one| fate(one, now).is_some())
        .map(|one| one.lane)
    {
        inner
            .change(move |inner| async move {
                // Looked at again: it may have been changed while we waited for our turn.
                let Some(one) = inner.registry.read().lanes.get(&lane).cloned() else {
                    return Ok::<_, StoreError>(());
                };
                match fate(&one, now) {
                    Some(Fate::Retire) => {
                        info!(subscription.name = %one.name, "the event subscription {} has expired", one.name);
                        inner.take_subscription_away(&one).await?;
                    }
                    Some(Fate::Fail) => {
                        info!(subscription.name = %one.name, "nobody confirmed the event subscription {} in time", one.name);
                        inner.move_to(lane, ProvisioningState::Failed).await?;
                    }
                    None => (),
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use gridpost_model::subscription::LaneId;
    use gridpost_model::{Filter, Secret};

    use super::*;
    use crate::testing;

    const NOON: Timestamp = Timestamp::from_seconds(43_200);

    fn awaiting(until: Timestamp) -> ProvisioningState {
        ProvisioningState::AwaitingManualAction {
            token: Secret::default(),
            code: Secret::default(),
            until,
        }
    }

    #[test]
    fn a_subscription_retires_at_its_expiration_and_fails_at_the_end_of_its_window() {
        let plain = testing::subscription(1, Filter::default());
        let expiring = EventSubscription {
            expires: Some(NOON),
            ..plain.clone()
        };
        let waiting = EventSubscription {
            state: awaiting(NOON),
            ..plain.clone()
        };
        let both = EventSubscription {
            expires: Some(NOON),
            ..waiting.clone()
        };
        let before = NOON - Duration::from_secs(1);
        for one in [&plain, &expiring, &waiting, &both] {
            assert_eq!(fate(one, before), None);
        }
        assert_eq!(fate(&plain, NOON), None);
        assert_eq!(fate(&expiring, NOON), Some(Fate::Retire));
        assert_eq!(fate(&waiting, NOON), Some(Fate::Fail));
        assert_eq!(fate(&both, NOON), Some(Fate::Retire));
    }

    #[test]
    fn the_alarm_is_set_to_the_earliest_moment_to_come() {
        let mut state = State::default();
        let plain = testing::subscription(1, Filter::default());
        let later = NOON + Duration::from_secs(60);
        let past = NOON - Duration::from_secs(60);
        for (lane, expires) in [(1, None), (2, Some(later)), (3, Some(past))] {
            let name = format!("es{lane}");
            let lane = LaneId(lane);
            state.insert_subscription(&Arc::new(EventSubscription {
                lane,
                name,
                expires,
                ..plain.clone()
            }));
        }
        assert_eq!(next_moment(&state, NOON), Some(later));
        assert_eq!(next_moment(&state, later), None);
    }
}
