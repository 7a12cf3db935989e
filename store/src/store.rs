//! The calls: open, write, read, follow, close.

use std::fmt;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use gridpost_model::Timestamp;
use gridpost_model::subscription::LaneId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::checkpoint::Checkpointer;
use crate::disk::{self, Disk};
use crate::engine::{Engine, FolderLock, Patience};
use crate::job::Job;
use crate::journal::frame::{Entry, Frame};
use crate::journal::local::Local;
use crate::journal::recover::{self, Search};
use crate::journal::{Journal as _, Piece};
use crate::queue::{Notice, Queue};
use crate::rows::{Layer, Layers, Space};
use crate::txn::Workspace;
use crate::writer::{Behind, Shared, Writer};
use crate::{
    Follower, OpenError, Options, Partition, Position, ReadBatch, ReadError, ReadLimit, Recovery,
    Replayed, Snapshot, StoreError, Txn, WriteError, read,
};

/// Durable state. Cheap to clone; all clones are one store. When the last is dropped without `close`, the writer stops
/// at once, as if the process had been killed.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

/// What all clones share.
struct Handle {
    shared: Arc<Shared>,
    /// The part of the journal that `replay` shows.
    replay: (Position, Position),
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the folder, or makes a new store in it. Blocks: replays the journal from the last checkpoint.
    ///
    /// # Errors
    /// The folder is in use, damaged, or from a newer version.
    pub fn open(options: Options) -> Result<(Self, Recovery), OpenError> {
        let journal_folder = options.folder.join("journal");
        make_folder(&options.folder)?;
        make_folder(&journal_folder)?;
        let lock = FolderLock::take(&options.folder)?;
        let disk = Disk::new(options.faults.clone());
        let patience = Arc::new(Patience::default());
        let tables = options.folder.join("tables.redb");
        let (engine, saved) = Engine::open(&tables, &disk, &patience)?;
        let base = engine
            .base()
            .map_err(|error| OpenError::Tables(error.to_string()))?;

        let mut replayed = ReplayedRows::default();
        let search = Search {
            folder: &journal_folder,
            disk: &disk,
            checkpoint: saved.position,
            accept_damage: options.accept_damage,
        };
        let found = search.run(&mut |frame| replayed.apply(frame))?;
        recover::sync_newest(&journal_folder, &found)?;
        disk::sync_folder(&options.folder).map_err(|e| unmade(&options.folder, e))?;
        let recovery = Recovery {
            progress: saved.progress,
            checkpoint: saved.position,
            tail: found.tail,
            batches: replayed.batches,
            events: replayed.events,
            discarded_bytes: found.discarded_bytes,
            notes: found.notes.clone(),
        };

        let layers = Layers {
            active: replayed.rows,
            frozen: None,
            base,
        };
        let workspace = Workspace::recovered(layers.clone(), replayed.row_bytes);
        let journal = Local::new(&journal_folder, &disk, found, options.accept_damage);
        let queue = Arc::new(Queue::default());
        let started = |source| OpenError::File {
            doing: "could not start a thread for",
            file: tables.clone(),
            source,
        };
        let checkpointer = Checkpointer::start(engine, Arc::clone(&queue)).map_err(started)?;
        patience.set_willing(true);
        let shared = Arc::new(Shared {
            checkpoint_made: AtomicI64::new(options.clock.now().ticks()),
            options,
            queue,
            layers: ArcSwap::from_pointee(layers),
            journal: journal.reader(),
            follower: Mutex::default(),
            health: Mutex::default(),
            patience,
        });
        let writer = Writer::new(
            Arc::clone(&shared),
            Box::new(journal),
            checkpointer,
            workspace,
            Behind {
                checkpoint: recovery.checkpoint,
                lacking_bytes: replayed.size_bytes,
            },
        );
        let run = move || {
            writer.run();
            // Held until everything that writes into the folder is gone.
            drop(lock);
        };
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(run)
            .map_err(started)?;
        let handle = Handle {
            shared,
            replay: (recovery.checkpoint, recovery.tail),
            thread: Mutex::new(Some(thread)),
        };
        Ok((
            Self {
                handle: Arc::new(handle),
            },
            recovery,
        ))
    }

    /// Shows events and settlements from the checkpoint to where the journal ended at opening, in order.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn replay(&self, visit: &mut dyn FnMut(Replayed)) -> Result<(), ReadError> {
        let (from, to) = self.handle.replay;
        read::replay(&*self.shared().journal, from, to, visit)
    }

    /// Names the one who is told of events: once, before the first write that appends one. The store keeps it until
    /// it is closed, so a follower that owns the store must let `close` break the circle.
    pub fn follow(&self, follower: Arc<dyn Follower>) {
        *self.shared().follower.lock() = Some(follower);
    }

    /// Runs `change` on the partition's single writer and answers once its changes survive a crash.
    ///
    /// # Errors
    /// The closure refused, or its changes were not stored. Either way nobody sees anything of it; only when a sync
    /// failed may a crash before the next write bring it back.
    pub async fn write<T, E, F>(
        &self,
        partition: Partition,
        change: F,
    ) -> Result<Committed<T>, WriteError<E>>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.line_up(Job::new(partition, true, change)).await
    }

    /// As `write`, but never forces a sync: answered once the record is in the file (it survives the end of the
    /// process), within 10 ms, and made durable by the next sync.
    ///
    /// # Errors
    /// As `write`.
    pub async fn write_soon<T, E, F>(
        &self,
        partition: Partition,
        change: F,
    ) -> Result<Committed<T>, WriteError<E>>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.line_up(Job::new(partition, false, change)).await
    }

    async fn line_up<T, E, F>(&self, job: Arc<Job<F, T, E>>) -> Result<Committed<T>, WriteError<E>>
    where
        F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let queue = &self.shared().queue;
        queue
            .push(Arc::clone(&job) as _)
            .map_err(WriteError::NotStored)?;
        Job::answer_of(job).await.map(Committed)
    }

    /// Notes that a lane is done with an event. Buffered; in the journal within 10 ms; never forces a sync. Lost in a
    /// crash it costs one repeated delivery.
    pub fn settle(&self, lane: LaneId, position: Position) {
        self.shared().queue.settle(lane, position);
    }

    /// A consistent view of all tables as of now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.shared().layers.load_full())
    }

    /// Reads events in journal order, keeping those whose lanes are wanted. A position below the oldest kept segment
    /// starts at the oldest.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn read_events(
        &self,
        from: Position,
        limit: ReadLimit,
        want: &mut dyn FnMut(&[LaneId]) -> bool,
    ) -> Result<ReadBatch, ReadError> {
        read::read_events(&*self.shared().journal, from, limit, want)
    }

    /// The first position that nothing was written to yet.
    pub fn tail(&self) -> Position {
        self.shared().journal.tail()
    }

    /// The start of the oldest segment that is kept.
    pub fn oldest(&self) -> Position {
        self.shared().journal.oldest()
    }

    /// What is kept of the journal, oldest first. Positions may be missing between two pieces: after a disk was full.
    pub fn pieces(&self) -> Vec<Piece> {
        let tail = self.tail();
        let written = |piece: Piece| Piece {
            end: piece.end.min(tail),
            ..piece
        };
        let pieces = self.shared().journal.pieces();
        pieces.into_iter().map(written).collect()
    }

    /// How the store is doing.
    pub fn status(&self) -> Status {
        let shared = self.shared();
        let pieces = shared.journal.pieces();
        let figures = shared.journal.figures();
        let made = Timestamp::from_ticks(shared.checkpoint_made.load(Ordering::Relaxed));
        Status {
            health: shared.health.lock().clone(),
            tables_wait_for_space: shared.patience.is_waiting(),
            journal_bytes: pieces.iter().map(Piece::size_bytes).sum(),
            segments: pieces.len() as u64,
            syncs: figures.syncs,
            written_bytes: figures.written_bytes,
            batches: figures.batches,
            checkpoint_age: shared.options.clock.now().since(made),
        }
    }

    /// Writes buffered settlements, makes a checkpoint and stops the writer. Later writes answer `Closed`.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        let queue = &self.shared().queue;
        queue.close(StoreError::Closed);
        queue.notify(Notice::Close(done));
        // Ends when the writer drops the sender, which it does last.
        let _ = closed.await;
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("tail", &self.tail())
            .finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.stop();
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        // The last clone may go with a closure that the writer itself drops.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// The rows that the journal changed since the checkpoint.
#[derive(Default)]
struct ReplayedRows {
    rows: Layer,
    row_bytes: usize,
    size_bytes: u64,
    batches: u64,
    events: u64,
}

impl ReplayedRows {
    fn apply(&mut self, frame: &Frame<'_>) {
        self.batches += 1;
        self.size_bytes += frame.end().0 - frame.at().0;
        let mut partition = Partition::DIRECTORY;
        // The frame was verified, so every entry is readable.
        for entry in frame.entries().flatten() {
            match entry {
                Entry::Partition(named) => partition = named,
                Entry::Put { table, key, row } => {
                    self.change(Space { table, partition }.with(key), Some(row));
                }
                Entry::Remove { table, key } => {
                    self.change(Space { table, partition }.with(key), None);
                }
                Entry::Event(_) => self.events += 1,
                Entry::Settled { .. } => (),
            }
        }
    }

    fn change(&mut self, key: Vec<u8>, row: Option<&[u8]>) {
        self.row_bytes += key.len() + row.map_or(0, <[u8]>::len);
        self.rows.insert(key.into(), row.map(Into::into));
    }
}

fn make_folder(folder: &Path) -> Result<(), OpenError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(|e| unmade(folder, e))
}

fn unmade(folder: &Path, source: std::io::Error) -> OpenError {
    OpenError::File {
        doing: "could not make",
        file: folder.to_owned(),
        source,
    }
}

/// Proof that what `T` tells of is stored: only the store makes one.
#[derive(Debug)]
pub struct Committed<T>(T);

impl<T> Committed<T> {
    /// What the closure returned.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Committed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// How the store is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether it takes writes.
    pub health: Health,
    /// A checkpoint waits for space on the disk; publishers do not.
    pub tables_wait_for_space: bool,
    /// Bytes of journal that are kept.
    pub journal_bytes: u64,
    /// Segments that are kept.
    pub segments: u64,
    /// Syncs of the journal since opening.
    pub syncs: u64,
    /// Bytes written to the journal since opening.
    pub written_bytes: u64,
    /// Batches written since opening.
    pub batches: u64,
    /// How long ago the last checkpoint was made.
    pub checkpoint_age: Duration,
}

/// Whether the store takes writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It does.
    #[default]
    Healthy,
    /// The last batch found the disk full; the next one tries again.
    NoSpace,
    /// The last batch failed otherwise; the next one tries again.
    Failed(Arc<str>),
}
