//! A lane's workers: who is called when there is work, who lies down, who leaves.
//!
//! Promise: a worker that was called finds out, however the call and its lying down cross; the job of one that is gone
//! goes back to its lane.
//! Not here: what a worker does (`crate::worker`), what it is given (`lane`).

use std::sync::Arc;
use std::task::Waker;

use gridpost_model::Timestamp;

use super::state::Gate;
use super::{Job, Lane, State};
use crate::worker;

/// A worker to be called once the lock is released.
#[must_use]
pub(crate) enum Call {
    Nobody,
    Wake(Waker),
    Start(u64),
}

impl Lane {
    /// Calls one worker: the one that lay down last, or a new one.
    pub(super) fn call(&self, state: &mut State) -> Call {
        if let Some((_, waker)) = state.parked.pop() {
            return Call::Wake(waker);
        }
        if self.shared.limits.connections <= state.workers {
            return Call::Nobody;
        }
        state.workers += 1;
        Call::Start(self.shared.next_number())
    }

    pub(crate) fn carry_out(self: &Arc<Self>, call: Call) {
        match call {
            Call::Nobody => (),
            Call::Wake(waker) => waker.wake(),
            Call::Start(id) => {
                (self.shared.spawn)("lane", Box::pin(worker::work(Arc::clone(self), id)));
            }
        }
    }

    /// A worker lies down. Says whether it should get up again at once, or leave.
    pub(crate) fn park(&self, id: u64, waker: &Waker) -> Rest {
        let mut state = self.lock();
        if state.gate == Gate::Shut {
            return Rest::Leave;
        }
        // A worker that was woken for what fell due must see that it did.
        let needs_clock = state.needs_clock() || state.waiting.next_due().is_some();
        let now = if needs_clock {
            self.shared.clock.now()
        } else {
            Timestamp::EPOCH
        };
        if state.peek(now).is_some() {
            state.parked.retain(|(parked, _)| *parked != id);
            return Rest::GetUp;
        }
        match state.parked.iter_mut().find(|(parked, _)| *parked == id) {
            Some((_, old)) => old.clone_from(waker),
            None => state.parked.push((id, waker.clone())),
        }
        Rest::Lie
    }

    /// A worker has lain idle for long. Says whether it may leave: not when it was just called.
    pub(crate) fn may_leave(&self, id: u64) -> bool {
        let mut state = self.lock();
        let before = state.parked.len();
        state.parked.retain(|(parked, _)| *parked != id);
        state.parked.len() < before
    }

    /// A worker is gone, for whatever reason; the job it had, if any, was not tried.
    pub(crate) fn worker_left(self: &Arc<Self>, id: u64, job: Option<Job>) {
        let mut state = self.lock();
        state.workers -= 1;
        state.parked.retain(|(parked, _)| *parked != id);
        let gave_back = job.is_some();
        if let Some(job) = job {
            state.take_back(job);
        }
        let call = if state.gate == Gate::Open && (gave_back || state.workers == 0) {
            self.stir(&mut state, self.shared.clock.now())
        } else {
            Call::Nobody
        };
        drop(state);
        self.carry_out(call);
        self.shared.calmer.notify_waiters();
    }
}

/// What a worker without work does.
pub(crate) enum Rest {
    /// Lies until it is woken.
    Lie,
    /// Takes what has come meanwhile.
    GetUp,
    /// Goes.
    Leave,
}
