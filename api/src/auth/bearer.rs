//! Bearer tokens on Resource Manager calls.

use http::HeaderMap;

use super::Principal;
use crate::Parts;

/// Why a call has no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// There is no `Authorization: Bearer`.
    #[error("the 'Authorization' header is missing or is not a bearer token")]
    Missing,
    /// The token is not one of ours.
    #[error("the access token is invalid")]
    Invalid,
    /// The token was ours.
    #[error("the access token has expired")]
    Expired,
}

/// The principal that a request's token names.
///
/// # Errors
/// There is no token, or not a valid one.
pub fn authenticate(parts: &Parts, headers: &HeaderMap) -> Result<Principal, Unauthenticated> {
    let _ = parts;
    let token = token_of(headers).ok_or(Unauthenticated::Missing)?;
    let _ = token;
    Err(Unauthenticated::Invalid)
}

fn token_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
