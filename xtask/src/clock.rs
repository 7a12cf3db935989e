//! Real time, for tools that start and watch processes.
//!
//! Promise: the only place here that reads a clock or waits.

#![expect(
    clippy::disallowed_methods,
    reason = "the automation watches real processes; there is no virtual clock to turn"
)]

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The present moment.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits.
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Asks again every few milliseconds until `ready` gives a value, or fails after `limit`.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = now();
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("{what} took longer than {limit:?}");
        }
        pause(Duration::from_millis(5));
    }
}
