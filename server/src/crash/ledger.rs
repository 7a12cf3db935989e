//! What was acknowledged, what arrived, and in which life of the server.

use std::collections::{HashMap, HashSet};

use http::Method;
use parking_lot::Mutex;
use serde_json::Value;

use super::Report;
use super::talk::{ChatReport, Talk};
use crate::client::Client;

/// How many lost names a report shows.
pub(super) const EXAMPLES: usize = 20;

/// The ledger. It lives outside the server and so survives all its deaths.
#[derive(Default)]
pub(super) struct Ledger {
    book: Mutex<Book>,
    /// What is about chat.
    pub(super) talk: Talk,
}

#[derive(Default)]
struct Book {
    life: u32,
    acknowledged: HashSet<String>,
    /// In which lives a name arrived, each arrival once.
    arrived: HashMap<String, Vec<u32>>,
    dead: HashSet<String>,
    /// Names whose first attempt was failed on purpose.
    failed_once: HashSet<String>,
}

impl Ledger {
    /// The server was killed: what arrives over new connections was sent by its next life.
    pub(super) fn next_life(&self) {
        self.book.lock().life += 1;
    }

    /// The number of the present life.
    pub(super) fn life(&self) -> u32 {
        self.book.lock().life
    }

    /// A publisher was told that this is kept.
    pub(super) fn acknowledge(&self, name: String) {
        self.book.lock().acknowledged.insert(name);
    }

    /// How many were.
    pub(super) fn acknowledged(&self) -> usize {
        self.book.lock().acknowledged.len()
    }

    /// An event arrived, sent in that life.
    pub(super) fn arrive(&self, name: String, life: u32) {
        self.book.lock().arrived.entry(name).or_default().push(life);
    }

    /// Whether this is the first time that this name is asked about.
    pub(super) fn is_first_attempt(&self, name: &str) -> bool {
        self.book.lock().failed_once.insert(name.to_owned())
    }

    /// What was acknowledged and is nowhere yet.
    pub(super) fn missing(&self) -> Vec<String> {
        let book = self.book.lock();
        book.acknowledged
            .iter()
            .filter(|name| !book.is_somewhere(name))
            .cloned()
            .collect()
    }

    /// Takes in the server's dead letters.
    pub(super) async fn note_dead_letters(&self, client: &Client) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let path = format!("dead-letters?limit=1000{after}");
            let listed = client
                .own(Method::GET, &path, None)
                .await
                .map_err(|failure| failure.error)?;
            let letters = listed["value"].as_array().map_or(&[][..], Vec::as_slice);
            self.book
                .lock()
                .dead
                .extend(letters.iter().map(|letter| name_of(&letter["event"])));
            match listed["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(()),
            }
        }
    }

    /// Adds everything up.
    pub(super) fn report(
        &self,
        seed: u64,
        kills: u32,
        kills_while_starting: u32,
        seconds: f64,
        chat: ChatReport,
    ) -> Report {
        let lost = self.missing();
        let book = self.book.lock();
        let of_acknowledged =
            |is: &dyn Fn(&String) -> bool| book.acknowledged.iter().filter(|name| is(name)).count();
        let delivered = of_acknowledged(&|name| book.arrived.contains_key(name));
        Report {
            seed,
            kills,
            kills_while_starting,
            acknowledged: book.acknowledged.len(),
            delivered,
            dead_lettered: book.acknowledged.len() - delivered - lost.len(),
            lost: lost.len(),
            lost_examples: lost.into_iter().take(EXAMPLES).collect(),
            unacknowledged_delivered: book
                .arrived
                .keys()
                .filter(|name| !book.acknowledged.contains(*name))
                .count(),
            duplicates: book.arrived.values().map(|lives| lives.len() - 1).sum(),
            duplicates_without_kill: book.arrived.values().map(|lives| repeated(lives)).sum(),
            chat,
            seconds,
        }
    }
}

impl Book {
    fn is_somewhere(&self, name: &str) -> bool {
        self.arrived.contains_key(name) || self.dead.contains(name)
    }
}

/// How many arrivals came in a life that had seen one already.
pub(super) fn repeated(lives: &[u32]) -> usize {
    let different: HashSet<&u32> = lives.iter().collect();
    lives.len() - different.len()
}

/// The name the test gave to an event: the id of a published one, the message of a text.
pub(super) fn name_of(event: &Value) -> String {
    let text = event["data"]["message"]
        .as_str()
        .or_else(|| event["id"].as_str());
    text.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_twice_in_one_life_is_told_from_what_a_kill_repeats() {
        let ledger = Ledger::default();
        for name in ["a", "b", "c", "d"] {
            ledger.acknowledge(name.to_owned());
        }
        ledger.arrive("a".to_owned(), 0);
        ledger.arrive("a".to_owned(), 1);
        ledger.arrive("b".to_owned(), 1);
        ledger.arrive("b".to_owned(), 1);
        ledger.book.lock().dead.insert("c".to_owned());
        let report = ledger.report(1, 1, 0, 0.0, ChatReport::default());
        assert_eq!(
            (report.acknowledged, report.delivered, report.dead_lettered),
            (4, 2, 1)
        );
        assert_eq!((report.duplicates, report.duplicates_without_kill), (2, 1));
        assert_eq!(report.lost_examples, ["d"]);
        assert!(!report.is_clean());
    }
}
