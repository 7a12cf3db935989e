//! The binary `gridpost`: configuration, assembly, the one port, the command line, and leaving in order.
//!
//! Promise: everything below receives its time, its chance, its tasks and its settings from here.
//! Not here: what the product does (`api`, `comms`, `grid`, `store`).
//!
//! It is a library so that the tests can run a whole server inside themselves.

pub mod assembly;
pub mod bench;
pub mod certificates;
pub mod cli;
pub mod client;
pub mod config;
mod conversation;
pub mod crash;
pub mod credentials;
pub mod declare;
pub mod drain;
pub mod files;
pub mod handlers;
pub mod listener;
pub mod moved;
mod nearest;
pub mod open_files;
pub mod output;
pub mod provision;
pub mod real;
pub mod running;
pub mod session;
pub mod telemetry;
pub mod watch;
