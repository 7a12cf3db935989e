//! When there is due work, and in which partition.
//!
//! Promise: after a transaction that wrote due rows has committed, its partition is visited no later than its earliest
//! row falls due; after a restart every partition is visited. The rows are the truth; this is only when to look.
//! Not here: what is done with the rows (`sms::due`, `chat::due`).

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{join_all, select};
use gridpost_model::{Clock, Timestamp};
use gridpost_store::{PARTITIONS, Partition, StoreError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::warn;

use crate::{Inner, chat, sms};

/// How long after a failed visit the next one is made: a full disk is asked about once a second.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Agenda {
    state: Mutex<State>,
    changed: Notify,
    visited: Notify,
}

#[derive(Default)]
struct State {
    /// When each partition must be looked at; those with nothing due are absent.
    next: BTreeMap<Partition, Timestamp>,
    visiting: bool,
    stopped: bool,
}

impl Agenda {
    /// Something in this partition falls due then.
    pub(crate) fn note(&self, partition: Partition, due: Timestamp) {
        let mut state = self.state.lock();
        let next = state.next.entry(partition).or_insert(due);
        *next = due.min(*next);
        drop(state);
        self.changed.notify_one();
    }

    /// Takes the partitions that are due. They are taken before their rows are read, so that a row committed
    /// meanwhile is either read or noted again.
    fn take(&self, now: Timestamp) -> Vec<Partition> {
        let mut state = self.state.lock();
        if state.stopped {
            return Vec::new();
        }
        let due: Vec<_> = state
            .next
            .iter()
            .filter(|(_, due)| **due <= now)
            .map(|(at, _)| *at)
            .collect();
        for partition in &due {
            state.next.remove(partition);
        }
        state.visiting = !due.is_empty();
        due
    }

    fn visit_ended(&self) {
        self.state.lock().visiting = false;
        self.visited.notify_waiters();
    }

    fn next(&self) -> Option<Timestamp> {
        self.state.lock().next.values().min().copied()
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    pub(crate) fn is_busy(&self, now: Timestamp) -> bool {
        let state = self.state.lock();
        state.visiting || state.next.values().any(|due| *due <= now)
    }

    /// No visit begins from now on.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }

    /// No visit begins from now on, and none is under way.
    pub(crate) async fn close(&self) {
        self.stop();
        loop {
            let visited = self.visited.notified();
            if !self.state.lock().visiting {
                return;
            }
            visited.await;
        }
    }
}

/// Part of what a transaction returns when it wrote due rows: when it is dropped, the agenda knows.
///
/// A caller that hung up never sees its `Committed` value, but the store drops it after the commit all the same.
pub(crate) struct Wake {
    agenda: Arc<Agenda>,
    partition: Partition,
    due: Option<Timestamp>,
}

impl Wake {
    pub(crate) fn new(agenda: &Arc<Agenda>, partition: Partition) -> Self {
        Self {
            agenda: Arc::clone(agenda),
            partition,
            due: None,
        }
    }

    /// A row that falls due then was written.
    pub(crate) fn at(&mut self, due: Timestamp) {
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(due) = self.due {
            self.agenda.note(self.partition, due);
        }
    }
}

/// Starts the visits, and looks at every partition once.
pub(crate) fn start(inner: &Arc<Inner>) {
    let now = inner.settings.clock.now();
    for partition in 1..PARTITIONS {
        inner.agenda.note(Partition(partition), now);
    }
    let agenda = Arc::clone(&inner.agenda);
    let clock = Arc::clone(&inner.settings.clock);
    let task = run(Arc::downgrade(inner), agenda, clock);
    (inner.settings.spawn)("due work", Box::pin(task));
}

async fn run(inner: Weak<Inner>, agenda: Arc<Agenda>, clock: Arc<dyn Clock>) {
    while !agenda.is_stopped() {
        let due = agenda.take(clock.now());
        if due.is_empty() {
            wait(&agenda, &*clock).await;
            continue;
        }
        let Some(inner) = inner.upgrade() else { return };
        join_all(due.into_iter().map(|partition| visit(&inner, partition))).await;
        agenda.visit_ended();
    }
}

/// Until the next row falls due or a nearer one is noted. A note made since the last look is kept by `changed`.
async fn wait(agenda: &Agenda, clock: &dyn Clock) {
    let changed = agenda.changed.notified();
    match agenda.next() {
        Some(moment) => drop(select(pin!(changed), clock.sleep_until(moment)).await),
        None => changed.await,
    }
}

async fn visit(inner: &Arc<Inner>, partition: Partition) {
    let now = inner.settings.clock.now();
    let texts = sms::due::work_through(inner, partition, now).await;
    let chat = Box::pin(chat::due::work_through(inner, partition, now)).await;
    for done in [texts, chat] {
        match done {
            Ok(Some(next)) => inner.agenda.note(partition, next),
            Ok(None) | Err(StoreError::Closed) => (),
            Err(error) => {
                warn!(%error, "due work is put off");
                inner.agenda.note(partition, now + PAUSE_AFTER_FAILURE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Partition = Partition(1);
    const TWO: Partition = Partition(2);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_partition_is_due_at_its_earliest_note_and_taken_once() {
        let agenda = Agenda::default();
        agenda.note(ONE, at(9));
        agenda.note(ONE, at(5));
        agenda.note(TWO, at(7));
        assert_eq!(agenda.next(), Some(at(5)));
        assert!(agenda.take(at(4)).is_empty());
        assert_eq!(agenda.take(at(6)), [ONE]);
        assert!(agenda.is_busy(at(6)));
        agenda.visit_ended();
        assert!(!agenda.is_busy(at(6)));
        assert_eq!(agenda.next(), Some(at(7)));
    }

    #[test]
    fn a_transaction_wakes_at_the_earliest_of_its_rows_when_it_is_dropped() {
        let agenda = Arc::new(Agenda::default());
        let mut wake = Wake::new(&agenda, ONE);
        wake.at(at(9));
        wake.at(at(3));
        assert_eq!(agenda.next(), None);
        drop(wake);
        assert_eq!(agenda.next(), Some(at(3)));
        drop(Wake::new(&agenda, TWO));
        assert_eq!(agenda.take(at(100)), [ONE]);
    }
}
