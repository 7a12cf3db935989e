//! Identities of a resource's users, and the tokens with which they act.
//!
//! Promise: a token is good from the moment it is handed out until it expires, its identity's tokens are revoked, or
//! the identity is deleted; the last two count from the transaction that keeps them. Issuing one waits for no disk.
//! Not here: how requests look (`api::identity`), who may do what in a thread (`chat`).
//! Source: reference communication-services 3.2 and 5.

mod claims;
mod delete;
pub mod id;
mod issue;
pub(crate) mod keys;
mod rates;
pub(crate) mod register;
pub(crate) mod rows;
pub mod scopes;
mod verify;

pub use id::UserId;
pub use issue::{AccessToken, Lifetime, TokenWish};
pub use keys::PublicKey;
pub use register::{Found, NewIdentity, Registered};
pub use rows::Name;
pub use scopes::{Scope, Scopes};
pub use verify::{BadToken, User};

use gridpost_store::StoreError;

use crate::rates::TooOften;

/// Why a call about an identity was refused.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The identity is of another resource.
    #[error("The identity does not belong to this resource.")]
    Foreign,
    /// There is no such identity: it never was, or it was deleted.
    #[error("There is no identity '{0}'.")]
    Unknown(UserId),
    /// The resource was deleted since the caller was let in.
    #[error("The communication resource does not exist.")]
    NoResource,
    /// The name that somebody else has given the identity is too long, empty or holds a NUL.
    #[error(
        "'customId' has 1 to {} characters, none of them NUL.",
        register::LONGEST_NAME
    )]
    BadName,
    /// A user of Teams has a GUID.
    #[error("The user's object id is no GUID.")]
    BadObject,
    /// Too many calls.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// The token could not be made.
    #[error("the token was not signed: {0}")]
    NotSigned(&'static str),
    /// It could not be kept or read.
    #[error("the identity was not stored")]
    NotStored(#[from] StoreError),
}
