//! What one write may do, and what is left of one that failed.

use gridpost_model::subscription::LaneId;
use gridpost_store::{Position, Scan, StoreError, WriteError};

use crate::support::{EVERYTHING, HERE, Place, ROWS, event, events, get, put, wait};

#[test]
fn what_was_answered_is_visible() {
    let place = Place::new();
    let (store, _) = place.open();
    put(&store, "a", "1").unwrap();
    assert_eq!(get(&store, "a").as_deref(), Some("1"));
}

#[test]
fn a_transaction_sees_its_own_changes() {
    let place = Place::new();
    let (store, _) = place.open();
    put(&store, "a", "1").unwrap();
    let seen = wait(store.write(HERE, |txn| {
        txn.put(&ROWS, "b", &"2".to_owned())?;
        txn.remove(&ROWS, "a")?;
        let rows = txn.scan(&ROWS, Scan::all())?;
        Ok::<_, StoreError>((rows.len(), txn.get(&ROWS, "a")?, txn.get(&ROWS, "b")?))
    }));
    assert_eq!(seen.unwrap().into_inner(), (1, None, Some("2".to_owned())));
}

#[test]
fn a_refused_transaction_leaves_no_trace() {
    let place = Place::new();
    let (store, _) = place.open();
    put(&store, "a", "1").unwrap();
    let tail = store.tail();
    let refused = wait(store.write(HERE, |txn| {
        txn.put(&ROWS, "a", &"2".to_owned())?;
        txn.put(&ROWS, "b", &"2".to_owned())?;
        txn.append(event(1, 20), &[LaneId(1)]);
        Err::<(), _>(StoreError::Busy)
    }));
    assert!(matches!(
        refused,
        Err(WriteError::Refused(StoreError::Busy))
    ));
    assert_eq!(get(&store, "a").as_deref(), Some("1"));
    assert_eq!(get(&store, "b"), None);
    assert!(events(&store).is_empty());
    assert_eq!(store.tail(), tail);
    drop(store);
    let (store, _) = place.open();
    assert_eq!(
        (get(&store, "a").as_deref(), get(&store, "b")),
        (Some("1"), None)
    );
}

#[test]
fn a_transaction_that_panics_is_undone_and_the_store_goes_on() {
    let place = Place::new();
    let (store, _) = place.open();
    let failed = wait(store.write(HERE, |txn| {
        txn.put(&ROWS, "a", &"2".to_owned())?;
        if txn.partition() == HERE {
            panic!("a mistake in a closure");
        }
        Ok::<_, StoreError>(())
    }));
    assert!(matches!(
        failed,
        Err(WriteError::NotStored(StoreError::Failed(_)))
    ));
    put(&store, "b", "1").unwrap();
    assert_eq!(
        (get(&store, "a"), get(&store, "b").as_deref()),
        (None, Some("1"))
    );
}

#[test]
fn a_transaction_beyond_the_bound_is_refused_whole() {
    let place = Place::new();
    let (store, _) = place.open();
    let large = "x".repeat(9 << 20);
    assert!(matches!(
        put(&store, "a", &large),
        Err(StoreError::TooLarge { .. })
    ));
    assert_eq!(get(&store, "a"), None);
    put(&store, "a", "1").unwrap();
}

#[test]
fn section_8_3_a_batch_within_the_documented_quotas_is_kept_and_one_far_beyond_is_refused() {
    let place = Place::new();
    let (store, _) = place.open();
    let lane = |number: u64| LaneId(HERE_LANES | number);
    // Every subscription wants every event; or each event is wanted by others.
    let same: Vec<Vec<_>> = vec![(0..500).map(lane).collect(); 5_000];
    let others: Vec<Vec<_>> = (0..5_000_u64)
        .map(|event| (0..500).map(|n| lane(n * 3 + event % 7)).collect())
        .collect();
    for batch in [same, others] {
        let expected = batch[4_999].clone();
        let written = wait(store.write(HERE, move |txn| {
            for (number, lanes) in (0..).zip(&batch) {
                txn.append(event(number, 200), lanes);
            }
            Ok::<_, StoreError>(())
        }));
        written.unwrap();
        let last = LaneId(expected[499].0);
        let mut wanted = |lanes: &[LaneId]| lanes.contains(&last);
        let kept = store.read_events(Position::START, EVERYTHING, &mut wanted);
        let kept = kept.unwrap().events;
        assert_eq!(kept[kept.len() - 1].lanes.as_slice(), expected);
    }
    assert_eq!(events(&store).len(), 10_000);

    let far_beyond: Vec<_> = (0..10_000).map(lane).collect();
    let refused = wait(store.write(HERE, move |txn| {
        for number in 0..500 {
            txn.append(event(number, 200), &far_beyond);
        }
        Ok::<_, StoreError>(())
    }));
    let refused = refused.unwrap_err().into_inner();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    assert_eq!(events(&store).len(), 10_000);
}

/// The high bytes of the lanes of a partition.
const HERE_LANES: u64 = 65_535 << 48;

#[test]
fn partitions_do_not_see_each_other() {
    let place = Place::new();
    let (store, _) = place.open();
    put(&store, "a", "1").unwrap();
    let other = gridpost_store::Partition(2);
    let seen = wait(store.write(other, |txn| txn.get(&ROWS, "a")));
    assert_eq!(seen.unwrap().into_inner(), None);
    let all = store.snapshot().scan_all(&ROWS, Scan::all()).unwrap();
    assert_eq!(all, [(HERE, b"a\0".as_slice().into(), "1".to_owned())]);
}

#[test]
fn a_snapshot_does_not_move() {
    let place = Place::new();
    let (store, _) = place.open();
    put(&store, "a", "1").unwrap();
    let before = store.snapshot();
    put(&store, "a", "2").unwrap();
    wait(store.close());
    assert_eq!(before.get(&ROWS, HERE, "a").unwrap().as_deref(), Some("1"));
    assert_eq!(get(&store, "a").as_deref(), Some("2"));
}

#[test]
fn a_closed_store_says_so() {
    let place = Place::new();
    let (store, _) = place.open();
    put(&store, "a", "1").unwrap();
    wait(store.close());
    assert!(matches!(put(&store, "a", "2"), Err(StoreError::Closed)));
    wait(store.close());
}

#[test]
fn a_write_that_need_not_be_synced_is_answered_without_a_sync() {
    let place = Place::new();
    let (store, _) = place.open();
    let row = "1".to_owned();
    wait(store.write_soon(HERE, move |txn| txn.put(&ROWS, "a", &row))).unwrap();
    assert_eq!(store.status().syncs, 0);
    assert_eq!(get(&store, "a").as_deref(), Some("1"));
    drop(store);
    let (store, recovery) = place.open();
    assert_eq!(
        (recovery.batches, get(&store, "a").as_deref()),
        (1, Some("1"))
    );
}

#[test]
fn an_author_who_leaves_does_not_undo_the_write() {
    let place = Place::new();
    let (store, _) = place.open();
    let mut left = Box::pin(store.write(HERE, |txn| txn.put(&ROWS, "a", &"1".to_owned())));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = left.as_mut().poll(&mut context);
    drop(left);
    put(&store, "b", "1").unwrap();
    assert_eq!(get(&store, "a").as_deref(), Some("1"));
}
