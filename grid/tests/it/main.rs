//! Whole routers, with a store on disk, a clock that is turned by hand and endpoints that answer as told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod access;
mod control;
mod dead_letters;
mod delivery;
mod domains;
mod endpoint;
mod explain;
mod functions;
mod options;
mod replay;
mod resources;
mod world;
