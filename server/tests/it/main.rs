//! The product as a client sees it: a whole server on a free port, a clock we turn, and endpoints of our own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli;
mod clock;
mod cloud_events;
mod crash;
mod delivery;
mod faults;
mod http;
mod life;
mod main_job;
mod retries;
mod sms;
mod subscriptions;
mod traces;
mod webhook;
mod world;
