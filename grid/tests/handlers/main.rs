//! Destinations beside webhooks, against the real thing. `cargo xtask handlers` installs the peers and runs these
//! tests; a plain test run names them as ignored.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod azurite;
mod blobs;
mod hooks;
mod messages;
mod outage;
mod process;
mod queues;
mod rabbitmq;
mod world;
