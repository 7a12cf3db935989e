//! Bearer tokens on calls.
//!
//! Promise: a principal comes from a token that we signed, that is valid now, and whose client still exists.
//! Not here: issuing tokens (`token`), how a refusal looks on a surface (`problem`).

use http::HeaderMap;

use super::Principal;
use crate::{Parts, issuer, token};

/// Why a call has no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// There is no `Authorization: Bearer`.
    #[error("The 'Authorization' header is missing or has no bearer token.")]
    Missing,
    /// The token is not one of ours, or its client is gone.
    #[error("The access token is invalid.")]
    Invalid,
    /// The token was ours.
    #[error("The access token has expired.")]
    Expired,
}

/// The principal that a request's token names. Its audience does not matter: all audiences are this server.
///
/// # Errors
/// There is no token, or not a valid one.
pub fn authenticate(parts: &Parts, headers: &HeaderMap) -> Result<Principal, Unauthenticated> {
    let token = token_of(headers).ok_or(Unauthenticated::Missing)?;
    let claims = parts.tokens.verify(token).ok_or(Unauthenticated::Invalid)?;
    if !token::is_current(&claims, parts.clock.wall()) {
        return Err(Unauthenticated::Expired);
    }
    // What we sent to somebody's endpoint does not let that somebody in.
    if claims.appid == issuer::APPLICATION {
        return Err(Unauthenticated::Invalid);
    }
    if claims.tid != parts.tenant.tenant_id || parts.grid.principal(&claims.appid).is_none() {
        return Err(Unauthenticated::Invalid);
    }
    Ok(Principal {
        client_id: claims.appid,
    })
}

/// The text of a bearer token, whoever issued it.
pub(crate) fn token_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
