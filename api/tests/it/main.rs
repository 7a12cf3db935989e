//! The surfaces over a real router, real communication services and a real store in a temporary folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod own;
mod sinks;
mod sms;
mod stack;
