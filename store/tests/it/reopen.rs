//! What a store finds when it is opened.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use gridpost_store::{OpenError, Scan, Store};

use crate::support::{Bystander, HERE, Place, ROWS, events, get, publish, put, until, wait};

#[test]
fn a_new_store_makes_no_segment_before_the_first_write() {
    let place = Place::new();
    let (store, recovery) = place.open();
    assert_eq!(
        (recovery.batches, recovery.tail, store.tail()),
        Default::default()
    );
    assert!(place.segments().is_empty());
}

#[test]
fn nobody_else_may_read_what_a_store_keeps() {
    let place = Place::new();
    let (store, _) = place.open();
    put(&store, "a", "1").unwrap();
    publish(&store, 1).unwrap();
    wait(store.close());
    let mut folders = vec![place.folder.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    files += 1;
                    let mode = fs::metadata(&path).unwrap().permissions().mode();
                    assert_eq!(mode & 0o077, 0, "{}", path.display());
                }
            }
        }
    }
    assert!(files > 2);
}

#[test]
fn a_store_that_was_closed_replays_nothing() {
    let place = Place::new();
    let (store, _) = place.open();
    store.follow(std::sync::Arc::new(Bystander));
    put(&store, "a", "1").unwrap();
    publish(&store, 1).unwrap();
    wait(store.close());
    drop(store);
    let (store, recovery) = place.open();
    assert_eq!((recovery.batches, recovery.discarded_bytes), (0, 0));
    assert_eq!(
        (get(&store, "a").as_deref(), events(&store)),
        (Some("1"), vec![1])
    );
}

#[test]
fn tables_and_journal_agree_however_the_store_ended() {
    let place = Place::new();
    let mut expected = Vec::new();
    for round in 0..6 {
        let (store, _) = place.open();
        let rows = store.snapshot().scan(&ROWS, HERE, Scan::all()).unwrap();
        assert_eq!(
            rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>(),
            expected
        );
        for step in 0..4 {
            put(
                &store,
                &format!("{round}-{step}"),
                &format!("{round}-{step}"),
            )
            .unwrap();
            expected.push(format!("{round}-{step}"));
            if step == 1 {
                place.clock.turn(Duration::from_secs(31));
            }
        }
        if round % 2 == 0 {
            wait(store.close());
        }
    }
}

#[test]
fn a_checkpoint_takes_over_what_the_journal_said() {
    let place = Place::new();
    let (store, _) = place.open();
    store.follow(std::sync::Arc::new(Bystander));
    put(&store, "a", "1").unwrap();
    put(&store, "b", "1").unwrap();
    place.clock.turn(Duration::from_secs(31));
    put(&store, "c", "1").unwrap();
    until("the checkpoint is made", || {
        store.status().checkpoint_age == Duration::ZERO
    });
    wait(store.write(HERE, |txn| txn.remove(&ROWS, "a"))).unwrap();
    put(&store, "b", "2").unwrap();
    let rows = |store: &Store| {
        let rows = store.snapshot().scan(&ROWS, HERE, Scan::all()).unwrap();
        rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>()
    };
    assert_eq!(rows(&store), ["2", "1"]);
    drop(store);
    let (store, recovery) = place.open();
    assert!(recovery.batches < 5, "{recovery:?}");
    assert_eq!(rows(&store), ["2", "1"]);
}

#[test]
fn a_folder_in_use_is_refused() {
    let place = Place::new();
    let (store, _) = place.open();
    assert!(matches!(
        Store::open(place.options()),
        Err(OpenError::InUse(_))
    ));
    drop(store);
    place.open();
}

#[test]
fn a_segment_of_the_first_format_is_read() {
    let place = Place::new();
    let (store, _) = place.open();
    publish(&store, 1).unwrap();
    drop(store);
    let segment = place.segments().remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8] = 1;
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, bytes).unwrap();
    let (_store, recovery) = place.open();
    assert_eq!(recovery.discarded_bytes, 0);
    assert!(recovery.notes.is_empty(), "{:?}", recovery.notes);
}

#[test]
fn a_segment_of_a_newer_format_is_refused_with_its_name() {
    let place = Place::new();
    let (store, _) = place.open();
    publish(&store, 1).unwrap();
    drop(store);
    let segment = place.segments().remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8] = 9;
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, bytes).unwrap();
    let error = Store::open(place.options()).unwrap_err();
    assert!(matches!(
        error,
        OpenError::NewerFormat {
            found: 9,
            supported: 3,
            ..
        }
    ));
    let said = error.to_string();
    assert!(said.contains(segment.to_str().unwrap()), "{said}");
    assert!(
        said.contains("format version 9") && said.contains("up to 3"),
        "{said}"
    );
}

#[test]
fn tables_of_a_newer_format_are_refused_with_their_name() {
    let place = Place::new();
    drop(place.open());
    let tables = place.folder.path().join("tables.redb");
    let database = redb::Database::open(&tables).unwrap();
    let writing = database.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    writing
        .open_table(meta)
        .unwrap()
        .insert("format", 5)
        .unwrap();
    writing.commit().unwrap();
    drop(database);
    let error = Store::open(place.options()).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::NewerFormat {
                found: 5,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("tables.redb"), "{error}");
}

#[test]
fn a_file_that_is_no_table_file_is_refused() {
    let place = Place::new();
    drop(place.open());
    fs::write(place.folder.path().join("tables.redb"), vec![7; 100_000]).unwrap();
    assert!(matches!(
        Store::open(place.options()),
        Err(OpenError::Tables(_))
    ));
}
