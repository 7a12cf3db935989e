//! The surfaces over a real router, real communication services and a real store in a temporary folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod access;
mod arm;
mod audit;
mod browser;
mod chat;
mod chat_rights;
mod conditions;
mod delivery_options;
mod domains;
mod email;
mod graph;
mod held;
mod identity;
mod live;
mod manager;
mod metrics;
mod own;
mod publish;
mod rates;
mod reach;
mod roles;
mod schemas;
mod sign_in;
mod sinks;
mod sms;
mod stack;
mod token;
mod visits;
