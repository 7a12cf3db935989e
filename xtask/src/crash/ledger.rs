//! The external ledger: what was acknowledged, and what arrived when.
//!
//! Promise: an entry is made only after the acknowledgement was read to its end, so the ledger never claims too much.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

/// Everything that happened, as seen from outside the server.
#[derive(Default)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// Acknowledged events and the lanes that must hear of each.
    owed: HashMap<String, &'static [&'static str]>,
    /// How many kills had happened when a lane took an event, for each time it did.
    taken: HashMap<(&'static str, String), Vec<u64>>,
    kills: u64,
}

/// What the ledger says in the end.
#[derive(Debug, Default)]
pub(crate) struct Score {
    /// Events acknowledged.
    pub(crate) acknowledged: u64,
    /// Deliveries they have to cause.
    pub(crate) owed: u64,
    /// Deliveries owed that happened.
    pub(crate) delivered: u64,
    /// Deliveries owed that ended as dead letters.
    pub(crate) dead_lettered: u64,
    /// Neither.
    pub(crate) missing: Vec<(String, String)>,
    /// Further deliveries of one event to one lane with a kill before them.
    pub(crate) repeated_after_kill: u64,
    /// Further deliveries without one.
    pub(crate) repeated_without_kill: Vec<(String, String)>,
}

impl Ledger {
    /// An event was acknowledged; these lanes must hear of it.
    pub(crate) fn acknowledge(&self, id: String, lanes: &'static [&'static str]) {
        self.book().owed.insert(id, lanes);
    }

    /// A lane took an event and was told so.
    pub(crate) fn take(&self, lane: &'static str, id: &str) {
        let mut book = self.book();
        let kills = book.kills;
        book.taken
            .entry((lane, id.to_owned()))
            .or_default()
            .push(kills);
    }

    /// The server was killed.
    pub(crate) fn killed(&self) {
        self.book().kills += 1;
    }

    /// How many events were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.book().owed.len()
    }

    /// Compares what was owed with what arrived and what the server keeps as dead letters (lane and event).
    pub(crate) fn score(&self, dead: &HashSet<(String, String)>) -> Score {
        let book = self.book();
        let mut score = Score {
            acknowledged: book.owed.len() as u64,
            ..Score::default()
        };
        for (id, lanes) in &book.owed {
            for lane in *lanes {
                score.owed += 1;
                if book.taken.contains_key(&(*lane, id.clone())) {
                    score.delivered += 1;
                } else if dead.contains(&((*lane).to_owned(), id.clone())) {
                    score.dead_lettered += 1;
                } else {
                    score.missing.push(((*lane).to_owned(), id.clone()));
                }
            }
        }
        for ((lane, id), times) in &book.taken {
            for pair in times.windows(2) {
                if pair[0] < pair[1] {
                    score.repeated_after_kill += 1;
                } else {
                    score
                        .repeated_without_kill
                        .push(((*lane).to_owned(), id.clone()));
                }
            }
        }
        score
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book
            .lock()
            .expect("nobody panics while holding the ledger")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledged_event_is_owed_to_every_lane() {
        let ledger = Ledger::default();
        ledger.acknowledge("1".to_owned(), &["steady", "moody"]);
        ledger.take("steady", "1");
        let score = ledger.score(&HashSet::new());
        assert_eq!((score.acknowledged, score.owed, score.delivered), (1, 2, 1));
        assert_eq!(score.missing, [("moody".to_owned(), "1".to_owned())]);
        let dead = HashSet::from([("moody".to_owned(), "1".to_owned())]);
        assert!(ledger.score(&dead).missing.is_empty());
    }

    #[test]
    fn a_repeat_is_told_apart_by_the_kill_before_it() {
        let ledger = Ledger::default();
        ledger.take("steady", "1");
        ledger.killed();
        ledger.take("steady", "1");
        assert_eq!(ledger.score(&HashSet::new()).repeated_after_kill, 1);
        ledger.take("steady", "1");
        assert_eq!(ledger.score(&HashSet::new()).repeated_without_kill.len(), 1);
    }

    #[test]
    fn what_was_never_acknowledged_is_not_owed() {
        let ledger = Ledger::default();
        ledger.take("steady", "1");
        let score = ledger.score(&HashSet::new());
        assert_eq!((score.owed, score.delivered), (0, 0));
    }
}
