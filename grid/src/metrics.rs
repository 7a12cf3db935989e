//! Counters.

/// TODO replaced in a moment.
#[derive(Clone, Debug)]
pub struct Metrics {}
/// TODO replaced in a moment.
#[derive(Clone, Debug, Default)]
pub struct Pending {}
