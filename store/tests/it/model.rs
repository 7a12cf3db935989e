//! Random lives of a store, compared with a small model after every step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use gridpost_model::subscription::LaneId;
use gridpost_store::{FileKind, Operation, Position, Scan, Store, StoreError};
use proptest::prelude::*;

use crate::support::{BadDisk, HERE, Place, ROWS, broken, event, events, full, wait};

#[derive(Clone, Debug)]
enum Step {
    /// Changes rows (`None` removes) and appends an event, in one transaction, synced or not.
    Write {
        rows: Vec<(u8, Option<u8>)>,
        publish: bool,
        soon: bool,
    },
    /// The same, but the closure says no.
    Refuse {
        key: u8,
    },
    Settle,
    /// Half a minute passes, so that the next write makes a checkpoint.
    Pass,
    /// The next operation of this kind fails once.
    Break(Weakness),
    Kill,
    Close,
}

#[derive(Clone, Copy, Debug)]
enum Weakness {
    Write = 1,
    Sync = 2,
}

fn step() -> impl Strategy<Value = Step> {
    let row = (0_u8..12, proptest::option::weighted(0.7, any::<u8>()));
    let rows = proptest::collection::vec(row, 0..4);
    prop_oneof![
        10 => (rows, any::<bool>(), any::<bool>())
            .prop_map(|(rows, publish, soon)| Step::Write { rows, publish, soon }),
        1 => (0_u8..12).prop_map(|key| Step::Refuse { key }),
        2 => Just(Step::Settle),
        2 => Just(Step::Pass),
        1 => Just(Step::Break(Weakness::Write)),
        1 => Just(Step::Break(Weakness::Sync)),
        2 => Just(Step::Kill),
        1 => Just(Step::Close),
    ]
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Contents {
    rows: BTreeMap<u8, u8>,
    events: Vec<u64>,
}

/// A store and what it should hold.
struct Life {
    place: Place,
    store: Option<Store>,
    weakness: Arc<AtomicU8>,
    sure: Contents,
    /// With the changes of writes that failed since the last one that did not: the author knows that they may be on
    /// the disk, and only a crash right now can bring them back.
    perhaps: Vec<Contents>,
    published: u64,
}

impl Life {
    fn begin() -> Self {
        let mut life = Self {
            place: Place::new(),
            store: None,
            weakness: Arc::default(),
            sure: Contents::default(),
            perhaps: Vec::new(),
            published: 0,
        };
        life.open();
        life
    }

    fn open(&mut self) {
        let weakness = Arc::clone(&self.weakness);
        weakness.store(0, Ordering::SeqCst);
        let mut options = self.place.options();
        options.faults = Some(Arc::new(BadDisk(move |file, operation| {
            let (FileKind::Segment(_), kind) = (file, operation) else {
                return None;
            };
            let (weak, fault) = match kind {
                Operation::Write { size_bytes } => (Weakness::Write, full(size_bytes / 2)),
                Operation::Sync => (Weakness::Sync, broken()),
                Operation::Create => return None,
            };
            let struck = weakness
                .compare_exchange(weak as u8, 0, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok();
            struck.then_some(fault)
        })));
        let (store, _) = Store::open(options).unwrap();
        let found = contents(&store);
        assert!(
            found == self.sure || self.perhaps.contains(&found),
            "{found:?}\nis neither {:?}\nnor one of {:?}",
            self.sure,
            self.perhaps
        );
        self.sure = found;
        self.perhaps.clear();
        self.store = Some(store);
    }

    fn live(&mut self, step: &Step) {
        let store = self.store.clone().unwrap();
        match step {
            Step::Write {
                rows,
                publish,
                soon,
            } => self.write(&store, rows, *publish, *soon),
            Step::Refuse { key } => {
                let key = *key;
                let refused = wait(store.write(HERE, move |txn| {
                    txn.put(&ROWS, u64::from(key), &"refused".to_owned())?;
                    txn.append(event(1 << 40, 10), &[]);
                    Err::<(), _>(StoreError::Busy)
                }));
                assert!(refused.is_err());
            }
            Step::Settle => store.settle(LaneId(1), Position(self.published)),
            Step::Pass => self.place.clock.turn(Duration::from_secs(31)),
            Step::Break(weakness) => self.weakness.store(*weakness as u8, Ordering::SeqCst),
            Step::Kill => {
                self.store = None;
                drop(store);
                return self.open();
            }
            Step::Close => {
                self.weakness.store(0, Ordering::SeqCst);
                wait(store.close());
                self.store = None;
                drop(store);
                return self.open();
            }
        }
        assert_eq!(contents(&store), self.sure);
    }

    fn write(&mut self, store: &Store, rows: &[(u8, Option<u8>)], publish: bool, soon: bool) {
        let mut after = self.sure.clone();
        for (key, row) in rows {
            match row {
                Some(row) => drop(after.rows.insert(*key, *row)),
                None => drop(after.rows.remove(key)),
            }
        }
        if publish {
            after.events.push(self.published);
        }
        let empty = rows.is_empty() && !publish;
        let (rows, number) = (rows.to_vec(), self.published);
        self.published += 1;
        let change = move |txn: &mut gridpost_store::Txn<'_>| {
            for (key, row) in rows {
                match row {
                    Some(row) => txn.put(&ROWS, u64::from(key), &row.to_string())?,
                    None => txn.remove(&ROWS, u64::from(key))?,
                }
            }
            if publish {
                txn.append(event(number, 10), &[LaneId(1)]);
            }
            Ok::<_, StoreError>(())
        };
        let written = match soon {
            true => wait(store.write_soon(HERE, change)),
            false => wait(store.write(HERE, change)),
        };
        if written.is_ok() {
            // A write without changes says nothing about the disk.
            if !empty {
                self.perhaps.clear();
            }
            self.sure = after;
        } else {
            self.perhaps.push(after);
        }
    }
}

fn contents(store: &Store) -> Contents {
    let rows = store.snapshot().scan(&ROWS, HERE, Scan::all()).unwrap();
    let number = |key: &[u8]| u8::try_from(u64::from_be_bytes(key.try_into().unwrap())).unwrap();
    let rows = rows
        .iter()
        .map(|(key, row)| (number(key), row.parse().unwrap()))
        .collect();
    Contents {
        rows,
        events: events(store),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_store_holds_what_it_acknowledged_whatever_happens(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut life = Life::begin();
        for step in &steps {
            life.live(step);
        }
        life.live(&Step::Kill);
    }
}
