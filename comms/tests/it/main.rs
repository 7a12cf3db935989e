//! The communication services on a real store and a real router, with a clock that the tests turn.

#![expect(
    clippy::unwrap_used,
    reason = "the hands of the tests panic where a test would"
)]

mod carrier;
mod chat;
mod chat_pages;
mod crash;
mod identity;
mod opt_out;
mod receive;
mod resources;
mod send;
mod world;
