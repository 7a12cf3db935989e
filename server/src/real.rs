//! The real clock, real chance and real tasks.
//!
//! Promise: time never goes backwards while the process lives; chance comes from the operating system; a task that
//! panics is reported and counted, and takes nothing else with it.
//! Not here: the virtual ones (`sim`).

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use gridpost_model::time::Sleep;
use gridpost_model::{Chance, Clock, Timestamp};
use rand::RngCore as _;
use tokio::runtime::Handle;

/// The clock of this machine. When the machine's clock is set back, ours goes on from where it was.
#[derive(Clone, Default)]
pub struct SystemClock {
    /// What to add to the ticks since the start. It only grows.
    ahead: Arc<AtomicI64>,
}

/// The longest single sleep. A machine that was suspended, or whose clock was set, is noticed after this long.
const NAP: Duration = Duration::from_secs(60);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.show(machine_ticks(), ticks_since_start())
    }

    fn sleep_until(&self, moment: Timestamp) -> Sleep {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                let left = moment.since(clock.now());
                if left.is_zero() {
                    return;
                }
                nap(left.min(NAP)).await;
            }
        })
    }
}

impl SystemClock {
    fn show(&self, machine: i64, since_start: i64) -> Timestamp {
        let ahead = machine - since_start;
        let mut most = self.ahead.load(Ordering::Relaxed);
        // Written seldom: every core reads this line all the time.
        if most < ahead {
            most = self.ahead.fetch_max(ahead, Ordering::Relaxed).max(ahead);
        }
        Timestamp::from_ticks(since_start + most)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everything else asks"
)]
fn machine_ticks() -> i64 {
    ticks(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everything else asks"
)]
fn ticks_since_start() -> i64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    ticks(START.elapsed())
}

fn ticks(span: Duration) -> i64 {
    i64::try_from(span.as_nanos() / 100).unwrap_or(i64::MAX / 4)
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
    fn the_clock_goes_on_when_the_machines_is_set_back() {
        let clock = SystemClock::default();
        assert_eq!(clock.show(1_000_000, 100).ticks(), 1_000_000);
        assert_eq!(clock.show(5, 300).ticks(), 1_000_200);
        assert_eq!(clock.show(2_000_000, 400).ticks(), 2_000_000);
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
