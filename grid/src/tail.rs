//! What happened lately: a ring of recent attempts per lane, and a live stream for who listens.
//!
//! Promise: seeing costs delivery next to nothing. The ring keeps a few numbers per attempt and reuses its memory;
//! whole exchanges are kept for failures only; the live stream is not even built when nobody listens, and a slow
//! listener loses activities instead of slowing anybody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gridpost_model::subscription::LaneId;
use gridpost_model::{Event, Timestamp};
use http::HeaderMap;
use tokio::sync::broadcast;

use crate::outbound::{Outcome as Received, Response};
use crate::retry::{Outcome, Verdict};

/// Attempts remembered per lane.
const REMEMBERED: usize = 32;

/// Activities a listener may lag behind before it loses some.
const LAG: usize = 1_024;

/// How much of a body is remembered.
const BODY_KEPT: usize = 4 << 10;

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
        reason: crate::retry::Reason,
    },
}

/// One attempt, as it is remembered.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// When it began.
    pub at: Timestamp,
    /// The event's `id`.
    pub event_id: String,
    /// Its number; the first is 1.
    pub number: u32,
    /// What the destination did.
    pub outcome: Outcome,
    /// The status it answered with.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
    /// What we did about it.
    pub verdict: Verdict,
    /// What was sent and what came back; for failures, and for who listens.
    pub exchange: Option<Arc<Exchange>>,
}

/// What was sent and what came back.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The request's headers. Its body is the event.
    pub request: HeaderMap,
    /// The answer, its body cut short.
    pub response: Option<Response>,
    /// Why there was none.
    pub failure: Option<String>,
}

impl Exchange {
    /// What is worth remembering of an exchange.
    pub(crate) fn new(request: HeaderMap, received: &Received) -> Self {
        match received {
            Received::Answered(response) => {
                let mut response = response.clone();
                // A copy, so that the rest of the body does not stay in memory with its beginning.
                let kept = response.body.len().min(BODY_KEPT);
                response.body = Bytes::copy_from_slice(&response.body[..kept]);
                Self {
                    request,
                    response: Some(response),
                    failure: None,
                }
            }
            Received::Failed(failure) => Self {
                request,
                response: None,
                failure: Some(failure.to_string()),
            },
        }
    }
}

/// The last attempts of one lane, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<Attempted>);

impl Recent {
    /// Remembers an attempt in place of the oldest one.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one record, written in place"
    )]
    pub(crate) fn remember(
        &mut self,
        at: Timestamp,
        event_id: &str,
        number: u32,
        outcome: Outcome,
        status: Option<u16>,
        took: Duration,
        verdict: Verdict,
        exchange: Option<Arc<Exchange>>,
    ) {
        let mut text = if self.0.len() < REMEMBERED {
            String::new()
        } else {
            self.0
                .pop_front()
                .map(|oldest| oldest.event_id)
                .unwrap_or_default()
        };
        text.clear();
        text.push_str(event_id);
        let event_id = text;
        self.0.push_back(Attempted {
            at,
            event_id,
            number,
            outcome,
            status,
            took,
            verdict,
            exchange,
        });
    }

    /// Remembers an attempt that was told of in full.
    pub(crate) fn push(&mut self, attempt: Attempted) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(attempt);
    }

    /// What is remembered, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Attempted> {
        self.0.iter()
    }
}

/// The live stream.
pub(crate) struct Tail {
    sender: broadcast::Sender<Arc<Activity>>,
    listened: AtomicBool,
}

impl Tail {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::channel(LAG).0,
            listened: AtomicBool::new(false),
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
    fn the_ring_keeps_the_last_attempts() {
        let mut recent = Recent::default();
        for number in 1..=100 {
            recent.remember(
                Timestamp::EPOCH,
                &format!("event {number}"),
                number,
                Outcome::Delivered,
                Some(200),
                Duration::ZERO,
                Verdict::Delivered,
                None,
            );
        }
        let numbers: Vec<u32> = recent.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, (69..=100).collect::<Vec<_>>());
        assert_eq!(recent.iter().next_back().unwrap().event_id, "event 100");
    }
}
