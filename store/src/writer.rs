//! The writer: the one thread on which every change happens.
//!
//! It takes everything that has lined up, runs the closures one after another, writes what they did as one batch,
//! syncs once for all of them, shows the result to readers and the follower, and answers. While it syncs, the next
//! batch lines up: the more is asked of it, the more one sync carries.
//!
//! Promise: readers, follower and authors hear of a batch after it is as durable as was asked, in this order; a batch
//! that failed changed nothing.
//! Not here: the line (`queue`), one closure's changes (`txn`), the files (`journal`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use gridpost_model::subscription::LaneId;
use gridpost_model::{Timestamp, never};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::checkpoint::{self, Checkpoint, Checkpointer, Gathered};
use crate::demand::Demand;
use crate::engine::{Base, Patience};
use crate::journal::{Durability, Journal, JournalReader, Piece, Span};
use crate::queue::{Notice, Queue, Rest, Turn, Waiting};
use crate::retention::{self, Keep};
use crate::rows::Layers;
use crate::txn::Workspace;
use crate::{Follower, Health, Options, Position, Progress, StoreError};

/// A batch is closed once it has this many bytes: 1.2 ms of writing, so that nobody waits long for company.
const BATCH_BYTES: usize = 4 << 20;
/// After this many naps with nothing to do the writer goes to sleep.
const QUIET_NAPS: u32 = 20;
/// How the writer naps after a failure when nobody asks for anything: it tries again every `QUIET_NAPS` of them.
const ANXIOUS: Duration = Duration::from_millis(10);
/// A sleep without anything to do for a checkpoint ends when somebody comes; the bound is only a bound.
const LONG: Duration = Duration::from_hours(1);

/// What the writer and the callers share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) queue: Arc<Queue>,
    /// What readers see.
    pub(crate) layers: ArcSwap<Layers>,
    pub(crate) journal: Arc<dyn JournalReader>,
    pub(crate) follower: Mutex<Option<Arc<dyn Follower>>>,
    pub(crate) health: Mutex<Health>,
    pub(crate) patience: Arc<Patience>,
    /// When the last checkpoint was made, in ticks.
    pub(crate) checkpoint_made: AtomicI64,
}

/// The thread's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    journal: Box<dyn Journal>,
    checkpointer: Checkpointer,
    workspace: Workspace,
    /// Taken from the line and not run yet.
    waiting: VecDeque<Arc<dyn Waiting>>,
    /// Run, and waiting for the batch.
    ran: Vec<Arc<dyn Waiting>>,
    notices: Vec<Notice>,
    settled: Vec<(LaneId, Position)>,
    demand: Demand,
    /// Naps since something was last written.
    quiet_naps: u32,
    /// Batches that failed since one did not.
    failures: u32,
    checkpoints: Checkpoints,
    closing: Vec<oneshot::Sender<()>>,
    /// The tables failed: nothing is taken any more.
    failed: Option<StoreError>,
}

/// Where checkpoints stand.
struct Checkpoints {
    /// The last one that was begun.
    begun: Position,
    /// Bytes of journal that it lacks.
    lacking_bytes: u64,
    /// The one being made: how far the journal is needed once it is done.
    running: Option<Position>,
    /// Since when there is something it lacks.
    dirty_since: Timestamp,
    /// The last one, at closing, could not be made. The journal has everything.
    given_up: bool,
}

/// How far the tables are behind the journal at opening.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind {
    pub(crate) checkpoint: Position,
    pub(crate) lacking_bytes: u64,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        journal: Box<dyn Journal>,
        checkpointer: Checkpointer,
        workspace: Workspace,
        behind: Behind,
    ) -> Self {
        let dirty_since = shared.options.clock.now();
        Self {
            shared,
            journal,
            checkpointer,
            workspace,
            waiting: VecDeque::new(),
            ran: Vec::new(),
            notices: Vec::new(),
            settled: Vec::new(),
            demand: Demand::new(dirty_since),
            quiet_naps: 0,
            failures: 0,
            checkpoints: Checkpoints {
                begun: behind.checkpoint,
                lacking_bytes: behind.lacking_bytes,
                running: None,
                dirty_since,
                given_up: false,
            },
            closing: Vec::new(),
            failed: None,
        }
    }

    /// Runs until the store is closed or let go of.
    pub(crate) fn run(mut self) {
        loop {
            let rest = self.rest();
            let queue = Arc::clone(&self.shared.queue);
            let turn = queue.next(rest, &mut self.waiting, &mut self.notices);
            if turn == Turn::Stop {
                return;
            }
            for notice in std::mem::take(&mut self.notices) {
                self.heed(notice);
            }
            let forced = self.waiting.iter().filter(|job| job.is_forced()).count();
            self.demand.came(forced, self.shared.options.clock.now());
            let wrote = self.batch();
            self.quiet_naps = if wrote {
                0
            } else {
                self.quiet_naps.saturating_add(1)
            };
            if self.is_checkpoint_due(turn) {
                self.begin_checkpoint();
            }
            if self.is_done() {
                return;
            }
        }
    }

    fn rest(&self) -> Rest {
        if !self.waiting.is_empty() {
            return Rest::None;
        }
        if self.closing.is_empty() && self.quiet_naps < QUIET_NAPS {
            return Rest::Nap {
                company: self.demand.company(),
            };
        }
        if self.is_anxious() {
            return Rest::Sleep(ANXIOUS);
        }
        Rest::Sleep(if self.is_dirty() {
            self.shared.options.checkpoint_after
        } else {
            LONG
        })
    }

    fn heed(&mut self, notice: Notice) {
        match notice {
            Notice::CheckpointMade(base) => self.finish_checkpoint(base),
            Notice::CheckpointFailed(why) => self.fail(&why),
            Notice::Close(done) => {
                // A full disk must not keep us from ending: the journal has everything.
                self.shared.patience.set_willing(false);
                self.closing.push(done);
            }
        }
    }

    /// Takes one batch from the line to its answers. Says whether there was anything to write.
    fn batch(&mut self) -> bool {
        let mut durability = self.run_waiting();
        self.add_settlements();
        if self.workspace.frame.is_empty() {
            self.answer(Ok(()));
            if !self.is_trying_again() {
                return false;
            }
            // An empty batch: it tells whether the next one would be taken.
            durability = Durability::Synced;
        }
        let now = self.shared.options.clock.now();
        match self
            .journal
            .append(&mut self.workspace.frame, durability, now)
        {
            Ok(span) => self.publish(span, now),
            Err(error) => self.undo(&error),
        }
        self.workspace.clear();
        self.failures == 0
    }

    /// Runs what waits until the batch is full. Returns what the most demanding author asks for.
    fn run_waiting(&mut self) -> Durability {
        let mut durability = Durability::Written;
        while self.workspace.frame.size() < BATCH_BYTES
            && let Some(job) = self.waiting.pop_front()
        {
            if let Some(error) = &self.failed {
                job.answer(Err(error));
                continue;
            }
            job.run(&mut self.workspace);
            if job.is_forced() {
                durability = Durability::Synced;
            }
            self.ran.push(job);
        }
        durability
    }

    /// Something failed that may have passed. Who asks whether we are ready sends nothing that would show it.
    fn is_anxious(&self) -> bool {
        0 < self.failures && self.failed.is_none() && self.closing.is_empty()
    }

    fn is_trying_again(&self) -> bool {
        self.is_anxious()
            && QUIET_NAPS < self.quiet_naps
            && self.quiet_naps.is_multiple_of(QUIET_NAPS)
    }

    fn add_settlements(&mut self) {
        // While nothing can be written, settlements by themselves are tried every 20th nap only.
        let hopeless =
            0 < self.failures && self.ran.is_empty() && !self.quiet_naps.is_multiple_of(QUIET_NAPS);
        if self.failed.is_some() || hopeless {
            return;
        }
        self.shared.queue.take_settled(&mut self.settled);
        self.settled.sort_unstable();
        for group in self.settled.chunk_by(|(lane, _), (next, _)| lane == next) {
            let positions = group.iter().map(|(_, position)| *position);
            self.workspace.frame.settled(group[0].0, positions);
        }
    }

    fn publish(&mut self, span: Span, now: Timestamp) {
        if !self.is_dirty() {
            self.checkpoints.dirty_since = now;
        }
        self.failures = 0;
        self.checkpoints.lacking_bytes += span.end.0 - span.start.0;
        self.settled.clear();
        if self.workspace.rows_changed {
            self.shared
                .layers
                .store(Arc::new(self.workspace.layers.clone()));
        }
        self.journal.reveal();
        self.tell_follower(span);
        self.report(&Health::Healthy);
        self.answer(Ok(()));
    }

    fn tell_follower(&mut self, span: Span) {
        if self.workspace.events.is_empty() {
            return;
        }
        for appended in &mut self.workspace.events {
            appended.position.0 += span.start.0;
            appended.next = span.end;
        }
        let follower = self.shared.follower.lock().clone();
        if let Some(follower) = follower {
            follower.committed(&self.workspace.events);
        }
    }

    /// The batch is not in the journal: nothing of it stays.
    fn undo(&mut self, error: &StoreError) {
        if self.workspace.rows_changed {
            self.workspace.layers = Layers::clone(&self.shared.layers.load());
        }
        self.failures = self.failures.saturating_add(1);
        self.shared.queue.return_settled(&mut self.settled);
        self.settled.clear();
        self.report(&match error {
            StoreError::NoSpace => Health::NoSpace,
            error => Health::Failed(error.to_string().into()),
        });
        self.answer(Err(error));
    }

    fn answer(&mut self, stored: Result<(), &StoreError>) {
        for job in self.ran.drain(..) {
            job.answer(stored);
        }
    }

    /// Says how the store is doing; in the log only when that changed.
    fn report(&self, health: &Health) {
        let mut current = self.shared.health.lock();
        if *current == *health {
            return;
        }
        match health {
            Health::Healthy => tracing::info!("the journal takes writes again"),
            Health::NoSpace => tracing::error!("the disk is full; publishers are refused"),
            Health::Failed(why) => tracing::error!("the journal failed: {why}"),
        }
        *current = health.clone();
    }

    fn is_dirty(&self) -> bool {
        self.checkpoints.begun < self.shared.journal.tail()
    }

    fn is_checkpoint_due(&self, turn: Turn) -> bool {
        if self.checkpoints.running.is_some() || self.failed.is_some() || !self.is_dirty() {
            return false;
        }
        let gathered = Gathered {
            journal_bytes: self.checkpoints.lacking_bytes,
            row_bytes: self.workspace.row_bytes,
            since: self.checkpoints.dirty_since,
        };
        let closing = !self.closing.is_empty() && self.waiting.is_empty();
        let options = &self.shared.options;
        closing
            || turn == Turn::Overslept
            || checkpoint::is_due(&gathered, options, options.clock.now())
    }

    /// Freezes the rows as they are and has them written into the tables.
    fn begin_checkpoint(&mut self) {
        // Tables must not know more than the journal after a power failure.
        if let Err(error) = self.journal.sync() {
            tracing::warn!(%error, "a checkpoint is put off");
            self.checkpoints.dirty_since = self.shared.options.clock.now();
            self.checkpoints.given_up = !self.closing.is_empty();
            return;
        }
        let position = self.shared.journal.tail();
        let rows = Arc::new(std::mem::take(&mut self.workspace.layers.active));
        self.workspace.layers.frozen = Some(Arc::clone(&rows));
        self.workspace.row_bytes = 0;
        self.shared
            .layers
            .store(Arc::new(self.workspace.layers.clone()));
        let progress = self.progress(position);
        let floors = progress
            .iter()
            .flat_map(HashMap::values)
            .map(|progress| progress.floor);
        let needed = floors.fold(position, Position::min);
        // Without a follower nobody knows what is needed, so nothing is given up.
        let needed = if progress.is_some() {
            needed
        } else {
            Position::START
        };
        self.checkpoints.begun = position;
        self.checkpoints.lacking_bytes = 0;
        self.checkpoints.running = Some(needed);
        self.checkpointer.order(Checkpoint {
            rows,
            position,
            progress,
        });
    }

    fn progress(&self, position: Position) -> Option<HashMap<LaneId, Progress>> {
        let follower = self.shared.follower.lock().clone()?;
        let pieces = self.shared.journal.pieces();
        let kept: u64 = pieces.iter().map(Piece::size_bytes).sum();
        let relieve_bytes = self.shared.options.relieve_bytes;
        if relieve_bytes < kept {
            // Half of it, so that the next checkpoint does not ask again at once.
            follower.relieve(Position(position.0.saturating_sub(relieve_bytes / 2)));
        }
        let mut all = HashMap::new();
        follower.progress(&mut |lane, progress| drop(all.insert(lane, progress)));
        Some(all)
    }

    fn finish_checkpoint(&mut self, base: Base) {
        let Some(needed) = self.checkpoints.running.take() else {
            never!("a checkpoint ended that was not begun");
            return;
        };
        let now = self.shared.options.clock.now();
        self.workspace.layers.frozen = None;
        self.workspace.layers.base = base;
        self.shared
            .layers
            .store(Arc::new(self.workspace.layers.clone()));
        self.shared
            .checkpoint_made
            .store(now.ticks(), Ordering::Relaxed);
        self.checkpoints.dirty_since = now;
        let options = &self.shared.options;
        let keep = Keep {
            age: options.retention,
            bytes: options.retention_bytes,
        };
        let pieces = self.shared.journal.pieces();
        self.journal
            .trim(retention::give_up_before(&pieces, needed, keep, now));
    }

    /// The tables cannot be written or read any more; only opening the store anew helps, and loses nothing.
    fn fail(&mut self, why: &Arc<str>) {
        let error = StoreError::Failed(format!("the tables failed: {why}").into());
        self.checkpoints.running = None;
        self.shared.queue.close(error.clone());
        self.report(&Health::Failed(error.to_string().into()));
        self.failed = Some(error);
    }

    fn is_done(&self) -> bool {
        let settled = self.failed.is_some() || self.checkpoints.given_up || !self.is_dirty();
        !self.closing.is_empty()
            && self.waiting.is_empty()
            && self.checkpoints.running.is_none()
            && settled
    }
}

impl Drop for Writer {
    /// Whatever ended the thread, nobody waits for it any longer.
    fn drop(&mut self) {
        self.shared.patience.set_willing(false);
        self.shared.queue.end(&mut self.waiting, &mut self.notices);
        for job in self.ran.drain(..).chain(self.waiting.drain(..)) {
            job.answer(Err(&StoreError::Closed));
        }
        // The follower may own the store; letting go of it here breaks the circle.
        let follower = self.shared.follower.lock().take();
        drop(follower);
    }
}
