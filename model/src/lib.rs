//! The vocabulary of Gridpost: identifiers, events, filters, policies and time.
//!
//! Promise: pure and synchronous. Nothing here does I/O, knows a runtime, reads a clock or rolls a die by itself.
//! Not here: how any of it is stored (`store`), decided about (`grid`, `comms`) or written on a wire (`api`).

pub mod chance;
pub mod event;
pub mod event_type;
pub mod filter;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod keys;
pub mod mapping;
pub mod phone_number;
pub mod resource_id;
pub mod role;
pub mod secret;
pub mod subscription;
pub mod time;
pub mod trace;

pub use chance::Chance;
pub use event::{Event, EventSchema};
pub use filter::Filter;
pub use keys::{AccessKey, KeyPair, WhichKey};
pub use mapping::{InputSchema, MappedField, Mapping};
pub use phone_number::PhoneNumber;
pub use resource_id::ResourceId;
pub use role::{Plane, Role};
pub use secret::Secret;
pub use subscription::{Destination, RetryPolicy};
pub use time::{Clock, Timestamp};
pub use trace::TraceContext;

/// Marks a broken invariant: fails a test at once, and in production is counted, logged by the caller and survived.
///
/// Evaluates to nothing; write what happens next after it.
#[macro_export]
macro_rules! never {
    ($($message:tt)+) => {
        if cfg!(debug_assertions) {
            panic!($($message)+);
        } else {
            $crate::broken_invariant(&format!($($message)+));
        }
    };
}

static BROKEN_INVARIANTS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Counts a broken invariant; called by [`never!`].
pub fn broken_invariant(message: &str) {
    BROKEN_INVARIANTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    tracing::error!("broken invariant: {message}");
}

/// How many invariants were found broken since the process started; shown as a metric, expected to be zero.
pub fn broken_invariants() -> u64 {
    BROKEN_INVARIANTS.load(std::sync::atomic::Ordering::Relaxed)
}
