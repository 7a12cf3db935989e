//! One write: the closure on its way in, its answer on the way out.
//!
//! Promise: the author may stop listening at any moment; what the closure changed is kept or not all the same.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::queue::Waiting;
use crate::txn::Workspace;
use crate::{Partition, StoreError, Txn, WriteError};

pub(crate) struct Job<F, T, E> {
    partition: Partition,
    forced: bool,
    change: Mutex<Option<F>>,
    slot: Mutex<Slot<T, E>>,
}

struct Slot<T, E> {
    outcome: Outcome<T, E>,
    author: Option<Waker>,
}

enum Outcome<T, E> {
    /// The closure did not run yet.
    Waiting,
    /// The closure agreed; whether its changes are stored is not known yet.
    Agreed(T),
    Answered(Result<T, WriteError<E>>),
    /// The author has the answer.
    Taken,
}

impl<F, T, E> Job<F, T, E> {
    pub(crate) fn new(partition: Partition, forced: bool, change: F) -> Arc<Self> {
        let slot = Slot {
            outcome: Outcome::Waiting,
            author: None,
        };
        Arc::new(Self {
            partition,
            forced,
            change: Mutex::new(Some(change)),
            slot: Mutex::new(slot),
        })
    }

    pub(crate) fn answer_of(job: Arc<Self>) -> Answer<F, T, E> {
        Answer(job)
    }
}

impl<F, T, E> Waiting for Job<F, T, E>
where
    F: FnOnce(&mut Txn<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn is_forced(&self) -> bool {
        self.forced
    }

    fn run(&self, workspace: &mut Workspace) {
        let Some(change) = self.change.lock().take() else {
            return;
        };
        let outcome = workspace.attempt(self.partition, |txn| {
            // A closure that panics must not take the writer with it.
            match catch_unwind(AssertUnwindSafe(|| change(txn))) {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(refusal)) => Err(WriteError::Refused(refusal)),
                Err(_) => {
                    tracing::error!("a change panicked; it was undone");
                    let error = StoreError::Failed("the change panicked".into());
                    Err(WriteError::NotStored(error))
                }
            }
        });
        self.slot.lock().outcome = match outcome {
            Ok(value) => Outcome::Agreed(value),
            Err(error) => Outcome::Answered(Err(error)),
        };
    }

    fn answer(&self, stored: Result<(), &StoreError>) {
        let mut slot = self.slot.lock();
        let outcome = std::mem::replace(&mut slot.outcome, Outcome::Taken);
        slot.outcome = match (outcome, stored) {
            (Outcome::Agreed(value), Ok(())) => Outcome::Answered(Ok(value)),
            (Outcome::Waiting | Outcome::Agreed(_), Err(error)) => {
                Outcome::Answered(Err(WriteError::NotStored(error.clone())))
            }
            (outcome, _) => outcome,
        };
        let author = slot.author.take();
        drop(slot);
        if let Some(author) = author {
            author.wake();
        }
    }
}

/// Ends with the outcome of a job.
pub(crate) struct Answer<F, T, E>(Arc<Job<F, T, E>>);

impl<F, T, E> Future for Answer<F, T, E> {
    type Output = Result<T, WriteError<E>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.slot.lock();
        match std::mem::replace(&mut slot.outcome, Outcome::Taken) {
            Outcome::Answered(answer) => Poll::Ready(answer),
            unfinished => {
                slot.outcome = unfinished;
                let known = slot
                    .author
                    .as_ref()
                    .is_some_and(|w| w.will_wake(context.waker()));
                if !known {
                    slot.author = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}
