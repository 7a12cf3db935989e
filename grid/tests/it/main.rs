//! Whole routers, with a store on disk, a clock that is turned by hand and endpoints that answer as told.

mod control;
mod endpoint;
mod world;
