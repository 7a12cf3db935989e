//! The time of day, for the expiry in a VAPID token.
//!
//! Promise: the only place here that reads a clock.

#![expect(
    clippy::disallowed_methods,
    reason = "a push service compares a token's expiry with its own clock; there is no virtual clock to turn"
)]

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
