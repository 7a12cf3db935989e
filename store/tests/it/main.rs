//! The store as its callers see it, on real files, with a disk that fails on demand.
#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]

mod disk_full;
mod follow;
mod model;
mod reopen;
mod speed;
mod support;
mod torn;
mod transactions;
