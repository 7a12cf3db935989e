//! The one place that reads a real clock for measuring.
//!
//! A measurement is about real time, so it does not go through `Clock`.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the first call in this process.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement is about real time"
)]
pub(super) fn nanos() -> u64 {
    let start = *START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Time since a moment that `nanos` told.
pub(super) fn since(moment: u64) -> Duration {
    Duration::from_nanos(nanos().saturating_sub(moment))
}

/// Lets real time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement is about real time"
)]
pub(super) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Lets real time pass until `moment` as `nanos` tells it.
pub(super) async fn pause_until(moment: u64) {
    let left = moment.saturating_sub(nanos());
    if left > 0 {
        pause(Duration::from_nanos(left)).await;
    }
}
