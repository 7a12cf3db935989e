//! Why a chat call was not carried out.

use gridpost_store::StoreError;

use crate::identity::Scope;
use crate::rates::TooOften;

/// What a user lacks for a chat call. The service does not tell its clients; our log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// Its token has no such scope.
    #[error("its token lacks the scope '{}'", .0.as_str())]
    Scope(Scope),
    /// It is not in the thread.
    #[error("it is no participant of the thread")]
    Membership,
    /// Somebody else said the message.
    #[error("somebody else sent the message")]
    Authorship,
}

/// Why a chat call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The user's tokens were revoked, or the user or its resource deleted, since the call began.
    #[error("Request is not authorized.")]
    Unauthorized,
    /// The user is not in the thread, or its token does not reach so far.
    #[error("User is not allowed to perform specified action.")]
    Forbidden(Lack),
    /// There is no such thread in this communication resource.
    #[error("The chat thread does not exist.")]
    NoThread,
    /// There is no such message, or the user does not see it.
    #[error("The chat message does not exist.")]
    NoMessage,
    /// A value is not acceptable.
    #[error("{message}")]
    Invalid {
        /// The field.
        target: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// Receipts and typing in a thread of more than 20 members.
    #[error("Read receipts and typing indicators are for threads of at most 20 participants.")]
    TooManyForPresence,
    /// Too many calls.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// It is more than is kept at once; trying again does not help.
    #[error("The request is larger than can be kept at once.")]
    TooLarge(#[source] StoreError),
    /// Nothing was kept.
    #[error("the chat was not stored")]
    NotStored(#[source] StoreError),
}

impl From<StoreError> for ChatError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge { .. } => Self::TooLarge(error),
            // Of the texts that come from clients only a thread's id is part of a key unread.
            StoreError::Key(_) => Self::NoThread,
            error => Self::NotStored(error),
        }
    }
}

impl ChatError {
    pub(crate) fn invalid(target: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid {
            target,
            message: message.into(),
        }
    }
}
