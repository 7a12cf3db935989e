//! The clock of the development profile: this machine's, and what was added to it by hand.
//!
//! Promise: between moves it goes on as the machine's clock does; while it is held it shows only the moments it is
//! turned to, and wakes everybody whose moment has come. It never goes back, not even over a restart: how far ahead it
//! is stands in the data folder before anybody sees the new time.
//! Not here: which moments to turn to and what to wait for in between (`api::own::clock`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyhow::Context as _;
use gridpost_model::time::{Hands, NotHeld, Sleep};
use gridpost_model::{Clock, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::config::Profile;
use crate::files;
use crate::real::{SystemClock, nap};

/// In `held` while the clock goes on by itself. No moment that is shown.
const RUNS: i64 = i64::MIN;

/// In `held` for the instant in which the clock is stopped.
const STOPS: i64 = i64::MIN + 1;

/// The longest single real sleep: a machine that was suspended is noticed after this long.
const NAP: Duration = Duration::from_secs(60);

/// This machine's clock, movable. Clones show the same time.
#[derive(Clone)]
pub struct MovedClock(Arc<Inner>);

struct Inner {
    machine: SystemClock,
    /// Ticks to add to the machine's clock. They only grow.
    ahead: AtomicI64,
    /// What is shown while the clock is held, or [`RUNS`] or [`STOPS`].
    held: AtomicI64,
    /// Whether somebody holds it.
    taken: AtomicBool,
    /// Rises with every move, so that real timers are wound anew.
    moves: AtomicU64,
    sleepers: Mutex<Sleepers>,
    file: PathBuf,
}

#[derive(Default)]
struct Sleepers {
    /// Who waits for which moment; the number keeps equal moments apart.
    waiting: BTreeMap<(Timestamp, u64), Option<Waker>>,
    /// Those of them that the clock need not stop for.
    dozing: BTreeSet<(Timestamp, u64)>,
    next_number: u64,
}

impl Sleepers {
    fn remove(&mut self, key: (Timestamp, u64)) {
        self.waiting.remove(&key);
        self.dozing.remove(&key);
    }
}

/// What stands in the data folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    /// In units of 100 ns.
    ahead_ticks: i64,
}

/// The clock for a data folder: movable in the development profile, the machine's in production.
///
/// # Errors
/// What stands in the folder cannot be read, or production would go back in time.
pub fn open(data: &Path, profile: Profile) -> anyhow::Result<Arc<dyn Clock>> {
    let file = data.join("clock.json");
    let ahead = read(&file)?;
    match profile {
        Profile::Development => Ok(Arc::new(MovedClock::new(file, ahead))),
        Profile::Production if ahead == 0 => Ok(Arc::new(SystemClock::default())),
        Profile::Production => anyhow::bail!(
            "the clock of the data folder {} was moved on in the development profile, and what it keeps would see \
             time go back in production; use a new data folder",
            data.display()
        ),
    }
}

fn read(file: &Path) -> anyhow::Result<i64> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => {
            return Err(error).with_context(|| format!("reading {}", file.display()));
        }
    };
    let kept: Kept = serde_json::from_slice(&bytes).with_context(|| {
        format!(
            "{} is damaged; without it time would go back for what is stored",
            file.display()
        )
    })?;
    anyhow::ensure!(
        (0..=Timestamp::FAR_FUTURE.ticks() / 2).contains(&kept.ahead_ticks),
        "{} is damaged: no clock is that far ahead",
        file.display()
    );
    Ok(kept.ahead_ticks)
}

impl MovedClock {
    fn new(file: PathBuf, ahead: i64) -> Self {
        Self(Arc::new(Inner {
            machine: SystemClock::default(),
            ahead: AtomicI64::new(ahead),
            held: AtomicI64::new(RUNS),
            taken: AtomicBool::new(false),
            moves: AtomicU64::new(0),
            sleepers: Mutex::default(),
            file,
        }))
    }
}

impl MovedClock {
    fn alarm(&self, moment: Timestamp, dozes: bool) -> Alarm {
        let mut sleepers = self.0.sleepers.lock();
        let key = (moment, sleepers.next_number);
        sleepers.next_number += 1;
        if self.0.now() < moment {
            // Entered before the first poll, so that `next_alarm` knows of it at once.
            sleepers.waiting.insert(key, None);
            if dozes {
                sleepers.dozing.insert(key);
            }
        }
        drop(sleepers);
        Alarm {
            clock: Arc::clone(&self.0),
            key,
            timer: None,
            wound: 0,
            told: None,
        }
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep_until(&self, moment: Timestamp) -> Sleep {
        Box::pin(self.alarm(moment, false))
    }

    fn doze_until(&self, moment: Timestamp) -> Sleep {
        Box::pin(self.alarm(moment, true))
    }

    fn wall(&self) -> Timestamp {
        self.0.machine.now()
    }

    fn linger(&self, span: Duration) -> Sleep {
        self.0.machine.linger(span)
    }

    fn hands(&self) -> Option<&dyn Hands> {
        Some(&*self.0)
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        loop {
            match self.held.load(Ordering::Acquire) {
                RUNS => (),
                STOPS => {
                    std::hint::spin_loop();
                    continue;
                }
                held => return Timestamp::from_ticks(held),
            }
            let now = self.running();
            // A moment read while the clock was stopped may be later than what it shows then.
            if self.held.load(Ordering::Acquire) == RUNS {
                return now;
            }
        }
    }

    fn running(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::Acquire);
        Timestamp::from_ticks(self.machine.now().ticks() + ahead)
    }

    fn keep(&self, ahead: i64) -> anyhow::Result<()> {
        let kept = serde_json::to_vec(&Kept { ahead_ticks: ahead })?;
        files::write_private(&self.file, &kept)?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        for place in [&*self.file, folder] {
            std::fs::File::open(place)?.sync_all()?;
        }
        Ok(())
    }

    /// Wakes whose moment has come, and whose real timer is wound for too long.
    fn wake(&self, now: Timestamp) {
        self.moves.fetch_add(1, Ordering::AcqRel);
        let soon = (now + NAP, u64::MAX);
        let woken: Vec<Waker> = self
            .sleepers
            .lock()
            .waiting
            .range_mut(..=soon)
            .filter_map(|(_, waker)| waker.take())
            .collect();
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Hands for Inner {
    fn hold(&self, target: Timestamp) -> Result<(), NotHeld> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return Err(NotHeld::Busy);
        }
        let ahead = self.ahead.load(Ordering::Acquire);
        let most = (target.ticks() - self.machine.now().ticks()).max(ahead);
        if let Err(error) = self.keep(most) {
            self.taken.store(false, Ordering::Release);
            return Err(NotHeld::NotKept(format!("{error:#}")));
        }
        self.held.store(STOPS, Ordering::SeqCst);
        self.held.store(self.running().ticks(), Ordering::SeqCst);
        Ok(())
    }

    fn turn_to(&self, moment: Timestamp) {
        let now = moment.max(self.now());
        self.held.store(now.ticks(), Ordering::SeqCst);
        self.wake(now);
    }

    fn release(&self) {
        let shown = self.now();
        let ahead =
            (shown.ticks() - self.machine.now().ticks()).max(self.ahead.load(Ordering::Acquire));
        self.ahead.store(ahead, Ordering::SeqCst);
        self.held.store(RUNS, Ordering::SeqCst);
        self.wake(shown);
        // What was kept for the move is this much or more, so a failure only lets a restart show a later time.
        if let Err(error) = self.keep(ahead) {
            tracing::warn!("how far the clock is moved was not written down again: {error:#}");
        }
        self.taken.store(false, Ordering::Release);
    }

    fn next_alarm(&self) -> Option<Timestamp> {
        let now = self.now();
        let sleepers = self.sleepers.lock();
        let mut later = sleepers.waiting.range((now, u64::MAX)..);
        later
            .find(|(key, _)| !sleepers.dozing.contains(key))
            .map(|((moment, _), _)| *moment)
    }

    fn is_noticed(&self) -> bool {
        let now = self.now();
        let sleepers = self.sleepers.lock();
        sleepers
            .waiting
            .first_key_value()
            .is_none_or(|((moment, _), _)| now < *moment)
    }

    fn ahead(&self) -> Duration {
        self.now().since(self.machine.now())
    }

    fn rest(&self, span: Duration) -> Sleep {
        Box::pin(nap(span))
    }
}

struct Alarm {
    clock: Arc<Inner>,
    key: (Timestamp, u64),
    /// The real timer, the moment at which it rings if the clock runs, and the move it was wound after.
    timer: Option<(Sleep, Timestamp)>,
    wound: u64,
    /// Whom clock and timer wake.
    told: Option<Waker>,
}

impl Alarm {
    /// Whether all is as the last poll left it: it is still known whom to wake, and neither timer nor clock can have
    /// rung. A worker polls its alarm twice an event, and must not take the lock for that.
    fn is_wound(&self, context: &Context<'_>) -> bool {
        let (Some(waker), Some((_, rings))) = (&self.told, &self.timer) else {
            return false;
        };
        let clock = &self.clock;
        // Whoever turns the clock counts the move before it takes the waker, and wakes the task after that.
        self.wound == clock.moves.load(Ordering::Acquire)
            && waker.will_wake(context.waker())
            && clock.held.load(Ordering::Acquire) == RUNS
            && clock.running() < *rings
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.is_wound(context) {
            return Poll::Pending;
        }
        this.told = None;
        let (moment, _) = this.key;
        loop {
            let moves = this.clock.moves.load(Ordering::Acquire);
            let mut sleepers = this.clock.sleepers.lock();
            // Looked up under the lock: whoever turns the clock shows the moment first and wakes afterwards.
            let now = this.clock.now();
            let left = moment.since(now);
            if left.is_zero() {
                sleepers.remove(this.key);
                return Poll::Ready(());
            }
            sleepers
                .waiting
                .insert(this.key, Some(context.waker().clone()));
            drop(sleepers);
            if this.wound != moves {
                this.timer = None;
            }
            this.wound = moves;
            let (timer, _) = this.timer.get_or_insert_with(|| {
                let span = left.min(NAP);
                (Box::pin(nap(span)), now + span)
            });
            if timer.as_mut().poll(context).is_pending() {
                this.told = Some(context.waker().clone());
                return Poll::Pending;
            }
            this.timer = None;
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clock.sleepers.lock().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn movable(folder: &Path) -> Arc<dyn Clock> {
        open(folder, Profile::Development).unwrap()
    }

    /// Moves a clock on without stopping on the way.
    fn jump(clock: &dyn Clock, span: Duration) -> Timestamp {
        let hands = clock.hands().unwrap();
        let target = clock.now() + span;
        hands.hold(target).unwrap();
        hands.turn_to(target);
        assert_eq!(clock.now(), target);
        hands.release();
        target
    }

    #[tokio::test]
    async fn a_moved_clock_goes_on_from_where_it_was_moved_to() {
        let folder = tempfile::tempdir().unwrap();
        let clock = movable(folder.path());
        let target = jump(&*clock, seconds(3600));
        assert!(target <= clock.now());
        assert!(clock.now().since(target) < seconds(60));
        assert!(clock.wall() < clock.now() - seconds(3500));
        clock
            .sleep_until(clock.now() + Duration::from_millis(2))
            .await;
    }

    #[test]
    fn a_restart_does_not_go_back_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let target = jump(&*movable(folder.path()), seconds(3600));
        assert!(target <= movable(folder.path()).now());
    }

    #[test]
    fn a_move_that_was_cut_short_by_a_crash_is_not_undone() {
        let folder = tempfile::tempdir().unwrap();
        let clock = movable(folder.path());
        let target = clock.now() + seconds(3600);
        clock.hands().unwrap().hold(target).unwrap();
        clock.hands().unwrap().turn_to(target);
        assert!(target <= movable(folder.path()).now());
    }

    #[test]
    fn production_refuses_a_folder_whose_clock_was_moved() {
        let folder = tempfile::tempdir().unwrap();
        let production = || open(folder.path(), Profile::Production);
        assert!(production().unwrap().hands().is_none());
        jump(&*movable(folder.path()), seconds(1));
        let refusal = production().err().unwrap().to_string();
        assert!(refusal.contains("new data folder"), "{refusal}");
    }

    #[test]
    fn a_damaged_file_is_named_and_not_overlooked() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{}",
            r#"{"aheadTicks":-1}"#,
            r#"{"aheadTicks":9223372036854775807}"#,
        ] {
            std::fs::write(folder.path().join("clock.json"), text).unwrap();
            let error = open(folder.path(), Profile::Development).err().unwrap();
            assert!(error.to_string().contains("clock.json"), "{error}");
        }
    }

    #[test]
    fn only_one_moves_the_clock_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let clock = movable(folder.path());
        let hands = clock.hands().unwrap();
        hands.hold(clock.now()).unwrap();
        assert_eq!(hands.hold(clock.now()), Err(NotHeld::Busy));
        hands.release();
        hands.hold(clock.now()).unwrap();
        hands.release();
    }

    #[tokio::test]
    async fn a_held_clock_stands_and_wakes_who_waited() {
        let folder = tempfile::tempdir().unwrap();
        let clock = movable(folder.path());
        let hands = clock.hands().unwrap();
        let moment = clock.now() + seconds(3600);
        let mut sleep = clock.sleep_until(moment);
        hands.hold(moment).unwrap();
        let now = clock.now();
        let waker = Waker::noop();
        let mut poll = || sleep.as_mut().poll(&mut Context::from_waker(waker));
        assert!(poll().is_pending());
        assert_eq!(clock.now(), now);
        assert_eq!(hands.next_alarm(), Some(moment));
        hands.turn_to(moment);
        assert_eq!((hands.next_alarm(), hands.is_noticed()), (None, false));
        assert!(poll().is_ready());
        assert!(hands.is_noticed());
        hands.release();
    }

    #[tokio::test]
    async fn the_clock_does_not_stop_for_who_dozes_and_wakes_it_in_passing() {
        let folder = tempfile::tempdir().unwrap();
        let clock = movable(folder.path());
        let hands = clock.hands().unwrap();
        let now = clock.now();
        let mut doze = clock.doze_until(now + seconds(5));
        let sleep = clock.sleep_until(now + seconds(3600));
        assert_eq!(hands.next_alarm(), Some(now + seconds(3600)));
        drop(sleep);
        assert_eq!(hands.next_alarm(), None);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut poll = || doze.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        jump(&*clock, seconds(60));
        assert!(!hands.is_noticed());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(poll().is_ready());
        assert!(hands.is_noticed());
    }

    #[tokio::test]
    async fn whoever_waits_for_others_waits_as_long_as_they_do_however_the_clock_is_moved() {
        let folder = tempfile::tempdir().unwrap();
        let clock = movable(folder.path());
        let mut linger = clock.linger(seconds(5));
        let mut poll = || {
            linger
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        };
        assert!(poll().is_pending());
        jump(&*clock, seconds(60));
        assert!(clock.hands().unwrap().is_noticed());
        assert!(poll().is_pending());
    }

    #[tokio::test]
    async fn an_alarm_asked_again_still_wakes_whoever_asked_last() {
        let folder = tempfile::tempdir().unwrap();
        let clock = movable(folder.path());
        let mut sleep = clock.sleep_until(clock.now() + seconds(3600));
        let (first, second) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let mut poll = |woken: &Arc<Woken>| {
            let waker = Waker::from(Arc::clone(woken));
            sleep.as_mut().poll(&mut Context::from_waker(&waker))
        };
        // The second of each pair finds everything as the first left it.
        for woken in [&first, &first, &second, &second] {
            assert!(poll(woken).is_pending());
        }
        jump(&*clock, seconds(1800));
        let times = |woken: &Woken| woken.0.load(Ordering::Relaxed);
        assert_eq!((times(&first), times(&second)), (0, 0));
        jump(&*clock, seconds(1795));
        assert_eq!((times(&first), times(&second)), (0, 1));
        assert!(poll(&second).is_pending());
        assert!(poll(&second).is_pending());
        jump(&*clock, seconds(5));
        assert_eq!((times(&first), times(&second)), (0, 2));
        assert!(poll(&second).is_ready());
    }

    #[derive(Default)]
    struct Woken(AtomicU64);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn threads_never_see_a_held_or_moved_clock_go_back() {
        let folder = tempfile::tempdir().unwrap();
        let clock = movable(folder.path());
        let ends = clock.now() + seconds(50);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = clock.now();
                    while last < ends {
                        let now = clock.now();
                        assert!(last <= now);
                        last = now;
                    }
                });
            }
            for _ in 0..50 {
                jump(&*clock, seconds(1));
            }
        });
    }
}
