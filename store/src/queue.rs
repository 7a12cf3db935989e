//! Where writers line up for the one that writes, and where it waits for them.
//!
//! Promise: while the writer is busy or only napping, a settlement costs a push and wakes nobody; a publisher wakes the
//! writer at most once a batch.
//! Not here: what is done with a write (`writer`), how its author hears of the end (`job`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gridpost_model::subscription::LaneId;
use parking_lot::{Condvar, Mutex};

use crate::engine::Base;
use crate::txn::Workspace;
use crate::{Position, StoreError};

/// Beyond this many waiting writes a further one is refused: at 100,000 a second they stand for 80 ms.
const MAX_WAITING: usize = 8192;
/// This many writes that could wait are not made to wait.
const SOON_IS_NOW: usize = 64;
/// Settlements kept while they cannot be written. One lost costs a repeated delivery.
const MAX_SETTLED: usize = 1 << 20;
/// How long a settlement, or a write that may wait, waits for company: half of what is promised.
pub(crate) const NAP: Duration = Duration::from_millis(5);

/// How long the first author of a batch waits for company when much is written: a sync costs 50 us of processor time
/// whatever it carries.
pub(crate) const GATHER: Duration = Duration::from_micros(500);

/// A write as the queue sees it.
pub(crate) trait Waiting: Send + Sync {
    /// Whether its author waits for a sync.
    fn is_forced(&self) -> bool;
    /// Makes its changes in the workspace; nothing of it is left there when they are refused.
    fn run(&self, workspace: &mut Workspace);
    /// Tells its author the end; only the first call counts.
    fn answer(&self, stored: Result<(), &StoreError>);
}

/// News for the writer.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A checkpoint is in the tables, whose new state is this.
    CheckpointMade(Base),
    /// The tables failed for good.
    CheckpointFailed(Arc<str>),
    /// Write what is buffered, make a checkpoint, stop, and drop the sender.
    Close(tokio::sync::oneshot::Sender<()>),
}

/// What the writer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Somebody waits.
    Work,
    /// The nap is over; what was buffered meanwhile is due.
    Rested,
    /// The sleep is over, and nothing happened.
    Overslept,
    /// Stop at once, as if killed.
    Stop,
}

/// How the writer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Not at all.
    None,
    /// Until that many authors wait for a sync: for one, `NAP` at most; for several, `GATHER` at most.
    Nap {
        /// How many share the next sync, if they come in time.
        company: usize,
    },
    /// Until something happens, at most this long.
    Sleep(Duration),
}

#[derive(Default)]
pub(crate) struct Queue {
    line: Mutex<Line>,
    wake: Condvar,
    settled: Mutex<Vec<(LaneId, Position)>>,
    /// The writer waits for longer than a nap: whoever brings something wakes it.
    asleep: AtomicBool,
}

#[derive(Default)]
struct Line {
    writes: Vec<Arc<dyn Waiting>>,
    forced: usize,
    /// This many forced writes wake the writer.
    company: usize,
    notices: Vec<Notice>,
    /// The writer waits on the condition.
    resting: bool,
    closed: Option<StoreError>,
    stop: bool,
    /// The writer is gone.
    ended: bool,
}

impl Queue {
    /// Lines up a write.
    pub(crate) fn push(&self, write: Arc<dyn Waiting>) -> Result<(), StoreError> {
        let forced = write.is_forced();
        let mut line = self.line.lock();
        if let Some(error) = &line.closed {
            return Err(error.clone());
        }
        if MAX_WAITING <= line.writes.len() {
            return Err(StoreError::Busy);
        }
        line.writes.push(write);
        line.forced += usize::from(forced);
        let wake = line.is_pressing() || self.asleep.load(Ordering::SeqCst);
        if wake && std::mem::take(&mut line.resting) {
            drop(line);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Tells the writer; when it has ended the notice is dropped.
    pub(crate) fn notify(&self, notice: Notice) {
        let mut line = self.line.lock();
        if line.ended {
            return;
        }
        line.notices.push(notice);
        line.resting = false;
        drop(line);
        self.wake.notify_one();
    }

    /// Refuses every later write with this error.
    pub(crate) fn close(&self, error: StoreError) {
        self.line.lock().closed.get_or_insert(error);
    }

    /// Hands over the last of what lined up; nobody comes for more.
    pub(crate) fn end(&self, writes: &mut VecDeque<Arc<dyn Waiting>>, notices: &mut Vec<Notice>) {
        self.close(StoreError::Closed);
        self.line.lock().ended = true;
        self.next(Rest::None, writes, notices);
    }

    pub(crate) fn stop(&self) {
        self.line.lock().stop = true;
        self.wake.notify_one();
    }

    /// Buffers a settlement.
    pub(crate) fn settle(&self, lane: LaneId, position: Position) {
        let mut settled = self.settled.lock();
        if settled.len() < MAX_SETTLED {
            settled.push((lane, position));
        }
        drop(settled);
        // The writer looks at the buffer after it has said that it sleeps, so one of the two sees the other.
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.line.lock().resting = false;
            self.wake.notify_one();
        }
    }

    pub(crate) fn take_settled(&self, into: &mut Vec<(LaneId, Position)>) {
        std::mem::swap(&mut *self.settled.lock(), into);
    }

    /// Settlements that could not be written go back.
    pub(crate) fn return_settled(&self, unwritten: &mut Vec<(LaneId, Position)>) {
        let mut settled = self.settled.lock();
        let room = MAX_SETTLED.saturating_sub(settled.len());
        unwritten.truncate(room);
        settled.append(unwritten);
    }

    /// Waits as told, then hands over everything that has lined up.
    pub(crate) fn next(
        &self,
        rest: Rest,
        writes: &mut VecDeque<Arc<dyn Waiting>>,
        notices: &mut Vec<Notice>,
    ) -> Turn {
        let mut line = self.line.lock();
        let turn = match rest {
            Rest::None => Turn::Work,
            Rest::Nap { company } => self.nap(&mut line, company),
            Rest::Sleep(longest) => self.sleep(&mut line, longest),
        };
        writes.extend(line.writes.drain(..));
        line.forced = 0;
        notices.append(&mut line.notices);
        if line.stop { Turn::Stop } else { turn }
    }

    fn nap(&self, line: &mut parking_lot::MutexGuard<'_, Line>, company: usize) -> Turn {
        line.company = company;
        if line.is_pressing() {
            return Turn::Work;
        }
        self.rest_for(line, if company > 1 { GATHER } else { NAP });
        line.company = 1;
        if line.is_pressing() {
            Turn::Work
        } else {
            Turn::Rested
        }
    }

    fn rest_for(&self, line: &mut parking_lot::MutexGuard<'_, Line>, longest: Duration) {
        line.resting = true;
        self.wake
            .wait_while_for(line, |line| line.resting && !line.stop, longest);
        line.resting = false;
    }

    fn sleep(&self, line: &mut parking_lot::MutexGuard<'_, Line>, longest: Duration) -> Turn {
        if line.is_pressing() {
            return Turn::Work;
        }
        self.asleep.store(true, Ordering::SeqCst);
        let mut timed_out = false;
        if line.writes.is_empty() && self.settled.lock().is_empty() {
            line.resting = true;
            let waited = self
                .wake
                .wait_while_for(line, |line| line.resting && !line.stop, longest);
            line.resting = false;
            timed_out = waited.timed_out();
        }
        self.asleep.store(false, Ordering::SeqCst);
        if timed_out || line.stop {
            Turn::Rested
        } else {
            self.nap(line, 1)
        }
    }
}

impl Line {
    /// Somebody waits who should not.
    fn is_pressing(&self) -> bool {
        self.company.max(1) <= self.forced
            || SOON_IS_NOW <= self.writes.len()
            || !self.notices.is_empty()
            || self.stop
    }
}
