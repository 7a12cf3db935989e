//! A disk that is full, or breaks.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gridpost_store::{FileKind, Health, Operation, Store, StoreError};

use crate::support::{
    BadDisk, Bystander, Place, broken, events, full, get, publish, put, until, wait,
};

/// A store on a disk that refuses a kind of operation on segments while the switch is on.
fn store_on(place: &Place, refuses: fn(Operation) -> bool) -> (Store, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let on = Arc::clone(&switch);
    let mut options = place.options();
    options.faults = Some(Arc::new(BadDisk(move |file, operation| {
        let struck = matches!(file, FileKind::Segment(_)) && refuses(operation);
        (struck && on.load(Ordering::SeqCst)).then(|| full(30))
    })));
    let (store, _) = Store::open(options).unwrap();
    (store, switch)
}

fn is_write(operation: Operation) -> bool {
    matches!(operation, Operation::Write { .. })
}

fn serves_again_after_a_full_disk(refuses: fn(Operation) -> bool) {
    let place = Place::new();
    let (store, full) = store_on(&place, refuses);
    publish(&store, 1).unwrap();
    put(&store, "a", "1").unwrap();

    full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(matches!(publish(&store, 2), Err(StoreError::NoSpace)));
        assert!(matches!(put(&store, "a", "2"), Err(StoreError::NoSpace)));
    }
    assert_eq!(store.status().health, Health::NoSpace);
    assert_eq!(
        (events(&store), get(&store, "a").as_deref()),
        (vec![1], Some("1"))
    );

    full.store(false, Ordering::SeqCst);
    publish(&store, 3).unwrap();
    assert_eq!(store.status().health, Health::Healthy);
    assert_eq!(events(&store), [1, 3]);

    drop(store);
    let (store, recovery) = place.open();
    assert_eq!(
        (events(&store), get(&store, "a").as_deref()),
        (vec![1, 3], Some("1"))
    );
    assert_eq!(recovery.discarded_bytes, 0);
}

#[test]
fn when_writes_find_the_disk_full_publishers_are_told_and_served_again_later() {
    serves_again_after_a_full_disk(is_write);
}

#[test]
fn when_syncs_find_the_disk_full_publishers_are_told_and_served_again_later() {
    serves_again_after_a_full_disk(|operation| operation == Operation::Sync);
}

#[test]
fn when_files_cannot_be_made_publishers_are_told_and_served_again_later() {
    serves_again_after_a_full_disk(|operation| {
        operation == Operation::Create || is_write(operation)
    });
}

#[test]
fn a_store_killed_while_the_disk_is_full_keeps_what_was_acknowledged() {
    let place = Place::new();
    let (store, full) = store_on(&place, is_write);
    publish(&store, 1).unwrap();
    full.store(true, Ordering::SeqCst);
    assert!(publish(&store, 2).is_err());
    drop(store);
    let (store, _) = place.open();
    assert_eq!(events(&store), [1]);
}

#[test]
fn a_file_whose_sync_failed_is_never_synced_again() {
    let place = Place::new();
    let failed = Arc::new(AtomicU64::new(u64::MAX));
    let synced = Arc::new(Mutex::new(Vec::new()));
    let strike_next = Arc::new(AtomicBool::new(false));
    let mut options = place.options();
    options.faults = Some(Arc::new(BadDisk({
        let (failed, synced) = (Arc::clone(&failed), Arc::clone(&synced));
        let strike_next = Arc::clone(&strike_next);
        move |file, operation| {
            let (FileKind::Segment(number), Operation::Sync) = (file, operation) else {
                return None;
            };
            synced.lock().unwrap().push(number);
            strike_next.swap(false, Ordering::SeqCst).then(|| {
                failed.store(number, Ordering::SeqCst);
                broken()
            })
        }
    })));
    let (store, _) = Store::open(options).unwrap();
    for round in 0..3 {
        publish(&store, 2 * round).unwrap();
        strike_next.store(true, Ordering::SeqCst);
        assert!(matches!(publish(&store, 1000), Err(StoreError::Failed(_))));
        synced.lock().unwrap().clear();
        assert!(matches!(store.status().health, Health::Failed(_)));
        publish(&store, 2 * round + 1).unwrap();
        wait(store.write(crate::support::HERE, |_| Ok::<_, StoreError>(()))).unwrap();
        let failed = failed.load(Ordering::SeqCst);
        assert!(
            synced
                .lock()
                .unwrap()
                .iter()
                .all(|number| *number != failed)
        );
    }
    assert_eq!(events(&store), [0, 1, 2, 3, 4, 5]);
    wait(store.close());
    drop(store);
    assert_eq!(events(&place.open().0), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn full_tables_wait_for_space_while_publishers_go_on() {
    let place = Place::new();
    let full_tables = Arc::new(AtomicBool::new(false));
    let on = Arc::clone(&full_tables);
    let mut options = place.options();
    options.faults = Some(Arc::new(BadDisk(move |file, operation| {
        let struck = file == FileKind::Tables && operation != Operation::Sync;
        (struck && on.load(Ordering::SeqCst)).then(|| full(0))
    })));
    let (store, _) = Store::open(options).unwrap();
    store.follow(Arc::new(Bystander));
    put(&store, "a", "1").unwrap();
    full_tables.store(true, Ordering::SeqCst);
    place.clock.turn(Duration::from_secs(31));
    publish(&store, 1).unwrap();
    until("the tables wait", || store.status().tables_wait_for_space);
    put(&store, "a", "2").unwrap();
    publish(&store, 2).unwrap();
    assert_eq!(store.status().checkpoint_age, Duration::from_secs(31));

    full_tables.store(false, Ordering::SeqCst);
    until("the checkpoint is made", || {
        store.status().checkpoint_age == Duration::ZERO
    });
    assert_eq!(
        (get(&store, "a").as_deref(), events(&store)),
        (Some("2"), vec![1, 2])
    );
    drop(store);
    let (store, recovery) = place.open();
    assert!(recovery.batches < 4, "{recovery:?}");
    assert_eq!(
        (get(&store, "a").as_deref(), events(&store)),
        (Some("2"), vec![1, 2])
    );
}

#[test]
fn tables_that_break_stop_the_store_and_lose_nothing() {
    let place = Place::new();
    let on = Arc::new(AtomicBool::new(false));
    let mut options = place.options();
    options.faults = Some(Arc::new(BadDisk({
        let on = Arc::clone(&on);
        move |file, _| (file == FileKind::Tables && on.load(Ordering::SeqCst)).then(broken)
    })));
    let (store, _) = Store::open(options).unwrap();
    put(&store, "a", "1").unwrap();
    publish(&store, 1).unwrap();
    on.store(true, Ordering::SeqCst);
    put(&store, "a", "2").unwrap();
    place.clock.turn(Duration::from_secs(31));
    until("the store has failed", || {
        // The writer looks at the clock when it has something to write.
        let _ = put(&store, "b", "1");
        matches!(store.status().health, Health::Failed(_))
    });
    assert!(matches!(put(&store, "a", "3"), Err(StoreError::Failed(_))));
    wait(store.close());
    drop(store);
    let (store, _) = place.open();
    assert_eq!(
        (get(&store, "a").as_deref(), events(&store)),
        (Some("2"), vec![1])
    );
}

#[test]
fn a_store_that_nobody_writes_to_finds_that_there_is_space_again() {
    let place = Place::new();
    let (store, full) = store_on(&place, |operation| {
        is_write(operation) || operation == Operation::Create
    });
    publish(&store, 1).unwrap();
    full.store(true, Ordering::SeqCst);
    assert!(matches!(publish(&store, 2), Err(StoreError::NoSpace)));
    assert_eq!(store.status().health, Health::NoSpace);
    full.store(false, Ordering::SeqCst);
    until("the store is well", || {
        store.status().health == Health::Healthy
    });
    publish(&store, 3).unwrap();
    assert_eq!(events(&store), [1, 3]);
    drop(store);
    let (store, recovery) = place.open();
    assert_eq!(events(&store), [1, 3]);
    assert_eq!(recovery.discarded_bytes, 0);
}
