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
use smallvec::SmallVec;

use crate::backlog::{Backlog, Bound};
use crate::metrics::Counts;
use crate::probation::{Permit, Probation};
use crate::recent::Recent;
use crate::replay::ReplayId;
use crate::retry::Reason;
use crate::settle::Ledger;
use crate::tail::Attempted;
use crate::waiting::{Due, History, Waiting, WaitingKey};

use super::remarks::Remarks;
use super::terms::Terms;

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
    pub(super) terms: Terms,
    pub(crate) ledger: Ledger,
    /// Workers without work, the last one to lie down on top.
    pub(super) parked: Vec<(u64, Waker)>,
    pub(super) workers: usize,
    /// Events being tried.
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
    pub(super) remarks: Remarks,
}

/// Where a delivery came from: what is to be settled when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Fresh(Position),
    Waiting(WaitingKey),
}

/// A delivery that was handed out.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) origin: Origin,
    pub(crate) event: Arc<Event>,
    pub(crate) history: History,
}

/// What a worker sends in one request: one delivery, or several that were tried equally often. Never none.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) items: SmallVec<[Item; 1]>,
    pub(crate) probe: bool,
    pub(crate) started: Timestamp,
}

impl Job {
    /// The replay they belong to.
    pub(crate) fn replay(&self) -> Option<ReplayId> {
        self.items.first().and_then(|item| item.history.replay)
    }

    /// Attempts made before this one.
    pub(crate) fn attempts_made(&self) -> u32 {
        self.items.first().map_or(0, |item| item.history.attempts)
    }
}

/// How a job ended well. Handed over with the next take, so that both cost one lock.
pub(crate) struct Delivered {
    pub(crate) job: Job,
    pub(crate) status: u16,
    pub(crate) ended: Timestamp,
    /// The attempts, when all of them is to be remembered.
    pub(crate) told: Vec<Attempted>,
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

impl Item {
    fn fresh(position: Position, event: Arc<Event>) -> Self {
        Self {
            origin: Origin::Fresh(position),
            history: History::fresh(event.published),
            event,
        }
    }

    fn due(due: Due) -> Self {
        Self {
            origin: Origin::Waiting(due.key),
            event: due.event,
            history: due.history,
        }
    }
}

impl State {
    pub(super) fn new(backlog: Backlog, terms: Terms) -> Self {
        Self {
            gate: Gate::Shut,
            backlog,
            waiting: Waiting::default(),
            probation: Probation::default(),
            terms,
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
            remarks: Remarks::default(),
        }
    }

    /// A delivery has become a dead letter.
    pub(super) fn lost(&mut self, reason: Reason) {
        self.counts.dead_lettered(reason);
        self.remarks.count(reason);
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
        if self
            .terms
            .rate
            .is_some_and(|rate| rate.holds(now).is_some())
        {
            return None;
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
                Some(due) => self.job(Item::due(due), now),
                None => Take::Park,
            },
            Some(Next::Fresh) => match self.backlog.take() {
                Some((position, event)) => self.job(Item::fresh(position, event), now),
                None => Take::Park,
            },
        }
    }

    fn job(&mut self, item: Item, now: Timestamp) -> Take {
        self.fresh_first = matches!(item.origin, Origin::Waiting(_));
        let probe = self.probation.permit(now) == Permit::Probe;
        if probe {
            self.probation.probe();
        }
        let mut items = SmallVec::from_buf([item]);
        if 1 < self.terms.events && !probe {
            self.fill(&mut items);
        }
        if let Some(rate) = &mut self.terms.rate {
            rate.count(now);
        }
        self.in_flight += items.len();
        Take::Send(Job {
            items,
            probe,
            started: now,
        })
    }

    /// Adds what is there now and may go in the same request: nobody waits for company.
    fn fill(&mut self, items: &mut SmallVec<[Item; 1]>) {
        let Some(first) = items.first() else {
            return;
        };
        let like = first.history.clone();
        let is_fresh = matches!(first.origin, Origin::Fresh(_));
        let mut bytes = first.event.json.len();
        while items.len() < self.terms.events {
            let room = self.terms.bytes.saturating_sub(bytes);
            let next = if is_fresh {
                let next = self.backlog.take_up_to(room);
                next.map(|(position, event)| Item::fresh(position, event))
            } else {
                self.waiting.take_like(&like, room).map(Item::due)
            };
            let Some(item) = next else {
                return;
            };
            bytes += item.event.json.len();
            items.push(item);
        }
    }

    pub(super) fn take_back(&mut self, job: Job) {
        self.in_flight -= job.items.len();
        if job.probe {
            self.probation.probe_given_up();
        }
        // From the last to the first, so that what was ahead comes to lie ahead.
        for item in job.items.into_iter().rev() {
            match item.origin {
                Origin::Fresh(position) => self.backlog.give_back(position, item.event),
                Origin::Waiting(key) => self.waiting.give_back(Due {
                    key,
                    event: item.event,
                    history: item.history,
                }),
            }
        }
    }

    pub(super) fn attempt_ended(&mut self, took: Duration, events: usize) {
        self.in_flight -= events;
        self.counts.processing.record(took);
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
                .chain(self.rate_holds(now))
                .min(),
        }
    }

    /// When the endpoint's own rate lets go of what there is to send.
    pub(super) fn rate_holds(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.terms.rate?.holds(now)?;
        (self.backlog.fresh() > 0 || self.waiting.is_ready()).then_some(until)
    }

    /// Whether what may be done depends on the moment.
    pub(super) fn needs_clock(&self) -> bool {
        self.terms.rate.is_some() || !matches!(self.probation, Probation::Trusted { .. })
    }

    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let fresh = self.backlog.oldest().map(|event| event.published);
        fresh.into_iter().chain(self.waiting.oldest()).min()
    }
}
