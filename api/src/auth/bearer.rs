//! Bearer tokens on calls.
//!
//! Promise: a principal comes from a token that we signed for the surface that is called, that is valid now, and whose
//! client still exists. A token made for somebody else opens nothing here, lest that somebody uses it.
//! Not here: issuing tokens (`token`), how a refusal looks on a surface (`problem`).
//! Source: reference event-grid 2.5, communication-services 3.3, management 2.1.

use http::uri::Uri;
use http::{HeaderMap, request};

use super::{Principal, machine};
use crate::own::guard::is_own_host;
use crate::{Parts, issuer, origin, token};

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
    /// The token is for somebody else.
    #[error("The access token was issued for another audience.")]
    OtherAudience,
}

/// What a token has to be made for. A token for this server is right everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Resource Manager, and our own REST.
    Management,
    /// Publishing.
    EventGrid,
    /// The communication services.
    Communication,
}

impl Audience {
    /// Whether this service is called so. Scopes of clients end in one slash, in two, or in none.
    fn is(self, audience: &str) -> bool {
        let audience = audience.trim_end_matches('/').to_ascii_lowercase();
        match self {
            Self::Management => matches!(
                &*audience,
                "https://management.azure.com" | "https://management.core.windows.net"
            ),
            Self::EventGrid => audience == "https://eventgrid.azure.net",
            Self::Communication => {
                let clients = audience.strip_prefix("https://communication.azure.com");
                clients.is_some_and(|rest| rest.is_empty() || rest.starts_with("/clients/"))
                    || audience == "https://auth.msft.communication.azure.com"
            }
        }
    }
}

/// The principal that a request's token names.
///
/// # Errors
/// There is no token, or not a valid one for `audience`.
pub fn authenticate(
    parts: &Parts,
    head: &request::Parts,
    audience: Audience,
) -> Result<Principal, Unauthenticated> {
    let token = token_of(&head.headers).ok_or(Unauthenticated::Missing)?;
    let claims = parts.tokens.verify(token).ok_or(Unauthenticated::Invalid)?;
    if !token::is_current(&claims, parts.clock.wall()) {
        return Err(Unauthenticated::Expired);
    }
    // What we sent to somebody's endpoint does not let that somebody in.
    if claims.appid == issuer::APPLICATION {
        return Err(Unauthenticated::Invalid);
    }
    if claims.tid != parts.tenant.tenant_id {
        return Err(Unauthenticated::Invalid);
    }
    let principal = if claims.appid == machine::CLIENT {
        machine::principal()
    } else {
        let known = parts.grid.principal(&claims.appid);
        let known = known.ok_or(Unauthenticated::Invalid)?;
        Principal {
            client_id: known.client_id.clone(),
            object_id: known.object_id.clone(),
        }
    };
    if !is_for(parts, head, audience, &claims.aud) {
        return Err(Unauthenticated::OtherAudience);
    }
    Ok(principal)
}

/// Whether what a token was made for is this surface.
pub(crate) fn is_for(
    parts: &Parts,
    head: &request::Parts,
    audience: Audience,
    claim: &str,
) -> bool {
    audience.is(claim) || is_this_server(parts, head, claim)
}

/// Whether an audience is this server under one of its names. A forged `Host` adds none.
fn is_this_server(parts: &Parts, head: &request::Parts, audience: &str) -> bool {
    let Ok(audience) = audience.parse::<Uri>() else {
        return false;
    };
    let bare = matches!(audience.path().trim_matches('/'), "") && audience.query().is_none();
    let named = audience.host().is_some_and(|host| is_own_host(parts, host));
    let port = port_of(&audience);
    let dialled = origin::own_base_url(parts, head);
    let is_ours = |base: &str| base.parse().is_ok_and(|base: Uri| port_of(&base) == port);
    bare && named && port.is_some() && (is_ours(&dialled) || is_ours(&parts.base_url))
}

fn port_of(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    })
}

/// The text of a bearer token, whoever issued it.
pub(crate) fn token_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_surface_knows_its_audiences() {
        use Audience::{Communication, EventGrid, Management};
        let table = [
            ("https://management.azure.com", Some(Management)),
            ("https://management.azure.com/", Some(Management)),
            ("https://management.core.windows.net/", Some(Management)),
            ("https://eventgrid.azure.net", Some(EventGrid)),
            ("https://EventGrid.azure.net/", Some(EventGrid)),
            ("https://communication.azure.com/", Some(Communication)),
            (
                "https://communication.azure.com/clients/VoIP",
                Some(Communication),
            ),
            (
                "https://auth.msft.communication.azure.com",
                Some(Communication),
            ),
            ("https://communication.azure.com.example", None),
            ("https://eventgrid.azure.net/x", None),
            ("https://my-own-api.example", None),
            ("", None),
        ];
        for (audience, surface) in table {
            for one in [Management, EventGrid, Communication] {
                assert_eq!(one.is(audience), surface == Some(one), "{audience} {one:?}");
            }
        }
    }
}
