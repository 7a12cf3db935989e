//! Checkpoints: how the tables follow the journal.
//!
//! The writer freezes the rows changed so far and hands them over; this thread writes them into the engine in one
//! commit, together with the position they reflect and how far lanes have come. Nobody waits for it.
//!
//! Promise: after a crash the tables are those of the last whole checkpoint, and the journal from its position on
//! tells the rest.
//! Not here: freezing (`writer`), the file (`engine`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gridpost_model::Timestamp;
use gridpost_model::subscription::LaneId;

use crate::engine::Engine;
use crate::queue::{Notice, Queue};
use crate::rows::Layer;
use crate::{Options, Position, Progress};

/// What one checkpoint holds.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) rows: Arc<Layer>,
    pub(crate) position: Position,
    /// `None`: nobody follows yet, so what the last checkpoint says still holds.
    pub(crate) progress: Option<HashMap<LaneId, Progress>>,
}

/// The thread that makes them. Dropping it waits for the one being made.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    orders: Option<mpsc::Sender<Checkpoint>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(crate) fn start(engine: Engine, queue: Arc<Queue>) -> std::io::Result<Self> {
        let (orders, incoming) = mpsc::channel::<Checkpoint>();
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || {
                for checkpoint in incoming {
                    queue.notify(make(&engine, &checkpoint));
                }
            })?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    pub(crate) fn order(&self, checkpoint: Checkpoint) {
        // The thread ends only when this sender is gone.
        let _ = self.orders.as_ref().map(|orders| orders.send(checkpoint));
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn make(engine: &Engine, checkpoint: &Checkpoint) -> Notice {
    let made = engine
        .commit(
            &checkpoint.rows,
            checkpoint.position,
            checkpoint.progress.as_ref(),
        )
        .and_then(|()| engine.base());
    match made {
        Ok(base) => Notice::CheckpointMade(base),
        Err(error) => Notice::CheckpointFailed(error.to_string().into()),
    }
}

/// What has gathered since the last checkpoint began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathered {
    pub(crate) journal_bytes: u64,
    pub(crate) row_bytes: usize,
    /// Since when there is anything.
    pub(crate) since: Timestamp,
}

/// Whether it is time for a checkpoint.
pub(crate) fn is_due(gathered: &Gathered, options: &Options, now: Timestamp) -> bool {
    if gathered.journal_bytes == 0 {
        return false;
    }
    let waited: Duration = now.since(gathered.since);
    options.checkpoint_bytes <= gathered.journal_bytes
        || options.checkpoint_row_bytes <= gathered.row_bytes
        || options.checkpoint_after <= waited
}
