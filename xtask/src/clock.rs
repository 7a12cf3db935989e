//! Real time, to say how long steps took.
//!
//! Promise: the only place here that reads a clock.

#![expect(
    clippy::disallowed_methods,
    reason = "the automation times real processes; there is no virtual clock to turn"
)]

use std::time::Instant;

/// The present moment.
pub(crate) fn now() -> Instant {
    Instant::now()
}
