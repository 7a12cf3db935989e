//! What happens, while it happens: a live stream for who listens.
//!
//! Promise: the stream is not even built when nobody listens, and a slow listener loses activities instead of slowing
//! anybody.
//! Not here: what is remembered for later (`recent`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gridpost_model::subscription::LaneId;
use gridpost_model::{Event, Timestamp};
use tokio::sync::broadcast;

use crate::exchange::Exchange;
use crate::recent::Budget;
use crate::replay::ReplayId;
use crate::retry::{self, Answer, Attempt, Outcome, Reason, Reckoning, Verdict};

/// Activities a listener may lag behind before it loses some.
const LAG: usize = 1_024;

/// Something that happened to an event.
#[derive(Clone, Debug)]
pub struct Activity {
    /// When.
    pub at: Timestamp,
    /// The event.
    pub event: Arc<Event>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// It was accepted, and this many subscriptions want it.
    Accepted {
        /// How many.
        lanes: usize,
    },
    /// A subscription's destination was tried.
    Attempted {
        /// The subscription's queue.
        lane: LaneId,
        /// The subscription.
        subscription: Arc<str>,
        /// How it went.
        attempt: Attempted,
    },
    /// It became a dead letter without another attempt.
    GivenUp {
        /// The subscription's queue.
        lane: LaneId,
        /// The subscription.
        subscription: Arc<str>,
        /// `deadLetterReason`.
        reason: Reason,
    },
}

/// One attempt, as it is remembered.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// When it began.
    pub at: Timestamp,
    /// The event's `id`, as far as it is remembered: the first 1,024 bytes.
    pub event_id: String,
    /// When the event was accepted. Ids are not unique.
    pub published: Timestamp,
    /// Its number; the first is 1.
    pub number: u32,
    /// When the first attempt began: the schedule counts from there.
    pub first: Timestamp,
    /// What the destination did.
    pub outcome: Outcome,
    /// The status it answered with.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
    /// What we did about it.
    pub verdict: Verdict,
    /// The replay it belongs to.
    pub replay: Option<ReplayId>,
    /// What was sent and what came back; for failures, some successes, and for who listens.
    pub exchange: Option<Arc<Exchange>>,
}

impl Attempted {
    /// Why the next attempt is due when it is.
    pub fn reckoning(&self) -> Option<Reckoning> {
        let Verdict::Retry { due } = self.verdict else {
            return None;
        };
        let attempt = Attempt {
            number: self.number,
            first: self.first,
        };
        let answer = self
            .status
            .map_or(Answer::Said(self.outcome), Answer::Status);
        Some(retry::reckon(attempt, answer, self.at + self.took, due))
    }
}

/// The longest part of an event's id that is remembered. What is remembered of a lane has to be bounded, and publishers
/// may send ids as long as events.
const ID_KEPT: usize = 1_024;

/// As much of an id as is remembered.
pub(crate) fn kept_id(id: &str) -> &str {
    &id[..id.floor_char_boundary(ID_KEPT)]
}

/// The live stream.
pub(crate) struct Tail {
    sender: broadcast::Sender<Arc<Activity>>,
    listened: AtomicBool,
    /// What lanes may spend on remembering.
    pub(crate) budget: Arc<Budget>,
}

impl Tail {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::channel(LAG).0,
            listened: AtomicBool::new(false),
            budget: Arc::default(),
        }
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Activity>> {
        let receiver = self.sender.subscribe();
        self.listened.store(true, Ordering::Release);
        receiver
    }

    /// Whether somebody may be listening. One atomic load.
    pub(crate) fn is_listened(&self) -> bool {
        self.listened.load(Ordering::Acquire)
    }

    /// Tells who listens.
    pub(crate) fn tell(&self, activity: Activity) {
        if self.sender.send(Arc::new(activity)).is_err() {
            self.listened.store(false, Ordering::Release);
            // Somebody may have begun to listen between the two lines.
            if self.sender.receiver_count() > 0 {
                self.listened.store(true, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_id_the_beginning_is_remembered() {
        assert_eq!(kept_id("short"), "short");
        let long = format!("{}{}", "x".repeat(ID_KEPT - 1), "ä".repeat(1_000));
        assert_eq!(kept_id(&long).len(), ID_KEPT - 1);
    }

    #[test]
    fn nothing_is_built_when_nobody_listens() {
        let tail = Tail::new();
        assert!(!tail.is_listened());
        let listener = tail.listen();
        assert!(tail.is_listened());
        drop(listener);
        let event = crate::testing::event("x", "s");
        tail.tell(Activity {
            at: Timestamp::EPOCH,
            event: Arc::new(event),
            what: What::Accepted { lanes: 0 },
        });
        assert!(!tail.is_listened());
    }
}
