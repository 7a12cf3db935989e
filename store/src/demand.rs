//! How much is being written, and so how many authors should share a sync.
//!
//! Promise: where little is written nobody waits for company; where much is, a sync carries what comes within
//! `GATHER`, so its cost is divided by more.

use std::time::Duration;

use gridpost_model::Timestamp;

use crate::queue::GATHER;

/// Counted over at least this long, so that one busy moment decides nothing.
const WINDOW: Duration = Duration::from_millis(2);
/// More in one batch save nothing worth the wait.
const MOST: usize = 64;

/// Forced writes a second, lately.
#[derive(Debug)]
pub(crate) struct Demand {
    began: Timestamp,
    came: usize,
    per_second: f64,
    /// The most that came at once, slowly forgotten: who writes alone has no company, however fast.
    at_once: usize,
}

impl Demand {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            began: now,
            came: 0,
            per_second: 0.0,
            at_once: 0,
        }
    }

    /// That many came since the last call.
    pub(crate) fn came(&mut self, writes: usize, now: Timestamp) {
        self.came += writes;
        self.at_once = writes.max(self.at_once - self.at_once.div_ceil(8));
        let span = now.since(self.began);
        if span < WINDOW {
            return;
        }
        let lately = self.came as f64 / span.as_secs_f64();
        self.per_second = f64::midpoint(self.per_second, lately);
        (self.began, self.came) = (now, 0);
    }

    /// How many should share the next sync: those that come within `GATHER`.
    pub(crate) fn company(&self) -> usize {
        // A float to an integer saturates, and the rate is never negative.
        let soon = (self.per_second * GATHER.as_secs_f64()) as usize;
        soon.min(self.at_once).clamp(1, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_ticks(micros * 10)
    }

    #[test]
    fn a_lone_author_waits_for_nobody() {
        let mut demand = Demand::new(at(0));
        for turn in 1..100 {
            demand.came(1, at(turn * 1_000));
        }
        assert_eq!(demand.company(), 1);
    }

    #[test]
    fn an_author_who_is_fast_and_alone_waits_for_nobody() {
        let mut demand = Demand::new(at(0));
        for turn in 1..100 {
            demand.came(1, at(turn * 150));
        }
        assert_eq!(demand.company(), 1);
    }

    #[test]
    fn many_authors_share_a_sync() {
        let mut demand = Demand::new(at(0));
        for turn in 1..100 {
            demand.came(10, at(turn * 300));
        }
        assert!((8..=17).contains(&demand.company()), "{}", demand.company());
    }

    #[test]
    fn a_rush_is_soon_forgotten() {
        let mut demand = Demand::new(at(0));
        demand.came(1_000, at(2_000));
        for turn in 1..20 {
            demand.came(0, at(2_000 + turn * 2_000));
        }
        assert_eq!(demand.company(), 1);
    }
}
