//! What is remembered of a lane's attempts.
//!
//! Promise: bounded, in numbers and in bytes, per lane and for all lanes together; and it costs a success nothing but
//! a few numbers written in place. Failures push out no successes and the other way round. Of the exchanges the
//! oldest go first.
//! Not here: what an exchange holds (`exchange`), the attempts of a delivery that still waits (`waiting` keeps those).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use gridpost_model::Timestamp;

use crate::replay::ReplayId;
use crate::retry::{Outcome, Verdict};
use crate::tail::{self, Attempted};

/// Failed attempts remembered per lane: all attempts of two deliveries with the usual policy.
const FAILURES: usize = 64;

/// Successes remembered with numbers only.
pub(crate) const SUCCESSES: usize = 32;

/// Successes remembered with their exchange.
const SAMPLES: usize = 16;

/// Exchanges remembered per lane: a dozen of the longest, a hundred ordinary ones.
const LANE_BYTES: usize = 128 << 10;

/// Exchanges remembered in all: what a server with thousands of failing subscriptions can spare.
const ALL_BYTES: usize = 32 << 20;

/// A lane that sends much remembers one success in full per second, after so many in a row.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
const SAMPLE_BURST: Duration = Duration::from_secs(16);

/// The bytes that all lanes together spend on exchanges.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let share = Share {
            budget: Arc::clone(self),
            bytes,
        };
        (before + bytes <= ALL_BYTES).then_some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Says which successes are remembered in full.
#[derive(Debug, Default)]
pub(crate) struct Sampler(AtomicI64);

impl Sampler {
    /// Whether the success of this moment is. One load when it is not.
    pub(crate) fn takes(&self, now: Timestamp) -> bool {
        let spoken_for = self.0.load(Ordering::Relaxed);
        if (now + SAMPLE_BURST).ticks() <= spoken_for {
            return false;
        }
        let start = Timestamp::from_ticks(spoken_for.max(now.ticks()));
        let next = (start + SAMPLE_EVERY).ticks();
        // Whoever is faster takes the turn.
        self.0
            .compare_exchange(spoken_for, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// The last attempts of one lane.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    failures: VecDeque<Kept>,
    samples: VecDeque<Kept>,
    successes: VecDeque<Attempted>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    attempt: Attempted,
    share: Option<Share>,
}

impl Recent {
    /// Remembers a success by its numbers, in place of the oldest one.
    pub(crate) fn succeeded(
        &mut self,
        at: Timestamp,
        (event_id, published): (&str, Timestamp),
        number: u32,
        status: Option<u16>,
        took: Duration,
        replay: Option<ReplayId>,
    ) {
        let mut text = if self.successes.len() < SUCCESSES {
            String::new()
        } else {
            let oldest = self.successes.pop_front();
            oldest.map(|oldest| oldest.event_id).unwrap_or_default()
        };
        text.clear();
        text.push_str(tail::kept_id(event_id));
        self.successes.push_back(Attempted {
            at,
            event_id: text,
            published,
            number,
            first: at,
            outcome: Outcome::Delivered,
            status,
            took,
            verdict: Verdict::Delivered,
            replay,
            exchange: None,
        });
    }

    /// Remembers an attempt in full, or as much of it as the budget has room for.
    pub(crate) fn push(&mut self, attempt: Attempted, budget: &Arc<Budget>) {
        let share = self.share_of(&attempt, budget);
        let exchange = attempt.exchange.clone().filter(|_| share.is_some());
        let attempt = Attempted {
            exchange,
            ..attempt
        };
        let (ring, limit) = match attempt.verdict {
            Verdict::Delivered => (&mut self.samples, SAMPLES),
            Verdict::Retry { .. } | Verdict::GiveUp(_) => (&mut self.failures, FAILURES),
        };
        let oldest = (ring.len() == limit).then(|| ring.pop_front()).flatten();
        ring.push_back(Kept { attempt, share });
        let Some(Kept { attempt, share }) = oldest else {
            return;
        };
        self.bytes -= share.map_or(0, |share| share.bytes);
        if attempt.verdict == Verdict::Delivered {
            self.keep_numbers(attempt);
        }
    }

    /// Keeps the numbers of a success whose exchange had to go, in its place among the others.
    fn keep_numbers(&mut self, attempt: Attempted) {
        let earlier = |other: &Attempted| other.at <= attempt.at;
        let place = self.successes.partition_point(earlier);
        if self.successes.len() == SUCCESSES {
            if place == 0 {
                return;
            }
            self.successes.pop_front();
        }
        let place = place.min(self.successes.len());
        self.successes.insert(
            place,
            Attempted {
                exchange: None,
                ..attempt
            },
        );
    }

    /// Makes room for an exchange at the expense of this lane's older ones.
    fn share_of(&mut self, attempt: &Attempted, budget: &Arc<Budget>) -> Option<Share> {
        let size = attempt.exchange.as_ref()?.size();
        loop {
            if self.bytes + size <= LANE_BYTES
                && let Some(share) = budget.take(size)
            {
                self.bytes += size;
                return Some(share);
            }
            if !self.forget_an_exchange() {
                return None;
            }
        }
    }

    fn forget_an_exchange(&mut self) -> bool {
        let rings = self.samples.iter_mut().chain(&mut self.failures);
        let oldest = rings
            .filter(|kept| kept.share.is_some())
            .min_by_key(|kept| kept.attempt.at);
        let Some(oldest) = oldest else { return false };
        oldest.attempt.exchange = None;
        self.bytes -= oldest.share.take().map_or(0, |share| share.bytes);
        true
    }

    /// What is remembered, oldest first.
    pub(crate) fn all(&self) -> Vec<Attempted> {
        let kept = self.failures.iter().chain(&self.samples);
        let kept = kept.map(|kept| &kept.attempt);
        let mut all: Vec<_> = kept.chain(&self.successes).cloned().collect();
        all.sort_by_key(|attempt| attempt.at);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Excerpt, Exchange, Request};

    fn at(second: u32) -> Timestamp {
        Timestamp::from_seconds(i64::from(second))
    }

    fn attempt(number: u32, verdict: Verdict, body_bytes: usize) -> Attempted {
        let request = Request {
            method: "POST".into(),
            target: "/".into(),
            headers: Vec::new(),
            body: Excerpt {
                bytes: vec![b'x'; body_bytes].into(),
                whole_bytes: body_bytes,
            },
        };
        Attempted {
            at: at(number),
            event_id: "e".into(),
            published: at(0),
            number,
            first: at(0),
            outcome: Outcome::Busy,
            status: None,
            took: Duration::ZERO,
            verdict,
            replay: None,
            exchange: Some(Arc::new(Exchange {
                request: Some(request),
                answer: None,
                failure: None,
            })),
        }
    }

    fn retry() -> Verdict {
        Verdict::Retry { due: at(99) }
    }

    #[test]
    fn the_last_successes_are_kept_by_their_numbers() {
        let mut recent = Recent::default();
        for number in 1..=100 {
            let id = format!("event {number}");
            let event = (&*id, at(0));
            recent.succeeded(at(number), event, number, Some(200), Duration::ZERO, None);
        }
        let numbers: Vec<u32> = recent.all().iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, (69..=100).collect::<Vec<_>>());
        assert_eq!(recent.all().last().unwrap().event_id, "event 100");
    }

    #[test]
    fn failures_and_successes_do_not_push_each_other_out() {
        let (mut recent, budget) = (Recent::default(), Arc::default());
        recent.push(attempt(1, retry(), 10), &budget);
        for number in 2..=100 {
            recent.push(attempt(number, Verdict::Delivered, 10), &budget);
            recent.succeeded(at(number), ("e", at(0)), number, None, Duration::ZERO, None);
        }
        assert_eq!(recent.all()[0].number, 1);
        assert_eq!(recent.all().len(), 1 + SAMPLES + SUCCESSES);
    }

    #[test]
    fn a_success_that_loses_its_place_among_those_in_full_is_kept_by_its_numbers() {
        let (mut recent, budget) = (Recent::default(), Arc::default());
        for number in 1..=60 {
            recent.push(attempt(number, Verdict::Delivered, 10), &budget);
        }
        let all = recent.all();
        let numbers: Vec<u32> = all.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, (13..=60).collect::<Vec<_>>());
        let whole = all.iter().filter(|attempt| attempt.exchange.is_some());
        assert_eq!(whole.count(), SAMPLES);
        // Later ones by their numbers go on pushing out the oldest, whichever way it came.
        for number in 61..=70 {
            recent.succeeded(at(number), ("e", at(0)), number, None, Duration::ZERO, None);
        }
        assert_eq!(recent.all()[0].number, 23);
        // One that is older than all that are kept has no place among them.
        for number in 71..=100 {
            recent.succeeded(at(number), ("e", at(0)), number, None, Duration::ZERO, None);
        }
        recent.push(attempt(101, Verdict::Delivered, 10), &budget);
        assert_eq!(recent.all()[0].number, 46);
        assert_eq!(recent.all().len(), SAMPLES + SUCCESSES);
        assert_eq!(budget.0.load(Ordering::Relaxed), recent.bytes);
    }

    #[test]
    fn the_oldest_exchange_goes_when_a_lane_has_too_many() {
        let (mut recent, budget) = (Recent::default(), Arc::<Budget>::default());
        for number in 1..=40 {
            recent.push(attempt(number, retry(), 4 << 10), &budget);
        }
        let whole: Vec<bool> = recent
            .all()
            .iter()
            .map(|one| one.exchange.is_some())
            .collect();
        assert_eq!(whole.len(), 40);
        assert!(!whole[0] && whole[39]);
        assert!(whole.is_sorted());
        assert!(recent.bytes <= LANE_BYTES);
        assert_eq!(budget.0.load(Ordering::Relaxed), recent.bytes);
        drop(recent);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn when_all_lanes_together_have_too_many_a_lane_keeps_the_numbers() {
        let budget = Arc::<Budget>::default();
        let taken = budget.take(ALL_BYTES - 1_000).unwrap();
        let mut recent = Recent::default();
        recent.push(attempt(1, retry(), 100), &budget);
        recent.push(attempt(2, retry(), 600), &budget);
        let whole: Vec<bool> = recent
            .all()
            .iter()
            .map(|one| one.exchange.is_some())
            .collect();
        assert_eq!(whole, [false, true]);
        recent.push(attempt(3, retry(), 4_000), &budget);
        assert!(recent.all().iter().all(|one| one.exchange.is_none()));
        drop(taken);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn some_successes_are_taken_in_full_and_few_of_many() {
        let sampler = Sampler::default();
        let now = Timestamp::from_seconds(1_000);
        let taken = (0..100).filter(|_| sampler.takes(now)).count();
        assert_eq!(taken, 16);
        assert!(sampler.takes(now + Duration::from_secs(1)));
        assert!(!sampler.takes(now + Duration::from_secs(1)));
    }
}
