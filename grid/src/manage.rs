//! What the management operations have in common: how they answer and why they refuse.
//!
//! Promise: a refusal names the field that was wrong, in the words of the service where they are known.
//! Not here: what may be written into each field (`entrances`, `system_topics`, `validation`).

use gridpost_model::ResourceId;
use gridpost_store::StoreError;

/// Whether a put made something or changed what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It did not exist before.
    New,
    /// It existed and was changed.
    Updated,
}

/// What a patch says of one value that may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// The key was not there: keep what is.
    #[default]
    Keep,
    /// The key was `null`: remove it.
    Clear,
    /// A new value.
    Set(T),
}

impl<T> Change<T> {
    /// Carries the change out.
    pub fn apply(self, value: &mut Option<T>) {
        match self {
            Self::Keep => (),
            Self::Clear => *value = None,
            Self::Set(new) => *value = Some(new),
        }
    }
}

/// A value that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The property's path on the wire: `filter.subjectBeginsWith`.
    pub field: &'static str,
    /// What is wrong with it, for the person who sent it.
    pub message: String,
}

impl Invalid {
    pub(crate) fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

/// Why a management operation was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// A value is not acceptable.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Something else stands in the way, such as a name in use.
    #[error("{0}")]
    Conflict(String),
    /// There is no such resource.
    #[error("The Resource '{0}' was not found.")]
    NotFound(ResourceId),
    /// It is more than can be kept at once. It will be so next time.
    #[error("The change is too large: {0}.")]
    TooLarge(StoreError),
    /// Nothing was changed, because it could not be kept.
    #[error("the change was not stored")]
    NotStored(#[source] StoreError),
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge { .. } => Self::TooLarge(error),
            error => Self::NotStored(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_key_keeps_and_a_null_removes() {
        let mut value = Some(1);
        Change::Keep.apply(&mut value);
        assert_eq!(value, Some(1));
        Change::Set(2).apply(&mut value);
        assert_eq!(value, Some(2));
        Change::Clear.apply(&mut value);
        assert_eq!(value, None);
    }
}
