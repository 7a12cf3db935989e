//! The fresh deliveries of one lane: events that matched and were never tried.
//!
//! Promise: an event above the floor is either in the window or will be read from the journal; none is skipped, and
//! none that was settled is handed out again. What is kept in memory is bounded; beyond the bound the lane is
//! *behind* and reads on from its cursor once there is room.
//! Not here: retries (`waiting`), who reads the journal and when (`lane`).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use gridpost_model::Event;
use gridpost_store::{Position, Progress};

/// The window from the floor to the cursor.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// What was taken in and is not below the floor, in the order of the journal. The first one is unsettled.
    window: VecDeque<Entry>,
    /// Where in `window` the next fresh one may be; everything before it was handed out.
    next: usize,
    /// Everything below was taken in.
    cursor: Position,
    /// Whether everything up to the journal's tail was taken in, so that offers continue the window.
    live: bool,
    /// Settled above the cursor in a previous life of the process.
    ahead: HashSet<Position>,
    fresh: usize,
    fresh_bytes: usize,
    bound: Bound,
}

/// How much may be kept in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Entry {
    position: Position,
    state: State,
}

#[derive(Debug)]
enum State {
    Fresh(Arc<Event>),
    Taken,
    Settled,
}

impl Backlog {
    /// A backlog that begins at `floor`. `live` says that there is nothing between the floor and the next offer.
    pub(crate) fn new(progress: Progress, live: bool, bound: Bound) -> Self {
        Self {
            window: VecDeque::new(),
            next: 0,
            cursor: progress.floor,
            live,
            ahead: progress.settled.into_iter().collect(),
            fresh: 0,
            fresh_bytes: 0,
            bound,
        }
    }

    /// An event was appended to the journal. Ignored when it was taken in already, or has to wait for its turn.
    pub(crate) fn offer(&mut self, position: Position, event: &Arc<Event>) -> bool {
        if !self.live || position < self.cursor {
            return false;
        }
        if self.is_full() {
            self.live = false;
            return false;
        }
        self.take_in(position, event)
    }

    /// An event was read from the journal, from the cursor on.
    pub(crate) fn refill(&mut self, position: Position, event: &Arc<Event>) {
        if self.cursor <= position {
            self.take_in(position, event);
        }
    }

    /// Reading has come this far without leaving out anything the lane wants.
    pub(crate) fn read_to(&mut self, next: Position, at_tail: bool) {
        self.cursor = self.cursor.max(next);
        self.live |= at_tail;
    }

    fn take_in(&mut self, position: Position, event: &Arc<Event>) -> bool {
        self.cursor = Position(position.0 + 1);
        if self.ahead.remove(&position) {
            return false;
        }
        self.fresh += 1;
        self.fresh_bytes += event.json.len();
        self.window.push_back(Entry { position, state: State::Fresh(Arc::clone(event)) });
        true
    }

    /// Hands out the oldest fresh event.
    pub(crate) fn take(&mut self) -> Option<(Position, Arc<Event>)> {
        while let Some(entry) = self.window.get_mut(self.next) {
            self.next += 1;
            if let State::Fresh(event) = &entry.state {
                let event = Arc::clone(event);
                entry.state = State::Taken;
                self.fresh -= 1;
                self.fresh_bytes -= event.json.len();
                return Some((entry.position, event));
            }
        }
        None
    }

    /// Hands out the oldest fresh event, if it lies before that position.
    pub(crate) fn take_before(&mut self, before: Position) -> Option<(Position, Arc<Event>)> {
        let (position, event) = self.take()?;
        if position < before {
            return Some((position, event));
        }
        self.give_back(position, event);
        None
    }

    /// Takes an event back that was handed out and not tried.
    pub(crate) fn give_back(&mut self, position: Position, event: Arc<Event>) {
        let Some(index) = self.find(position) else { return };
        self.fresh += 1;
        self.fresh_bytes += event.json.len();
        self.window[index].state = State::Fresh(event);
        self.next = self.next.min(index);
    }

    /// The lane is done with an event, whether it was handed out, is still fresh, or was not taken in yet.
    pub(crate) fn settle(&mut self, position: Position) {
        if self.cursor <= position {
            self.ahead.insert(position);
            return;
        }
        let Some(index) = self.find(position) else { return };
        let before = std::mem::replace(&mut self.window[index].state, State::Settled);
        if let State::Fresh(event) = before {
            self.fresh -= 1;
            self.fresh_bytes -= event.json.len();
        }
        while matches!(self.window.front(), Some(Entry { state: State::Settled, .. })) {
            self.window.pop_front();
            self.next = self.next.saturating_sub(1);
        }
    }

    fn find(&self, position: Position) -> Option<usize> {
        // Settling mostly follows the order of the window, so the front is looked at first.
        if self.window.front().is_some_and(|entry| entry.position == position) {
            return Some(0);
        }
        self.window.binary_search_by_key(&position, |entry| entry.position).ok()
    }

    /// How far the lane has come. `tail` is the end of the journal: a live lane has seen everything before it.
    pub(crate) fn progress(&self, tail: Position) -> Progress {
        let seen = if self.live { self.cursor.max(tail) } else { self.cursor };
        let floor = self.window.front().map_or(seen, |entry| entry.position);
        let settled = self
            .window
            .iter()
            .filter(|entry| matches!(entry.state, State::Settled))
            .map(|entry| entry.position)
            .chain(self.ahead.iter().copied())
            .collect();
        Progress { floor, settled }
    }

    /// Where to read on, when there is something to read and room for it.
    pub(crate) fn wants_refill(&self) -> Option<Position> {
        let room = self.fresh <= self.bound.events / 2 && self.fresh_bytes <= self.bound.bytes / 2;
        (!self.live && room).then_some(self.cursor)
    }

    /// How much may be read at once.
    pub(crate) fn room(&self) -> Bound {
        Bound {
            events: self.bound.events.saturating_sub(self.fresh).max(1),
            bytes: self.bound.bytes.saturating_sub(self.fresh_bytes).max(1),
        }
    }

    fn is_full(&self) -> bool {
        self.bound.events <= self.fresh || self.bound.bytes <= self.fresh_bytes
    }

    /// How many fresh events are in memory.
    pub(crate) fn fresh(&self) -> usize {
        self.fresh
    }

    /// Whether there are more in the journal than in memory.
    pub(crate) fn is_behind(&self) -> bool {
        !self.live
    }

    /// Whether a fresh event in memory has this `id`.
    pub(crate) fn has_fresh(&self, event_id: &str) -> bool {
        let is_it = |entry: &Entry| matches!(&entry.state, State::Fresh(event) if *event.id == *event_id);
        self.window.iter().any(is_it)
    }

    /// The oldest fresh event in memory.
    pub(crate) fn oldest(&self) -> Option<&Arc<Event>> {
        self.window.iter().skip(self.next).find_map(|entry| match &entry.state {
            State::Fresh(event) => Some(event),
            _ => None,
        })
    }
}
