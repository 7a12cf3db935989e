//! What a lane reads from disk: the journal that it is behind, its rows that are due, and what holds a segment back.
//!
//! Promise: one reader at a time for each lane, whose end is noted whatever becomes of it; a store that cannot be read is
//! left alone for a moment rather than asked again at once.
//! Not here: what is kept of it in memory (`backlog`, `waiting`).

use std::sync::Arc;
use std::time::Duration;

use gridpost_model::Timestamp;
use gridpost_model::subscription::LaneId;
use gridpost_store::{Position, ReadLimit};
use tracing::warn;

use super::{Lane, State};
use crate::backlog::Bound;
use crate::delivery::MovedOut;
use crate::settle;
use crate::waiting::{self, WaitingKey};

/// Deliveries moved into the waiting table in one go.
const MOVED_AT_ONCE: usize = 256;

/// How much journal a lane that is behind looks at in one go.
const SCAN_BYTES: usize = 8 << 20;

/// How long a lane leaves a store alone that could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

impl Lane {
    /// Reads on in the journal for a lane that is behind.
    pub(crate) fn read_journal(self: &Arc<Self>, from: Position, room: Bound) {
        let limit = ReadLimit {
            events: room.events,
            kept_bytes: room.bytes,
            scanned_bytes: SCAN_BYTES,
        };
        let mut want = |lanes: &[LaneId]| lanes.contains(&self.id);
        let read = self.shared.store.read_events(from, limit, &mut want);
        let mut state = self.lock();
        state.reading = false;
        match read {
            Ok(batch) => {
                for event in &batch.events {
                    state.backlog.refill(event.position, &event.event);
                }
                // Whoever commits after the tail was seen here finds the lane live when it comes to offer.
                let at_tail = batch.at_tail && self.shared.store.tail() <= batch.next;
                state.backlog.read_to(batch.next, at_tail);
            }
            Err(error) => {
                warn!(lane = self.id.0, %error, "a lane could not read the journal");
                self.pause_reading(&mut state);
            }
        }
        let call = self.stir(&mut state, self.shared.clock.now());
        drop(state);
        self.carry_out(call);
    }

    /// Reads what is due in the table.
    pub(crate) fn read_table(self: &Arc<Self>, from: WaitingKey, held: usize, now: Timestamp) {
        let snapshot = self.shared.store.snapshot();
        let most = self.shared.limits.bytes;
        let found = waiting::read(&snapshot, self.partition, self.id, (from, held), now, most);
        let mut state = self.lock();
        state.reading = false;
        match found {
            Ok(found) => state.waiting.end_reading(found),
            Err(error) => {
                warn!(lane = self.id.0, %error, "a lane could not read its waiting deliveries");
                state.waiting.abandon_reading();
                self.pause_reading(&mut state);
            }
        }
        let call = self.stir(&mut state, now);
        drop(state);
        self.carry_out(call);
    }

    /// Whoever read for this lane did not come to an end.
    pub(crate) fn reading_broke(self: &Arc<Self>) {
        let mut state = self.lock();
        state.reading = false;
        state.waiting.abandon_reading();
        self.pause_reading(&mut state);
        self.set_alarm(&mut state, self.shared.clock.now());
    }

    fn pause_reading(&self, state: &mut State) {
        state.read_pause = Some(self.shared.clock.now() + READ_PAUSE);
    }

    /// Moves some fresh deliveries before `before` into the waiting table, where they pin no segment.
    pub(crate) fn move_out(self: &Arc<Self>, before: Position) -> MovedOut {
        let now = self.shared.clock.now();
        let mut state = self.lock();
        if !state.ledger.is_empty() {
            return MovedOut::Wait;
        }
        let mut moved = 0;
        while moved < MOVED_AT_ONCE {
            let Some((position, event)) = state.backlog.take_before(before) else {
                break;
            };
            let change = settle::moved(self, position, &event, now);
            self.write_down(&mut state, change);
            moved += 1;
        }
        if moved > 0 {
            return MovedOut::Some;
        }
        match state.backlog.wants_refill() {
            Some(from) if from < before && !state.reading && state.read_pause.is_none() => {
                state.reading = true;
                let room = state.backlog.room();
                drop(state);
                self.read_journal(from, room);
                MovedOut::Some
            }
            _ => MovedOut::Nothing,
        }
    }
}
