//! Journals that a crash or a bad disk left behind.

use std::fs;
use std::path::PathBuf;

use gridpost_store::{OpenError, Store};

use crate::support::{Bystander, HERE, Place, ROWS, event, events, get, publish, put, wait};

/// A folder with a few acknowledged records, the last of which begins at `last_at` of the only segment.
struct Left {
    place: Place,
    segment: PathBuf,
    bytes: Vec<u8>,
    last_at: usize,
}

impl Left {
    fn behind() -> Self {
        let place = Place::new();
        let (store, _) = place.open();
        put(&store, "a", "1").unwrap();
        publish(&store, 1).unwrap();
        put(&store, "a", "2").unwrap();
        publish(&store, 2).unwrap();
        let last_at = usize::try_from(store.tail().0 % (64 << 20)).unwrap();
        wait(store.write(HERE, |txn| {
            txn.put(&ROWS, "b", &"3".to_owned())?;
            txn.append(event(3, 20), &[]);
            Ok::<_, gridpost_store::StoreError>(())
        }))
        .unwrap();
        drop(store);
        let segment = place.segments().remove(0);
        let bytes = fs::read(&segment).unwrap();
        Self {
            place,
            segment,
            bytes,
            last_at,
        }
    }

    /// Whether the last record is there; the others must be.
    fn has_last(&self, what: &str) -> bool {
        let (store, recovery) = Store::open(self.place.options()).expect(what);
        assert_eq!(get(&store, "a").as_deref(), Some("2"), "{what}");
        let whole = get(&store, "b").is_some();
        let expected: &[u64] = if whole { &[1, 2, 3] } else { &[1, 2] };
        assert_eq!(events(&store), expected, "{what}");
        assert_eq!(
            recovery.notes.len(),
            usize::from(0 < recovery.discarded_bytes),
            "{what}"
        );
        assert!(
            whole != (0 < recovery.discarded_bytes) || what == "cut 0",
            "{what} {recovery:?}"
        );
        whole
    }
}

#[test]
fn a_cut_at_every_byte_of_the_last_record_loses_no_other_and_is_reported() {
    let left = Left::behind();
    let mut kept = 0;
    for size in left.last_at..left.bytes.len() {
        fs::write(&left.segment, &left.bytes[..size]).unwrap();
        kept += u32::from(left.has_last(&format!("cut {}", size - left.last_at)));
    }
    // Only what fills the record up to the next multiple of eight may be missing.
    assert!(kept < 8, "{kept}");
}

#[test]
fn a_flipped_bit_in_every_byte_of_the_last_record_loses_no_other_and_is_reported() {
    let left = Left::behind();
    let mut kept = 0;
    for at in left.last_at..left.bytes.len() {
        let mut bytes = left.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&left.segment, bytes).unwrap();
        kept += u32::from(left.has_last(&format!("flip {}", at - left.last_at)));
    }
    assert!(kept < 8, "{kept}");
}

#[test]
fn damage_before_acknowledged_records_is_refused_at_every_byte() {
    let left = Left::behind();
    let mut opened = 0;
    for at in 4096..left.last_at {
        let mut bytes = left.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&left.segment, bytes).unwrap();
        match Store::open(left.place.options()) {
            Ok((store, recovery)) => {
                // The flip hit what fills a record up, and changed nothing.
                assert_eq!(
                    (recovery.discarded_bytes, events(&store)),
                    (0, vec![1, 2, 3])
                );
                opened += 1;
            }
            // Nothing proves that the record before the last was durable but the last one, which says so.
            Err(OpenError::Damaged { .. }) => (),
            Err(other) => panic!("{at}: {other}"),
        }
    }
    assert!(opened < 4 * 8, "{opened}");
}

#[test]
fn damage_can_be_accepted_and_costs_only_what_is_damaged() {
    let left = Left::behind();
    let mut bytes = left.bytes.clone();
    bytes[4096 + 20] ^= 1;
    fs::write(&left.segment, &bytes).unwrap();
    let mut options = left.place.options();
    options.accept_damage = true;
    let (store, recovery) = Store::open(options).unwrap();
    assert_eq!(recovery.batches, 4);
    assert!(
        recovery.notes[0].contains("accepted damage"),
        "{:?}",
        recovery.notes
    );
    assert_eq!(events(&store), [1, 2, 3]);
    assert_eq!(
        (get(&store, "a").as_deref(), get(&store, "b").as_deref()),
        (Some("2"), Some("3"))
    );
}

#[test]
fn a_segment_whose_header_is_damaged_is_refused_at_every_byte() {
    let left = Left::behind();
    for at in 0..64 {
        let mut bytes = left.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&left.segment, bytes).unwrap();
        let opened = Store::open(left.place.options());
        assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{at}");
    }
    fs::write(&left.segment, &left.bytes).unwrap();
    assert!(left.has_last("whole"));
}

#[test]
fn a_lost_header_can_be_accepted() {
    let left = Left::behind();
    let mut bytes = left.bytes.clone();
    bytes[0] ^= 1;
    fs::write(&left.segment, &bytes).unwrap();
    let mut options = left.place.options();
    options.accept_damage = true;
    let (store, _) = Store::open(options).unwrap();
    assert_eq!(events(&store), [1, 2, 3]);
}

#[test]
fn a_torn_record_does_not_come_back_after_others_followed() {
    let left = Left::behind();
    fs::write(&left.segment, &left.bytes[..left.bytes.len() - 20]).unwrap();
    let (store, _) = left.place.open();
    publish(&store, 4).unwrap();
    drop(store);
    // Whatever the disk does later with what was discarded: the next segment says where this one ended.
    fs::write(&left.segment, &left.bytes).unwrap();
    let (store, recovery) = left.place.open();
    assert_eq!(
        (events(&store), recovery.discarded_bytes),
        (vec![1, 2, 4], 0)
    );
    assert_eq!(get(&store, "b"), None);
}

#[test]
fn a_missing_segment_is_refused() {
    let left = Left::behind();
    for number in 4..6 {
        let (store, _) = left.place.open();
        publish(&store, number).unwrap();
    }
    let segments = left.place.segments();
    assert_eq!(segments.len(), 3);
    fs::remove_file(&segments[1]).unwrap();
    let opened = Store::open(left.place.options());
    assert!(
        matches!(opened, Err(OpenError::Damaged { .. })),
        "{opened:?}"
    );
}

#[test]
fn a_journal_that_ends_before_the_checkpoint_is_refused() {
    let left = Left::behind();
    let (store, _) = left.place.open();
    store.follow(std::sync::Arc::new(Bystander));
    wait(store.close());
    fs::write(&left.segment, &left.bytes[..left.last_at]).unwrap();
    let opened = Store::open(left.place.options());
    assert!(
        matches!(opened, Err(OpenError::Damaged { .. })),
        "{opened:?}"
    );
}
