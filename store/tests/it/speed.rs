//! How fast the store takes events, beside what the disk allows.
//!
//! Run by hand: `cargo test -p gridpost-store --profile release --test it speed -- --ignored --nocapture`.
#![expect(clippy::disallowed_methods, reason = "measures with the real clock")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gridpost_model::subscription::LaneId;
use gridpost_store::{Store, StoreError};

use tokio::runtime::Runtime;

use crate::support::{HERE, Place, event};

const SPAN: Duration = Duration::from_secs(2);
const EVENT_BYTES: usize = 1024;

#[test]
#[ignore = "measures for half a minute"]
fn events_per_second_beside_a_bare_zeroed_file() {
    println!("writers  file events/s  store events/s  ratio  CPU us/event  of writer  events/sync");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    for writers in [1, 32, 256] {
        let place = Place::new();
        let bare = bare_events_per_second(&place, writers);
        let (store, _) = place.open();
        // Past the first segment, which grows, to one that was prepared.
        publish_for(&runtime, &store, writers, SPAN / 2);
        let before = (
            store.status().syncs,
            processor_time(""),
            processor_time("store-writer"),
        );
        let (events, seconds) = publish_for(&runtime, &store, writers, SPAN);
        let syncs = store.status().syncs - before.0;
        let busy = processor_time("") - before.1;
        let writer = processor_time("store-writer") - before.2;
        let rate = events as f64 / seconds;
        println!(
            "{writers:7}  {bare:13.0}  {rate:14.0}  {:5.2}  {:12.2}  {:9.2}  {:11.1}",
            rate / bare,
            busy.as_secs_f64() * 1e6 / events as f64,
            writer.as_secs_f64() * 1e6 / events as f64,
            events as f64 / syncs as f64,
        );
    }
}

/// Writers that each wait for their answer before they publish again.
fn publish_for(runtime: &Runtime, store: &Store, writers: usize, span: Duration) -> (u64, f64) {
    let event = event(1, EVENT_BYTES - 180);
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (store, event) = (store.clone(), Arc::clone(&event));
            runtime.spawn(async move {
                let mut events = 0;
                while start.elapsed() < span {
                    let event = Arc::clone(&event);
                    let written = store.write(HERE, move |txn| {
                        txn.append(event, &[LaneId(1)]);
                        Ok::<_, StoreError>(())
                    });
                    written.await.unwrap();
                    events += 1;
                }
                events
            })
        })
        .collect();
    let events = runtime.block_on(async {
        let mut events = 0;
        for task in tasks {
            events += task.await.unwrap();
        }
        events
    });
    (events, start.elapsed().as_secs_f64())
}

/// What one thread gets out of a zeroed file: as many events at once as there are writers, and a sync.
fn bare_events_per_second(place: &Place, writers: usize) -> f64 {
    const FILE_BYTES: usize = 64 << 20;
    let file = File::create(place.folder.path().join("bare")).unwrap();
    file.write_all_at(&vec![0; FILE_BYTES], 0).unwrap();
    file.sync_all().unwrap();
    let batch = vec![7; writers * EVENT_BYTES];
    let (start, mut at, mut events) = (Instant::now(), 0, 0);
    while start.elapsed() < SPAN {
        file.write_all_at(&batch, at as u64).unwrap();
        file.sync_data().unwrap();
        events += writers;
        at = (at + batch.len()) % (FILE_BYTES - batch.len());
    }
    events as f64 / start.elapsed().as_secs_f64()
}

/// What the threads of this name have spent so far; of all of them when it is empty.
fn processor_time(name: &str) -> Duration {
    let mut spent = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let folder = task.unwrap().path();
        if std::fs::read_to_string(folder.join("comm"))
            .unwrap()
            .starts_with(name)
        {
            let spent_ns = std::fs::read_to_string(folder.join("schedstat")).unwrap();
            let spent_ns = spent_ns.split_whitespace().next().unwrap().parse().unwrap();
            spent += Duration::from_nanos(spent_ns);
        }
    }
    spent
}
