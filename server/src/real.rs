//! The real clock, real chance and real tasks.
//!
//! Promise: time never goes backwards while the process lives; chance comes from the operating system; a task that
//! panics is reported and counted, and takes nothing else with it.
//! Not here: the virtual ones (`sim`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use gridpost_model::time::Sleep;
use gridpost_model::{Chance, Clock, Timestamp};
use rand::RngCore as _;
use tokio::runtime::Handle;

/// The clock of this machine.
#[derive(Default)]
pub struct SystemClock {
    /// The latest moment shown, in ticks: the machine's clock may be set back, ours stands still until it caught up.
    latest: AtomicI64,
}

/// The longest single sleep. A machine that was suspended, or whose clock was set, is noticed after this long.
const NAP: Duration = Duration::from_secs(60);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let ticks = machine_ticks();
        Timestamp::from_ticks(self.latest.fetch_max(ticks, Ordering::Relaxed).max(ticks))
    }

    fn sleep_until(&self, moment: Timestamp) -> Sleep {
        Box::pin(async move {
            loop {
                let now = Timestamp::from_ticks(machine_ticks());
                let left = moment.since(now);
                if left.is_zero() {
                    return;
                }
                nap(left.min(NAP)).await;
            }
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everything else asks"
)]
fn machine_ticks() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos() / 100).unwrap_or(i64::MAX / 2)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everything else sleeps by"
)]
pub(crate) async fn nap(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Chance from a generator of this thread, seeded and reseeded by the operating system: fit for keys, and without a
/// system call for each request's number.
#[derive(Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the chance that everything else draws from"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Starts tasks and notices those that fail.
#[derive(Clone)]
pub struct Supervisor {
    runtime: Handle,
    failures: Arc<AtomicU64>,
}

impl Supervisor {
    /// The supervisor of the runtime this is called in.
    pub fn of_this_runtime() -> Self {
        Self {
            runtime: Handle::current(),
            failures: Arc::default(),
        }
    }

    /// Starts a task. Works from any thread: the store's writer wakes lanes.
    pub fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let failures = Arc::clone(&self.failures);
        self.runtime.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                // The panic itself was printed by the panic hook. What the task had in hand is durable or unanswered.
                failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(task.name = name, "the task {name} failed and was ended");
            }
        });
    }

    /// How many tasks have failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_does_not_go_back_when_the_machines_does() {
        let clock = SystemClock::default();
        let ahead = clock.now() + Duration::from_secs(3600);
        clock.latest.store(ahead.ticks(), Ordering::Relaxed);
        assert_eq!(clock.now(), ahead);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_alone() {
        let supervisor = Supervisor::of_this_runtime();
        let (done, finished) = tokio::sync::oneshot::channel();
        supervisor.spawn("broken", Box::pin(async { panic!("on purpose") }));
        supervisor.spawn("sound", Box::pin(async { done.send(()).unwrap() }));
        finished.await.unwrap();
        while supervisor.failures() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(supervisor.failures(), 1);
    }
}
