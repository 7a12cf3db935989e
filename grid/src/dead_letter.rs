//! The last resting place.

/// TODO replaced in a moment.
#[derive(Clone, Debug)]
pub struct DeadLetter {}
/// TODO replaced in a moment.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterQuery {}
