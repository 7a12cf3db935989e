//! What the follower is told, what settlements become of, and what is given up.
#![expect(
    clippy::disallowed_methods,
    reason = "a promise about real time is measured with it"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gridpost_model::subscription::LaneId;
use gridpost_model::{Event, EventSchema, Timestamp};
use gridpost_store::{
    Appended, Follower, Position, Progress, ReadLimit, Replayed, Store, StoreError,
};

use crate::support::{EVERYTHING, HERE, Place, event, events, get, publish, put, until, wait};

/// Remembers what it is told, and reports what the test says.
#[derive(Default)]
struct Notes {
    committed: Mutex<Vec<Appended>>,
    progress: Mutex<HashMap<LaneId, Progress>>,
    relieved: Mutex<Option<Position>>,
}

impl Follower for Notes {
    fn committed(&self, events: &[Appended]) {
        self.committed.lock().unwrap().extend_from_slice(events);
    }

    fn progress(&self, report: &mut dyn FnMut(LaneId, Progress)) {
        for (lane, progress) in &*self.progress.lock().unwrap() {
            report(*lane, progress.clone());
        }
    }

    fn relieve(&self, before: Position) {
        *self.relieved.lock().unwrap() = Some(before);
    }
}

fn followed(place: &Place) -> (Store, Arc<Notes>) {
    let (store, _) = place.open();
    let notes = Arc::new(Notes::default());
    store.follow(Arc::clone(&notes) as _);
    (store, notes)
}

fn ids(events: &[Appended]) -> Vec<u64> {
    events
        .iter()
        .map(|appended| appended.event.id.parse().unwrap())
        .collect()
}

#[test]
fn the_follower_hears_of_events_in_order_and_at_the_positions_they_are_read_from() {
    let place = Place::new();
    let (store, notes) = followed(&place);
    for number in 0..5 {
        publish(&store, number).unwrap();
    }
    let committed = notes.committed.lock().unwrap().clone();
    assert_eq!(ids(&committed), [0, 1, 2, 3, 4]);
    let read = store
        .read_events(Position::START, EVERYTHING, &mut |_| true)
        .unwrap();
    for (told, read) in committed.iter().zip(&read.events) {
        assert_eq!((told.position, told.next), (read.position, read.next));
        assert_eq!(
            (&told.lanes, &told.event.json),
            (&read.lanes, &read.event.json)
        );
        assert_eq!(told.event.published, read.event.published);
    }
    assert_eq!(read.next, store.tail());
}

#[test]
fn the_rows_of_a_batch_are_visible_when_the_follower_hears_of_it() {
    struct Looks(Mutex<Option<Store>>, Mutex<Vec<Option<String>>>);
    impl Follower for Looks {
        fn committed(&self, events: &[Appended]) {
            let store = self.0.lock().unwrap().clone().unwrap();
            assert!(events.iter().all(|appended| appended.next <= store.tail()));
            self.1.lock().unwrap().push(get(&store, "a"));
        }
        fn progress(&self, _report: &mut dyn FnMut(LaneId, Progress)) {}
        fn relieve(&self, _before: Position) {}
    }
    let place = Place::new();
    let (store, _) = place.open();
    let looks = Arc::new(Looks(Mutex::new(Some(store.clone())), Mutex::default()));
    store.follow(Arc::clone(&looks) as _);
    wait(store.write(HERE, |txn| {
        txn.put(&crate::support::ROWS, "a", &"1".to_owned())?;
        txn.append(event(1, 20), &[]);
        Ok::<_, StoreError>(())
    }))
    .unwrap();
    assert_eq!(*looks.1.lock().unwrap(), [Some("1".to_owned())]);
    wait(store.close());
    looks.0.lock().unwrap().take();
}

#[test]
fn reading_goes_on_where_it_stopped_and_keeps_what_is_wanted() {
    let place = Place::new();
    let (store, _) = place.open();
    for number in 0..20 {
        wait(store.write(HERE, move |txn| {
            txn.append(event(2 * number, 50), &[LaneId(1)]);
            txn.append(event(2 * number + 1, 50), &[LaneId(1), LaneId(2)]);
            Ok::<_, StoreError>(())
        }))
        .unwrap();
    }
    for limit in [
        ReadLimit {
            events: 3,
            ..EVERYTHING
        },
        ReadLimit {
            kept_bytes: 700,
            ..EVERYTHING
        },
        ReadLimit {
            scanned_bytes: 500,
            ..EVERYTHING
        },
    ] {
        let (mut from, mut found, mut reads) = (Position::START, Vec::new(), 0);
        loop {
            let mut wanted = |lanes: &[LaneId]| lanes.contains(&LaneId(2));
            let read = store.read_events(from, limit, &mut wanted).unwrap();
            found.extend(ids(&read.events));
            from = read.next;
            reads += 1;
            if read.at_tail {
                break;
            }
        }
        assert_eq!(
            found,
            (0..20).map(|n| 2 * n + 1).collect::<Vec<_>>(),
            "{limit:?}"
        );
        assert!(3 < reads, "{limit:?}");
    }
}

#[test]
fn a_read_may_begin_at_any_event() {
    let place = Place::new();
    let (store, notes) = followed(&place);
    for number in 0..10 {
        wait(store.write(HERE, move |txn| {
            (0..3).for_each(|n| txn.append(event(number * 3 + n, 20), &[]));
            Ok::<_, StoreError>(())
        }))
        .unwrap();
    }
    drop(store);
    let (store, _) = place.open();
    for appended in &*notes.committed.lock().unwrap() {
        let limit = ReadLimit {
            events: 1,
            ..EVERYTHING
        };
        let read = store
            .read_events(appended.position, limit, &mut |_| true)
            .unwrap();
        assert_eq!(ids(&read.events), ids(std::slice::from_ref(appended)));
    }
}

#[test]
fn events_of_every_schema_are_read_back_as_they_were_appended() {
    let place = Place::new();
    let (store, notes) = followed(&place);
    let mut custom = Event::clone(&event(1, 20));
    custom.schema = EventSchema::Custom;
    let json =
        r#"{"id": "2","source":"/s","type":"T","specversion":"1.0","subject":"x","own":1.50}"#;
    let cloud = Event::cloud_event(json.into(), Timestamp::from_seconds(7)).unwrap();
    let appended = [Event::clone(&event(3, 20)), custom, cloud];
    let mine = appended.clone();
    wait(store.write(HERE, move |txn| {
        mine.into_iter()
            .for_each(|one| txn.append(Arc::new(one), &[]));
        Ok::<_, StoreError>(())
    }))
    .unwrap();
    drop(store);
    let (store, _) = place.open();
    let first = notes.committed.lock().unwrap()[0].position;
    let read = store.read_events(first, EVERYTHING, &mut |_| true).unwrap();
    let found: Vec<String> = read
        .events
        .iter()
        .map(|one| format!("{:?}", one.event))
        .collect();
    assert_eq!(found, appended.map(|one| format!("{one:?}")));
}

#[test]
fn a_settlement_is_in_the_file_within_ten_milliseconds_without_a_sync() {
    let place = Place::new();
    let (store, _) = place.open();
    publish(&store, 1).unwrap();
    let syncs = store.status().syncs;
    // The best of a few: the machine may be busy with something else, the promise is about us.
    let best = (0..10)
        .map(|number| {
            let (tail, start) = (store.tail(), Instant::now());
            store.settle(LaneId(1), Position(number));
            until("the settlement is written", || tail < store.tail());
            start.elapsed()
        })
        .min();
    assert!(best < Some(Duration::from_millis(10)), "{best:?}");
    assert_eq!(store.status().syncs, syncs);
}

#[test]
fn events_and_settlements_are_replayed_after_a_kill() {
    let place = Place::new();
    let (store, notes) = followed(&place);
    publish(&store, 1).unwrap();
    let first = notes.committed.lock().unwrap()[0].position;
    store.settle(LaneId(1), first);
    let tail = store.tail();
    until("the settlement is written", || tail < store.tail());
    publish(&store, 2).unwrap();
    drop(store);

    let (store, recovery) = place.open();
    assert_eq!((recovery.events, recovery.batches), (2, 3));
    let mut told = Vec::new();
    store
        .replay(&mut |step| {
            told.push(match step {
                Replayed::Event(appended) => format!("event {}", appended.event.id),
                Replayed::Settled { lane, position } => {
                    assert_eq!((lane, position), (LaneId(1), first));
                    "settled".to_owned()
                }
            });
        })
        .unwrap();
    assert_eq!(told, ["event 1", "settled", "event 2"]);
}

#[test]
fn progress_is_kept_by_checkpoints_and_replay_begins_there() {
    let place = Place::new();
    let (store, notes) = followed(&place);
    publish(&store, 1).unwrap();
    let progress = Progress {
        floor: Position(77),
        settled: vec![Position(99)],
    };
    notes
        .progress
        .lock()
        .unwrap()
        .insert(LaneId(3), progress.clone());
    wait(store.close());
    let tail = store.tail();
    drop(store);

    let (store, recovery) = place.open();
    assert_eq!(
        (recovery.checkpoint, recovery.tail, recovery.events),
        (tail, tail, 0)
    );
    assert_eq!(recovery.progress, HashMap::from([(LaneId(3), progress)]));
    // Without a follower nobody knows better, so it stays.
    put(&store, "a", "1").unwrap();
    wait(store.close());
    drop(store);
    assert_eq!(place.open().1.progress.len(), 1);
}

/// Several small segments: every opening that writes begins one.
fn many_segments(place: &Place) {
    for number in 0..5 {
        let (store, _) = place.open();
        publish(&store, number).unwrap();
        place.clock.turn(Duration::from_hours(1));
    }
}

fn checkpoint(place: &Place, store: &Store) {
    put(store, "a", "1").unwrap();
    place.clock.turn(Duration::from_secs(31));
    put(store, "a", "1").unwrap();
    until("the checkpoint is made", || {
        store.status().checkpoint_age == Duration::ZERO
    });
}

#[test]
fn settled_segments_go_once_they_are_old() {
    let place = Place::new();
    many_segments(&place);
    let (store, notes) = followed(&place);
    let read = store
        .read_events(Position::START, EVERYTHING, &mut |_| true)
        .unwrap();
    let third = read.events[2].position;
    notes.progress.lock().unwrap().insert(
        LaneId(1),
        Progress {
            floor: third,
            settled: vec![],
        },
    );
    checkpoint(&place, &store);
    assert_eq!(events(&store), [0, 1, 2, 3, 4]);

    place.clock.turn(Duration::from_hours(48));
    checkpoint(&place, &store);
    until("the old segments are gone", || {
        store.oldest() <= third && 1 < store.oldest().0 >> 26
    });
    assert_eq!(events(&store), [2, 3, 4]);
    until("the files are gone", || place.segments().len() == 4);
    drop(store);
    assert_eq!(events(&place.open().0), [2, 3, 4]);
}

#[test]
fn a_store_without_a_follower_gives_nothing_up() {
    let place = Place::new();
    many_segments(&place);
    let (store, _) = place.open();
    place.clock.turn(Duration::from_hours(48));
    checkpoint(&place, &store);
    assert_eq!(events(&store), [0, 1, 2, 3, 4]);
}

#[test]
fn a_journal_that_grew_too_large_asks_for_relief() {
    let place = Place::new();
    let mut options = place.options();
    options.relieve_bytes = 100;
    let (store, _) = Store::open(options).unwrap();
    let notes = Arc::new(Notes::default());
    store.follow(Arc::clone(&notes) as _);
    publish(&store, 1).unwrap();
    checkpoint(&place, &store);
    let before = notes.relieved.lock().unwrap().unwrap();
    assert!(Position::START < before && before < store.tail());
}
