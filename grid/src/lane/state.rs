//! What a lane's lock guards, and what can be done in that state.
//!
//! Promise: nothing here waits, reads a file or looks at a clock; what comes next follows from the state and the moment
//! it is asked about.
//! Not here: who holds the lock, and what follows once it is released (`lane`).

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use gridpost_model::{Event, Timestamp};
use gridpost_store::Position;

use crate::backlog::{Backlog, Bound};
use crate::metrics::Counts;
use crate::probation::{Permit, Probation};
use crate::settle::Ledger;
use crate::tail::Recent;
use crate::waiting::{Due, History, Waiting, WaitingKey};

/// Fresh events in memory beyond which a publisher waits for a destination that keeps up: enough to keep every
/// connection busy, few enough that an accepted event is sent within milliseconds.
pub(super) const PACE: usize = 128;

/// A destination slower than this on average is not worth waiting for: it would slow publishers, not the backlog.
const PACE_ANSWER_US: u32 = 20_000;

/// Whether a lane sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Not yet, or not any more, because of us.
    Shut,
    /// Not now, because of the subscription's state.
    Held,
    /// Yes.
    Open,
}

/// What the lane's lock guards.
pub(crate) struct State {
    pub(super) gate: Gate,
    pub(crate) backlog: Backlog,
    pub(crate) waiting: Waiting,
    pub(super) probation: Probation,
    pub(crate) ledger: Ledger,
    /// Workers without work, the last one to lie down on top.
    pub(super) parked: Vec<(u64, Waker)>,
    pub(super) workers: usize,
    pub(super) in_flight: usize,
    /// Somebody reads the journal or the table for this lane.
    pub(super) reading: bool,
    /// Reading failed; not again before then.
    pub(super) read_pause: Option<Timestamp>,
    /// Whether a fresh event goes before a due one.
    fresh_first: bool,
    /// The moment the alarm is set to.
    pub(super) alarm: Option<Timestamp>,
    answer_us: u32,
    /// When the destination last took an event.
    pub(super) last_taken: Timestamp,
    pub(crate) counts: Counts,
    pub(super) recent: Recent,
}

/// Where a delivery came from: what is to be settled when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Fresh(Position),
    Waiting(WaitingKey),
}

/// A delivery in the hands of a worker.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) origin: Origin,
    pub(crate) event: Arc<Event>,
    pub(crate) history: History,
    pub(crate) probe: bool,
    pub(crate) started: Timestamp,
}

/// How a job ended well. Handed over with the next take, so that both cost one lock.
pub(crate) struct Delivered {
    pub(crate) job: Job,
    pub(crate) status: u16,
    pub(crate) ended: Timestamp,
}

/// What a worker is to do next.
pub(crate) enum Take {
    Send(Job),
    ReadJournal(Position, Bound),
    ReadTable(WaitingKey, usize),
    Park,
}

pub(super) enum Next {
    ReadTable,
    ReadJournal,
    Due,
    Fresh,
}

impl State {
    pub(super) fn new(backlog: Backlog) -> Self {
        Self {
            gate: Gate::Shut,
            backlog,
            waiting: Waiting::default(),
            probation: Probation::default(),
            ledger: Ledger::default(),
            parked: Vec::new(),
            workers: 0,
            in_flight: 0,
            reading: false,
            read_pause: None,
            fresh_first: true,
            alarm: None,
            answer_us: 0,
            last_taken: Timestamp::EPOCH,
            counts: Counts::default(),
            recent: Recent::default(),
        }
    }

    /// What a worker could do now.
    pub(super) fn peek(&self, now: Timestamp) -> Option<Next> {
        if self.gate != Gate::Open || self.ledger.is_full() {
            return None;
        }
        if !matches!(self.probation.permit(now), Permit::Free | Permit::Probe) {
            return None;
        }
        if !self.reading && self.read_pause.is_none() {
            if self.waiting.wants_reading(now) {
                return Some(Next::ReadTable);
            }
            if self.backlog.wants_refill().is_some() {
                return Some(Next::ReadJournal);
            }
        }
        let due = self.waiting.is_ready();
        let fresh = self.backlog.fresh() > 0;
        match (fresh, due) {
            (true, true) if self.fresh_first => Some(Next::Fresh),
            (_, true) => Some(Next::Due),
            (true, false) => Some(Next::Fresh),
            (false, false) => None,
        }
    }

    pub(super) fn take(&mut self, now: Timestamp) -> Take {
        match self.peek(now) {
            None => Take::Park,
            Some(Next::ReadTable) => {
                self.reading = true;
                let (from, held) = self.waiting.begin_reading();
                Take::ReadTable(from, held)
            }
            Some(Next::ReadJournal) => match self.backlog.wants_refill() {
                Some(from) => {
                    self.reading = true;
                    Take::ReadJournal(from, self.backlog.room())
                }
                None => Take::Park,
            },
            Some(Next::Due) => match self.waiting.take() {
                Some(due) => self.job(Origin::Waiting(due.key), due.event, due.history, now),
                None => Take::Park,
            },
            Some(Next::Fresh) => match self.backlog.take() {
                Some((position, event)) => {
                    let history = History::fresh(event.published);
                    self.job(Origin::Fresh(position), event, history, now)
                }
                None => Take::Park,
            },
        }
    }

    fn job(&mut self, origin: Origin, event: Arc<Event>, history: History, now: Timestamp) -> Take {
        self.fresh_first = matches!(origin, Origin::Waiting(_));
        self.in_flight += 1;
        let probe = self.probation.permit(now) == Permit::Probe;
        if probe {
            self.probation.probe();
        }
        Take::Send(Job {
            origin,
            event,
            history,
            probe,
            started: now,
        })
    }

    pub(super) fn take_back(&mut self, job: Job) {
        self.in_flight -= 1;
        if job.probe {
            self.probation.probe_given_up();
        }
        match job.origin {
            Origin::Fresh(position) => self.backlog.give_back(position, job.event),
            Origin::Waiting(key) => {
                self.waiting.give_back(Due {
                    key,
                    event: job.event,
                    history: job.history,
                });
            }
        }
    }

    pub(super) fn attempt_ended(&mut self, took: Duration) {
        self.in_flight -= 1;
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.answer_us = self.answer_us - self.answer_us / 8 + took / 8;
    }

    /// Whether more is to be sent than a destination that keeps up should have before it.
    pub(super) fn is_long(&self) -> bool {
        PACE < self.backlog.fresh()
            && self.gate == Gate::Open
            && self.probation.is_healthy()
            && self.answer_us < PACE_ANSWER_US
    }

    /// When there will be something to do that time alone brings.
    pub(super) fn next_moment(&self, now: Timestamp) -> Option<Timestamp> {
        if self.gate != Gate::Open {
            return None;
        }
        match self.probation.permit(now) {
            Permit::NotBefore(until) => Some(until),
            Permit::Probing => None,
            Permit::Free | Permit::Probe => self
                .waiting
                .next_due()
                .filter(|due| now < *due)
                .into_iter()
                .chain(self.read_pause)
                .min(),
        }
    }

    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let fresh = self.backlog.oldest().map(|event| event.published);
        fresh.into_iter().chain(self.waiting.oldest()).min()
    }
}
