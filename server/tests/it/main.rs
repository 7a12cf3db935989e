//! The product as a client sees it: a whole server on a free port, a clock we turn, and endpoints of our own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apply_at_start;
#[path = "../../../grid/tests/handlers/azurite.rs"]
#[expect(dead_code, reason = "queues are tested in `grid`")]
mod azurite;

mod access;
mod apply;
mod chat;
mod cli;
mod clock;
mod cloud_events;
mod crash;
mod day;
mod declare;
mod declare_email;
mod delivery;
mod explain;
mod faults;
mod http;
mod life;
mod live;
mod main_job;
#[path = "../../../grid/tests/handlers/process.rs"]
#[expect(dead_code, reason = "outages of peers are tested in `grid`")]
mod process;
mod push;
mod resources;
mod retries;
mod served;
mod sms;
mod subscriptions;
mod subscriptions_below;
mod terminal;
mod traces;
mod typed;
mod webhook;
mod world;
