//! How often a call may be made.
//!
//! Promise: in a window of time that begins with its first call no more calls pass than the limit says; a refusal tells
//! when the window ends, and uses nothing up. What is remembered has a bound.
//! Not here: which calls have which limits (`chat::rates`, `identity::rates`), how a refusal looks (`api`).

use std::collections::HashMap;
use std::time::Duration;

use gridpost_model::Timestamp;
use parking_lot::Mutex;

/// Windows remembered at once, at some 250 bytes each: 12 MB. When so many are there and more than half of them have
/// not ended, all are forgotten: rather some calls too many than a refusal that nobody earned.
const MOST_WINDOWS: usize = 50_000;

/// Which calls are limited, as the real service limits them.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Chat.
    pub chat: bool,
    /// Identities and their tokens.
    pub identity: bool,
    /// How many times the service's numbers are allowed here; at least 1.
    pub multiplier: u32,
}

/// Nothing is limited.
impl Default for RateLimits {
    fn default() -> Self {
        Self {
            chat: false,
            identity: false,
            multiplier: 1,
        }
    }
}

/// So many calls in a window of so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) calls: u32,
    pub(crate) seconds: u64,
}

/// Too many calls: the next one passes after so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Rate limit exceeded.")]
pub struct TooOften {
    /// How long.
    pub wait: Duration,
}

/// What counts the calls that are limited.
pub(crate) struct Limiters {
    pub(crate) chat: Option<Limiter>,
    pub(crate) identity: Option<Limiter>,
}

impl Limiters {
    pub(crate) fn new(limits: RateLimits) -> Self {
        let limiter = |is_limited: bool| is_limited.then(|| Limiter::new(limits.multiplier));
        Self {
            chat: limiter(limits.chat),
            identity: limiter(limits.identity),
        }
    }
}

/// Counts calls.
pub(crate) struct Limiter {
    multiplier: u32,
    windows: Mutex<HashMap<Key, Window>>,
}

/// Whose calls of what kind are counted, and the length of the window in seconds.
type Key = (Box<str>, u64);

struct Window {
    ends: Timestamp,
    calls: u32,
}

impl Limiter {
    fn new(multiplier: u32) -> Self {
        Self {
            multiplier,
            windows: Mutex::default(),
        }
    }

    /// Lets a call pass and counts it under every name, unless one of the limits is reached.
    pub(crate) fn admit(
        &self,
        limits: impl IntoIterator<Item = (Box<str>, Limit)>,
        now: Timestamp,
    ) -> Result<(), TooOften> {
        let limits: Vec<(Key, Limit)> = limits
            .into_iter()
            .map(|(name, limit)| ((name, limit.seconds), limit))
            .collect();
        let mut windows = self.windows.lock();
        let left = |(key, limit): &(Key, Limit)| {
            let window = windows.get(key).filter(|window| now < window.ends)?;
            let most = limit.calls.saturating_mul(self.multiplier);
            (most <= window.calls).then(|| window.ends.since(now))
        };
        if let Some(wait) = limits.iter().filter_map(left).max() {
            return Err(TooOften { wait });
        }
        make_room(&mut windows, now);
        for ((name, seconds), _) in limits {
            let ends = now + Duration::from_secs(seconds);
            let window = windows
                .entry((name, seconds))
                .or_insert(Window { ends, calls: 0 });
            if window.ends <= now {
                *window = Window { ends, calls: 0 };
            }
            window.calls += 1;
        }
        Ok(())
    }
}

fn make_room(windows: &mut HashMap<Key, Window>, now: Timestamp) {
    if windows.len() < MOST_WINDOWS {
        return;
    }
    windows.retain(|_, window| now < window.ends);
    if MOST_WINDOWS / 2 < windows.len() {
        windows.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Limit = Limit {
        calls: 2,
        seconds: 10,
    };
    const MORE: Limit = Limit {
        calls: 3,
        seconds: 60,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    fn both(name: &str) -> [(Box<str>, Limit); 2] {
        [(name.into(), FEW), (name.into(), MORE)]
    }

    fn wait(seconds: u64) -> Result<(), TooOften> {
        let wait = Duration::from_secs(seconds);
        Err(TooOften { wait })
    }

    #[test]
    fn a_window_begins_with_its_first_call_and_a_refusal_tells_its_end() {
        let limiter = Limiter::new(1);
        assert_eq!(limiter.admit(both("a"), at(0)), Ok(()));
        assert_eq!(limiter.admit(both("a"), at(4)), Ok(()));
        assert_eq!(limiter.admit(both("a"), at(4)), wait(6));
        assert_eq!(limiter.admit(both("b"), at(4)), Ok(()));
        // The refusal was not counted: one is left of the longer window.
        assert_eq!(limiter.admit(both("a"), at(10)), Ok(()));
        assert_eq!(limiter.admit(both("a"), at(11)), wait(49));
        assert_eq!(limiter.admit(both("a"), at(60)), Ok(()));
    }

    #[test]
    fn a_multiplier_allows_as_many_times_as_much() {
        let limiter = Limiter::new(3);
        for _ in 0..6 {
            assert_eq!(limiter.admit([("a".into(), FEW)], at(0)), Ok(()));
        }
        assert_eq!(limiter.admit([("a".into(), FEW)], at(0)), wait(10));
    }

    #[test]
    fn no_more_windows_are_remembered_than_the_bound() {
        let limiter = Limiter::new(1);
        let call = |number: usize, now| limiter.admit([(number.to_string().into(), FEW)], now);
        for number in 0..MOST_WINDOWS {
            assert_eq!(call(number, at(0)), Ok(()));
        }
        assert_eq!(limiter.windows.lock().len(), MOST_WINDOWS);
        // Those that ended make room.
        assert_eq!(call(MOST_WINDOWS, at(10)), Ok(()));
        assert_eq!(limiter.windows.lock().len(), 1);
        for number in 0..2 * MOST_WINDOWS {
            assert_eq!(call(number, at(30)), Ok(()));
            assert!(limiter.windows.lock().len() <= MOST_WINDOWS);
        }
    }
}
