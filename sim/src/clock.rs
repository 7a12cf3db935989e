//! A clock that moves when it is told to.
//!
//! Promise: `now` changes only by `turn_to`; every sleeper whose moment has been reached is woken before `turn_to`
//! returns. Sleepers that were dropped are forgotten.
//! Not here: when to turn it and what to wait for in between (the tests' `World`).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gridpost_model::time::Sleep;
use gridpost_model::{Clock, Timestamp};
use parking_lot::Mutex;

/// A virtual clock. Clones show the same time.
#[derive(Clone)]
pub struct VirtualClock(Arc<Mutex<State>>);

struct State {
    now: Timestamp,
    /// Who waits for which moment; the number keeps equal moments apart.
    sleepers: BTreeMap<(Timestamp, u64), Option<Waker>>,
    next_number: u64,
}

impl VirtualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(State {
            now,
            sleepers: BTreeMap::new(),
            next_number: 0,
        })))
    }

    /// The earliest moment somebody waits for.
    pub fn next_alarm(&self) -> Option<Timestamp> {
        self.0
            .lock()
            .sleepers
            .first_key_value()
            .map(|((moment, _), _)| *moment)
    }

    /// Shows `moment` from now on and wakes who waited for it. A moment in the past changes nothing.
    pub fn turn_to(&self, moment: Timestamp) {
        let mut state = self.0.lock();
        let now = state.now.max(moment);
        state.now = now;
        let later = state.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.sleepers, later);
        drop(state);
        due.into_values().flatten().for_each(Waker::wake);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }

    fn sleep_until(&self, moment: Timestamp) -> Sleep {
        let mut state = self.0.lock();
        let number = state.next_number;
        state.next_number += 1;
        if state.now < moment {
            // Entered before the first poll, so that `next_alarm` knows of it at once.
            state.sleepers.insert((moment, number), None);
        }
        Box::pin(Alarm {
            clock: self.clone(),
            key: (moment, number),
        })
    }
}

struct Alarm {
    clock: VirtualClock,
    key: (Timestamp, u64),
}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.0.lock();
        if self.key.0 <= state.now {
            return Poll::Ready(());
        }
        state
            .sleepers
            .insert(self.key, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clock.0.lock().sleepers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn poll(sleep: &mut Sleep) -> Poll<()> {
        sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_sleeper_wakes_when_its_moment_is_shown_and_not_before() {
        let clock = VirtualClock::at(Timestamp::EPOCH);
        let moment = Timestamp::EPOCH + Duration::from_secs(10);
        let mut sleep = clock.sleep_until(moment);
        assert_eq!(clock.next_alarm(), Some(moment));
        clock.turn_to(Timestamp::EPOCH + Duration::from_secs(9));
        assert!(poll(&mut sleep).is_pending());
        clock.turn_to(moment);
        assert!(poll(&mut sleep).is_ready());
        assert_eq!(clock.next_alarm(), None);
    }

    #[test]
    fn a_dropped_sleeper_is_forgotten() {
        let clock = VirtualClock::at(Timestamp::EPOCH);
        drop(clock.sleep_until(Timestamp::EPOCH + Duration::from_secs(1)));
        assert_eq!(clock.next_alarm(), None);
    }

    #[test]
    fn time_never_goes_backwards() {
        let clock = VirtualClock::at(Timestamp::from_seconds(5));
        clock.turn_to(Timestamp::EPOCH);
        assert_eq!(clock.now(), Timestamp::from_seconds(5));
    }
}
