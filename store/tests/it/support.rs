//! What the tests share: a clock we turn, a disk we break, events, and a store in a folder of its own.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use gridpost_model::event::NewEvent;
use gridpost_model::subscription::LaneId;
use gridpost_model::time::Sleep;
use gridpost_model::{Clock, Event, Timestamp};
use gridpost_store::{
    Appended, Fault, Faults, FileKind, Follower, Operation, Options, Partition, Position, Progress,
    ReadLimit, Recovery, Store, StoreError, Table, WriteError,
};
use tempfile::TempDir;

pub(crate) const ROWS: Table<String> = Table::new(1, "rows");
pub(crate) const HERE: Partition = Partition(1);

/// A clock that stands still until it is turned.
#[derive(Debug, Default)]
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn turn(&self, by: Duration) {
        let ticks = i64::try_from(by.as_nanos() / 100).unwrap();
        self.0.fetch_add(ticks, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ticks(self.0.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, _moment: Timestamp) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// A folder that outlives the stores opened in it.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<HandClock>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            clock: Arc::default(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options::new(self.folder.path(), Arc::clone(&self.clock) as _)
    }

    pub(crate) fn open(&self) -> (Store, Recovery) {
        Store::open(self.options()).unwrap()
    }

    /// The journal's files, oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        segments(self.folder.path())
    }
}

pub(crate) fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("journal")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "journal")
    });
    paths.sort();
    paths
}

/// Follows, and has no lanes: without a follower a checkpoint moves nothing.
pub(crate) struct Bystander;

impl Follower for Bystander {
    fn committed(&self, _events: &[Appended]) {}

    fn progress(&self, _report: &mut dyn FnMut(LaneId, Progress)) {}

    fn relieve(&self, _before: Position) {}
}

/// A disk that does what the test says.
pub(crate) struct BadDisk<F>(pub(crate) F);

impl<F> Faults for BadDisk<F>
where
    F: Fn(FileKind, Operation) -> Option<Fault> + Send + Sync + 'static,
{
    fn strike(&self, file: FileKind, operation: Operation) -> Option<Fault> {
        (self.0)(file, operation)
    }
}

pub(crate) fn full(written_bytes: usize) -> Fault {
    Fault {
        written_bytes,
        error: io::ErrorKind::StorageFull.into(),
    }
}

pub(crate) fn broken() -> Fault {
    Fault {
        written_bytes: 0,
        error: io::Error::other("the disk is broken"),
    }
}

/// An event whose id is a number.
pub(crate) fn event(number: u64, size_bytes: usize) -> Arc<Event> {
    let topic: Arc<str> = "/subscriptions/s".into();
    let id = number.to_string();
    let new = NewEvent {
        id: &id,
        topic: &topic,
        subject: "subject",
        event_type: "Type",
        event_time: "2020-09-18T00:27:47Z",
        data_version: "1.0",
        data: &"x".repeat(size_bytes),
    };
    Arc::new(Event::event_grid(&new, Timestamp::from_seconds(7)).unwrap())
}

/// Runs a future on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

pub(crate) fn publish(store: &Store, number: u64) -> Result<(), StoreError> {
    let event = event(number, 20);
    let written = wait(store.write(HERE, move |txn| {
        txn.append(event, &[LaneId(1)]);
        Ok::<_, StoreError>(())
    }));
    written.map(|_| ()).map_err(WriteError::into_inner)
}

pub(crate) fn put(store: &Store, key: &str, row: &str) -> Result<(), StoreError> {
    let (key, row) = (key.to_owned(), row.to_owned());
    let written = wait(store.write(HERE, move |txn| txn.put(&ROWS, key, &row)));
    written.map(|_| ()).map_err(WriteError::into_inner)
}

pub(crate) fn get(store: &Store, key: &str) -> Option<String> {
    store.snapshot().get(&ROWS, HERE, key).unwrap()
}

pub(crate) const EVERYTHING: ReadLimit = ReadLimit {
    events: usize::MAX,
    kept_bytes: usize::MAX,
    scanned_bytes: usize::MAX,
};

/// The numbers of all events that are kept.
pub(crate) fn events(store: &Store) -> Vec<u64> {
    let read = store
        .read_events(Position::START, EVERYTHING, &mut |_| true)
        .unwrap();
    read.events
        .iter()
        .map(|appended| appended.event.id.parse().unwrap())
        .collect()
}

/// Lets other threads run until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000_000_u64 {
        if holds() {
            return;
        }
        thread::yield_now();
    }
    panic!("never happened: {what}");
}
