//! One delivery of an event, sought among those that wait and those that were given up.
//!
//! Promise: never more rows than the bound are looked at; when it was hit, that is said.

use std::time::Duration;

use gridpost_model::subscription::EventSubscription;
use gridpost_model::{Event, Timestamp};
use gridpost_store::{Partition, Scan, Snapshot, StoreError, Table};
use serde::de::DeserializeOwned;

use super::Fate;
use crate::dead_letter::DEAD_LETTERS;
use crate::kept::KeptEvent;
use crate::replay::ReplayId;
use crate::waiting::{Tried, WAITING, WaitingKey};

/// How many rows of a lane are looked through in each table: a second or two. How many at once, in numbers and bytes.
pub(super) const ROWS: usize = 100_000;
const PAGE: usize = 1_000;
const PAGE_BYTES: usize = 4 << 20;

/// Dead letters are looked at from the newest. Those given up this long before an event was published are taken to
/// be older than it: the numbers and the times of a lane's letters may stand in another order by moments.
const SLACK: Duration = Duration::from_secs(60);

/// Where the deliveries of an event to one subscription may stand outside the journal.
pub(super) struct Rows<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) subscription: &'a EventSubscription,
    pub(super) is_it: &'a dyn Fn(&Event) -> bool,
    /// It was not given up before then.
    pub(super) since: Timestamp,
    /// How many rows of each table are looked at.
    pub(super) most: usize,
}

/// What came of looking for a delivery in a table.
pub(super) enum Sought {
    Found(Box<Row>),
    Nowhere,
    /// The bound was hit before.
    TooMany,
}

/// A delivery that stands in a table.
pub(super) struct Row {
    pub(super) event: Event,
    pub(super) fate: Fate,
    pub(super) tried: Vec<Tried>,
    pub(super) replay: Option<ReplayId>,
}

impl Rows<'_> {
    /// Looks for the delivery among those that wait, then among the dead letters.
    pub(super) fn find(&self) -> Result<Sought, StoreError> {
        let waiting = self.waiting()?;
        if let Sought::Found(_) = waiting {
            return Ok(waiting);
        }
        let dead = self.dead_letter()?;
        Ok(match (&waiting, &dead) {
            (Sought::TooMany, Sought::Nowhere) => Sought::TooMany,
            _ => dead,
        })
    }

    fn waiting(&self) -> Result<Sought, StoreError> {
        let scan = Scan::prefix(self.subscription.lane);
        self.find_in(&WAITING, scan, |key, row| {
            let (history, event) = (row.history, KeptEvent::into_event(row.event));
            Some(Row {
                fate: Fate::Waiting {
                    due: WaitingKey::parse(key).map_or(event.published, |key| key.due),
                    attempts: history.attempts,
                    last: history.last.map(|last| last.outcome),
                    replay: history.replay,
                },
                event,
                tried: history.tried,
                replay: history.replay,
            })
        })
    }

    /// The newest first: most people ask about what has just happened, and behind the event's own time there is none.
    fn dead_letter(&self) -> Result<Sought, StoreError> {
        let scan = Scan::prefix(self.subscription.lane).reverse();
        self.find_in(&DEAD_LETTERS, scan, |_, row| {
            if row.at + SLACK < self.since {
                return None;
            }
            Some(Row {
                event: row.event.into_event(),
                fate: Fate::DeadLettered {
                    reason: row.reason,
                    at: row.at,
                    replay: row.replay,
                },
                tried: row.tried,
                replay: row.replay,
            })
        })
    }

    /// Looks for the event in the lane's rows of a table, page by page in the order of the scan, until a row says that it
    /// and all behind it are older than the event.
    fn find_in<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        mut scan: Scan,
        look: impl Fn(&[u8], V) -> Option<Row>,
    ) -> Result<Sought, StoreError> {
        let partition = Partition::of(&self.subscription.source);
        let mut seen = 0;
        while seen < self.most {
            scan = scan.limit(PAGE.min(self.most - seen)).bytes(PAGE_BYTES);
            let Some(rows) = self.snapshot.next_page(table, partition, &mut scan)? else {
                return Ok(Sought::Nowhere);
            };
            seen += rows.len();
            for (key, row) in rows {
                match look(&key, row) {
                    None => return Ok(Sought::Nowhere),
                    Some(row) if (self.is_it)(&row.event) => {
                        return Ok(Sought::Found(Box::new(row)));
                    }
                    Some(_) => (),
                }
            }
        }
        Ok(Sought::TooMany)
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::Filter;

    use super::*;
    use crate::testing;

    fn minute(number: u32) -> Timestamp {
        Timestamp::from_seconds(i64::from(number) * 60)
    }

    #[tokio::test]
    async fn dead_letters_are_sought_from_the_newest_and_a_bound_that_was_hit_is_told() {
        let (_folder, store) = testing::store();
        testing::bury(&store, 1, 0..10).await;
        let (snapshot, subscription) = (
            store.snapshot(),
            testing::subscription(1, Filter::default()),
        );
        let sought = |number: u32, since: u32, most: usize| {
            let id = format!("e{number}");
            let rows = Rows {
                snapshot: &snapshot,
                subscription: &subscription,
                is_it: &|event| *event.id == *id,
                since: minute(since),
                most,
            };
            match rows.find().unwrap() {
                Sought::Found(row) => {
                    assert!(matches!(row.fate, Fate::DeadLettered { .. }));
                    "found"
                }
                Sought::Nowhere => "nowhere",
                Sought::TooMany => "too many",
            }
        };
        assert_eq!(sought(9, 9, 1), "found");
        assert_eq!(sought(0, 0, 20), "found");
        assert_eq!(sought(5, 5, 4), "too many");
        assert_eq!(sought(77, 0, 20), "nowhere");
        // What was given up before the event was published is not read.
        assert_eq!(sought(77, 8, 4), "nowhere");
        store.close().await;
    }
}
