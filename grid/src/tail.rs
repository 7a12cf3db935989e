//! What happened lately.

/// TODO replaced in a moment.
#[derive(Clone, Debug)]
pub struct Activity {}
