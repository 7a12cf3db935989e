//! Who is told of events: the one above the store that sends them.

use std::collections::HashMap;
use std::sync::Arc;

use gridpost_model::Event;
use gridpost_model::subscription::LaneId;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::Position;

/// An event in the journal.
#[derive(Clone, Debug)]
pub struct Appended {
    /// Its address.
    pub position: Position,
    /// The first position after its batch.
    pub next: Position,
    /// The lanes that matched it.
    pub lanes: SmallVec<[LaneId; 4]>,
    /// The event.
    pub event: Arc<Event>,
}

/// What the writer tells. It lives on the writer's thread because a publisher's task can be cancelled when its
/// client hangs up, and the writer cannot. It must not call `Store::write` and wait.
pub trait Follower: Send + Sync + 'static {
    /// Events are durable, in journal order, and so is everything written with them. Called after the batch's rows
    /// and the new `tail` are visible, before the writers are answered. Must be quick.
    fn committed(&self, events: &[Appended]);

    /// A checkpoint asks how far each lane has come. Meanwhile `Store::tail` is the checkpoint's position.
    fn progress(&self, report: &mut dyn FnMut(LaneId, Progress));

    /// The journal is larger than it should be: please move what is still wanted before that position elsewhere.
    /// A hint, given at checkpoints.
    fn relieve(&self, before: Position);
}

/// How far a lane has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Everything below is done with.
    pub floor: Position,
    /// These, at or above the floor, are done with too.
    pub settled: Vec<Position>,
}

/// One step of the replay after opening.
#[derive(Clone, Debug)]
pub enum Replayed {
    /// An event was appended.
    Event(Appended),
    /// A lane was done with an event.
    Settled {
        /// The lane.
        lane: LaneId,
        /// The event.
        position: Position,
    },
}

/// What opening found.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// How far each lane had come at the checkpoint.
    pub progress: HashMap<LaneId, Progress>,
    /// Tables hold everything before; the journal was replayed from here.
    pub checkpoint: Position,
    /// The end of what was recovered.
    pub tail: Position,
    /// Batches replayed.
    pub batches: u64,
    /// Events replayed.
    pub events: u64,
    /// Bytes behind the tail that were never acknowledged as durable and are ignored.
    pub discarded_bytes: u64,
    /// What an operator should know.
    pub notes: Vec<String>,
}
