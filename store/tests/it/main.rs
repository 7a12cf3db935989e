//! The store as its callers see it, on real files, with a disk that fails on demand.

mod disk_full;
mod follow;
mod model;
mod reopen;
mod speed;
mod support;
mod torn;
mod transactions;
