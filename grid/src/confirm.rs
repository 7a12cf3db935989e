//! Visits of a validation URL.
//!
//! Promise: a visit counts from the moment the endpoint was asked, also while its answer is on the way, and until the
//! window ends; without the token it changes nothing and tells nothing.
//! Not here: the page that a visitor sees (`api`).

use std::collections::HashMap;
use std::sync::Arc;

use gridpost_model::subscription::{EventSubscription, LaneId, ProvisioningState};
use gridpost_model::{ResourceId, Secret, Timestamp};
use gridpost_store::StoreError;
use parking_lot::Mutex;

use crate::handshake::why_pending;
use crate::proposal::Proposal;
use crate::{Grid, Inner};

/// What a visit confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The event subscription's name.
    pub name: String,
    /// Its source.
    pub source: ResourceId,
}

/// A visit changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// No event subscription waits for this token.
    #[error("no event subscription is waiting for this validation")]
    Unknown,
    /// The window has passed; the event subscription has to be created again.
    #[error("the validation URL has expired")]
    Expired,
    /// It could not be kept.
    #[error("the confirmation was not stored")]
    NotStored(#[from] StoreError),
}

/// The handshakes that are going on, by lane.
pub(crate) type Handshakes = Mutex<HashMap<LaneId, Visit>>;

/// A validation URL that an endpoint knows, whose subscription is not committed yet.
pub(crate) struct Visit {
    token: Secret,
    name: String,
    source: ResourceId,
    visited: bool,
}

/// The right to ask an endpoint about a lane. At most one exists for each lane.
pub(crate) struct Handshaking {
    inner: Arc<Inner>,
    lane: LaneId,
    token: Secret,
}

impl Handshaking {
    /// Begins a handshake, unless one is going on for this lane.
    pub(crate) fn enter(
        inner: &Arc<Inner>,
        source: &ResourceId,
        proposal: &Proposal,
    ) -> Option<Self> {
        let mut open = inner.registry.handshakes.lock();
        if open.contains_key(&proposal.lane) {
            return None;
        }
        let (token, name) = (proposal.token.clone(), proposal.name.clone());
        let visit = Visit {
            token: token.clone(),
            name,
            source: source.clone(),
            visited: false,
        };
        open.insert(proposal.lane, visit);
        Some(Self {
            inner: Arc::clone(inner),
            lane: proposal.lane,
            token,
        })
    }

    /// Whether somebody has visited the URL by now.
    pub(crate) fn was_visited(&self) -> bool {
        self.inner
            .registry
            .handshakes
            .lock()
            .get(&self.lane)
            .is_some_and(|visit| visit.visited)
    }

    /// Ends the handshake with the committed subscription. A visit since the endpoint's answer counts now.
    pub(crate) async fn leave(
        self,
        after: Arc<EventSubscription>,
    ) -> Result<Arc<EventSubscription>, StoreError> {
        let visit = self.inner.registry.handshakes.lock().remove(&self.lane);
        match (&after.state, visit) {
            (ProvisioningState::AwaitingManualAction { .. }, Some(visit)) if visit.visited => {
                let lane = self.lane;
                let changed = self.inner.change(move |inner| async move {
                    inner.move_to(lane, ProvisioningState::Succeeded).await
                });
                Ok(changed.await?.unwrap_or(after))
            }
            _ => Ok(after),
        }
    }
}

impl Drop for Handshaking {
    fn drop(&mut self) {
        let mut open = self.inner.registry.handshakes.lock();
        // The next handshake of the lane may have been entered since this one was left.
        if open
            .get(&self.lane)
            .is_some_and(|visit| visit.token == self.token)
        {
            open.remove(&self.lane);
        }
    }
}

/// An event subscription whose endpoint answered and did not agree.
#[derive(Clone, Debug)]
pub struct Awaiting {
    /// The event subscription; nothing is delivered to it yet.
    pub subscription: Arc<EventSubscription>,
    /// Why it waits.
    pub because: &'static str,
    /// Whoever visits it lets events flow.
    pub validation_url: Secret,
    /// Until when a visit counts.
    pub until: Timestamp,
}

impl Grid {
    /// The event subscriptions that wait for a visit of their validation URL, the first to expire first.
    pub fn awaiting(&self) -> Vec<Awaiting> {
        let settings = &self.0.settings;
        let now = settings.clock.now();
        let registry = self.0.registry.read();
        let mut awaiting: Vec<_> = registry
            .lanes
            .values()
            .filter_map(|one| match &one.state {
                ProvisioningState::AwaitingManualAction { token, until, .. } if now < *until => {
                    let (lane, token) = (one.lane.0, token.reveal());
                    let url = &settings.public_url;
                    Some(Awaiting {
                        subscription: Arc::clone(one),
                        because: why_pending(one.delivery_schema),
                        validation_url: Secret::new(format!(
                            "{url}/eventsubscriptions/{lane}/validate?token={token}"
                        )),
                        until: *until,
                    })
                }
                _ => None,
            })
            .collect();
        awaiting.sort_by_key(|one| one.until);
        awaiting
    }

    /// A visit of the validation URL of a lane.
    ///
    /// # Errors
    /// Nothing waits for this token any more, or the confirmation was not stored.
    pub async fn confirm(&self, lane: LaneId, token: &Secret) -> Result<Confirmed, ConfirmError> {
        if let Some(confirmed) = self.confirm_early(lane, token) {
            return Ok(confirmed);
        }
        let token = token.clone();
        self.0
            .change(move |inner| async move {
                let known = inner.registry.read().lanes.get(&lane).cloned();
                let one = known.ok_or(ConfirmError::Unknown)?;
                judge_visit(&one.state, &token, inner.settings.clock.now())?;
                inner.move_to(lane, ProvisioningState::Succeeded).await?;
                Ok(Confirmed {
                    name: one.name.clone(),
                    source: one.source.clone(),
                })
            })
            .await
    }

    /// A visit while the handshake goes on is written down for it.
    fn confirm_early(&self, lane: LaneId, token: &Secret) -> Option<Confirmed> {
        let mut open = self.0.registry.handshakes.lock();
        let visit = open.get_mut(&lane).filter(|visit| visit.token == *token)?;
        visit.visited = true;
        Some(Confirmed {
            name: visit.name.clone(),
            source: visit.source.clone(),
        })
    }
}

fn judge_visit(
    state: &ProvisioningState,
    offered: &Secret,
    now: Timestamp,
) -> Result<(), ConfirmError> {
    match state {
        ProvisioningState::AwaitingManualAction { token, .. } if token != offered => {
            Err(ConfirmError::Unknown)
        }
        ProvisioningState::AwaitingManualAction { until, .. } if *until <= now => {
            Err(ConfirmError::Expired)
        }
        ProvisioningState::AwaitingManualAction { .. } => Ok(()),
        ProvisioningState::Succeeded | ProvisioningState::Failed => Err(ConfirmError::Unknown),
    }
}

impl Inner {
    /// Moves a subscription to another state, if it still exists. Only inside a change.
    pub(crate) async fn move_to(
        self: &Arc<Self>,
        lane: LaneId,
        state: ProvisioningState,
    ) -> Result<Option<Arc<EventSubscription>>, StoreError> {
        let Some(before) = self.registry.read().lanes.get(&lane).cloned() else {
            return Ok(None);
        };
        let updated = self.settings.clock.now();
        let after = EventSubscription {
            state,
            updated,
            ..EventSubscription::clone(&before)
        };
        let after = Arc::new(after);
        self.commit_subscription(&after, None).await?;
        self.registry
            .update(|state| state.insert_subscription(&after));
        if after.state == ProvisioningState::Failed {
            self.close_lane(lane);
        } else {
            self.delivery.change_lane(Arc::clone(&after));
        }
        Ok(Some(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaiting() -> ProvisioningState {
        ProvisioningState::AwaitingManualAction {
            token: Secret::new("right"),
            code: Secret::new("code"),
            until: Timestamp::from_seconds(600),
        }
    }

    fn judge(state: &ProvisioningState, token: &str, seconds: i64) -> Result<(), ConfirmError> {
        judge_visit(state, &Secret::new(token), Timestamp::from_seconds(seconds))
    }

    #[test]
    fn section_4_1_a_visit_counts_with_the_token_and_within_the_window() {
        assert!(judge(&awaiting(), "right", 599).is_ok());
        assert!(matches!(
            judge(&awaiting(), "right", 600),
            Err(ConfirmError::Expired)
        ));
        assert!(matches!(
            judge(&awaiting(), "wrong", 1),
            Err(ConfirmError::Unknown)
        ));
        assert!(matches!(
            judge(&ProvisioningState::Succeeded, "right", 1),
            Err(ConfirmError::Unknown)
        ));
        assert!(matches!(
            judge(&ProvisioningState::Failed, "right", 1),
            Err(ConfirmError::Unknown)
        ));
    }
}
