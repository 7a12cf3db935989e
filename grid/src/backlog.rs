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
            // It stays known as settled as long as something before it pins the floor.
            if !self.window.is_empty() {
                self.window.push_back(Entry {
                    position,
                    state: State::Settled,
                });
            }
            return false;
        }
        self.fresh += 1;
        self.fresh_bytes += event.json.len();
        self.window.push_back(Entry {
            position,
            state: State::Fresh(Arc::clone(event)),
        });
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

    /// Hands out the oldest fresh event, if it is not larger than that.
    pub(crate) fn take_up_to(&mut self, bytes: usize) -> Option<(Position, Arc<Event>)> {
        self.oldest().filter(|event| event.json.len() <= bytes)?;
        self.take()
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
        let Some(index) = self.find(position) else {
            return;
        };
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
        let Some(index) = self.find(position) else {
            return;
        };
        let before = std::mem::replace(&mut self.window[index].state, State::Settled);
        if let State::Fresh(event) = before {
            self.fresh -= 1;
            self.fresh_bytes -= event.json.len();
        }
        while matches!(
            self.window.front(),
            Some(Entry {
                state: State::Settled,
                ..
            })
        ) {
            self.window.pop_front();
            self.next = self.next.saturating_sub(1);
        }
    }

    fn find(&self, position: Position) -> Option<usize> {
        // Settling mostly follows the order of the window, so the front is looked at first.
        if self
            .window
            .front()
            .is_some_and(|entry| entry.position == position)
        {
            return Some(0);
        }
        self.window
            .binary_search_by_key(&position, |entry| entry.position)
            .ok()
    }

    /// How far the lane has come. `tail` is the end of the journal: a live lane has seen everything before it.
    pub(crate) fn progress(&self, tail: Position) -> Progress {
        let seen = if self.live {
            self.cursor.max(tail)
        } else {
            self.cursor
        };
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

    /// The oldest fresh event in memory.
    pub(crate) fn oldest(&self) -> Option<&Arc<Event>> {
        self.window
            .iter()
            .skip(self.next)
            .find_map(|entry| match &entry.state {
                State::Fresh(event) => Some(event),
                _ => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gridpost_model::{EventSchema, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn event() -> Arc<Event> {
        Arc::new(Event {
            schema: EventSchema::EventGrid,
            id: "1".into(),
            topic: "/t".into(),
            event_type: "x".into(),
            subject: "s".into(),
            data_version: "".into(),
            published: Timestamp::EPOCH,
            trace: None,
            json: bytes::Bytes::from_static(b"{}"),
        })
    }

    const BOUND: Bound = Bound {
        events: 4,
        bytes: 1 << 20,
    };

    /// The journal and what became of its events, told as simply as possible.
    struct Model {
        /// Positions of this lane's events, and the end of the journal.
        journal: Vec<Position>,
        tail: Position,
        settled: BTreeSet<Position>,
        /// Settlements since the checkpoint, in the journal with the events.
        since: Vec<Position>,
        checkpoint: (Progress, Position),
        in_hand: Vec<(Position, Arc<Event>)>,
        backlog: Backlog,
    }

    impl Model {
        fn new() -> Self {
            let backlog = Backlog::new(Progress::default(), true, BOUND);
            Self {
                journal: Vec::new(),
                tail: Position(0),
                settled: BTreeSet::new(),
                since: Vec::new(),
                checkpoint: (Progress::default(), Position(0)),
                in_hand: Vec::new(),
                backlog,
            }
        }

        fn append(&mut self, ours: bool, gap: u64) {
            let position = Position(self.tail.0 + gap);
            self.tail = Position(position.0 + 10);
            if ours {
                self.journal.push(position);
                self.backlog.offer(position, &event());
            }
        }

        fn take(&mut self) {
            let Some((position, event)) = self.backlog.take() else {
                return;
            };
            assert!(
                !self.settled.contains(&position),
                "a settled event was handed out"
            );
            assert!(
                self.in_hand.iter().all(|(held, _)| *held != position),
                "handed out twice"
            );
            self.in_hand.push((position, event));
        }

        fn settle(&mut self, which: usize) {
            if self.in_hand.is_empty() {
                return;
            }
            let (position, _) = self.in_hand.swap_remove(which % self.in_hand.len());
            self.settled.insert(position);
            self.since.push(position);
            self.backlog.settle(position);
        }

        fn give_back(&mut self, which: usize) {
            if self.in_hand.is_empty() {
                return;
            }
            let (position, event) = self.in_hand.swap_remove(which % self.in_hand.len());
            self.backlog.give_back(position, event);
        }

        fn refill(&mut self, events: usize) {
            let Some(from) = self.backlog.wants_refill() else {
                return;
            };
            let limit = events.min(self.backlog.room().events);
            let found: Vec<_> = self
                .journal
                .iter()
                .copied()
                .filter(|at| from <= *at)
                .take(limit)
                .collect();
            let last = found.last().map(|at| Position(at.0 + 10));
            let next = if found.len() < limit {
                self.tail
            } else {
                last.unwrap_or(self.tail)
            };
            for position in found {
                self.backlog.refill(position, &event());
            }
            self.backlog.read_to(next, self.tail <= next);
        }

        fn checkpoint(&mut self) {
            self.checkpoint = (self.backlog.progress(self.tail), self.tail);
            self.since.clear();
        }

        /// What was in hand is forgotten; the journal and the checkpoint are not.
        fn restart(&mut self) {
            let (progress, checkpoint) = self.checkpoint.clone();
            let live = checkpoint <= progress.floor;
            self.in_hand.clear();
            self.backlog = Backlog::new(progress, live, BOUND);
            for position in self.journal.iter().filter(|at| checkpoint <= **at) {
                self.backlog.offer(*position, &event());
            }
            for position in &self.since {
                self.backlog.settle(*position);
            }
        }

        fn check(&self) {
            let floor = self.backlog.progress(self.tail).floor;
            let unsettled = self.journal.iter().find(|at| !self.settled.contains(at));
            if let Some(first) = unsettled {
                assert!(floor <= *first, "the floor {floor:?} passed {first:?}");
            }
            assert!(self.backlog.fresh() <= BOUND.events + self.in_hand.len() + 64);
        }

        /// Delivers everything, and returns whether everything was settled.
        fn drain(&mut self) {
            for _ in 0..self.journal.len() * 4 + 8 {
                self.refill(usize::MAX);
                self.take();
                self.settle(0);
            }
            let all: BTreeSet<_> = self.journal.iter().copied().collect();
            assert_eq!(self.settled, all, "events were lost");
            assert!(!self.backlog.is_behind());
            assert_eq!(self.backlog.progress(self.tail).floor, self.tail);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append { ours: bool, gap: u64 },
        Take,
        Settle(usize),
        GiveBack(usize),
        Refill(usize),
        Checkpoint,
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (any::<bool>(), 0..3_u64).prop_map(|(ours, gap)| Step::Append { ours, gap }),
            6 => Just(Step::Take),
            5 => any::<usize>().prop_map(Step::Settle),
            1 => any::<usize>().prop_map(Step::GiveBack),
            3 => (1..5_usize).prop_map(Step::Refill),
            1 => Just(Step::Checkpoint),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_floor_never_passes_what_is_unsettled(
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let mut model = Model::new();
            for step in steps {
                match step {
                    Step::Append { ours, gap } => model.append(ours, gap),
                    Step::Take => model.take(),
                    Step::Settle(which) => model.settle(which),
                    Step::GiveBack(which) => model.give_back(which),
                    Step::Refill(events) => model.refill(events),
                    Step::Checkpoint => model.checkpoint(),
                    Step::Restart => model.restart(),
                }
                model.check();
            }
            model.drain();
        }
    }

    #[test]
    fn a_lane_at_its_bound_falls_behind_and_catches_up_from_the_journal() {
        let mut model = Model::new();
        (0..10).for_each(|_| model.append(true, 0));
        assert_eq!(
            (model.backlog.fresh(), model.backlog.is_behind()),
            (4, true)
        );
        model.drain();
    }

    #[test]
    fn fresh_events_come_in_the_order_of_the_journal() {
        let mut backlog = Backlog::new(Progress::default(), true, BOUND);
        for position in [0, 10, 20] {
            backlog.offer(Position(position), &event());
        }
        let (first, kept) = backlog.take().unwrap();
        backlog.give_back(first, kept);
        let order: Vec<_> = std::iter::from_fn(|| backlog.take())
            .map(|(at, _)| at.0)
            .collect();
        assert_eq!(order, [0, 10, 20]);
    }
}
