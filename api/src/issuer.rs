//! Tokens that this server issues to itself, for the Entra-protected endpoints that it sends events to.
//!
//! Promise: such a token has the application as its audience, is verified with the keys of our own discovery document,
//! and lets nobody in here.
//! Not here: when a token is asked for and how long it is used (`grid::tokens`).
//! Source: reference event-grid 5.8.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use gridpost_grid::tokens::{NoToken, Token, TokenSource};
use gridpost_model::subscription::Entra;
use gridpost_model::{Clock, Secret, Timestamp};

use crate::token::{Claims, LIFETIME, TokenKeys};

/// What we call ourselves: the identifier of the cloud service's own application, which its endpoints check.
pub const APPLICATION: &str = "4962773b-9cdb-44cf-a8bf-237846a00ab7";

/// Issues tokens with our own keys.
pub struct OwnIssuer {
    /// The keys that `/{tenant}/discovery/v2.0/keys` shows.
    pub keys: TokenKeys,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The base of the issuer's name, without a slash at its end.
    pub base_url: String,
    /// Our tenant.
    pub tenant_id: String,
}

impl OwnIssuer {
    fn issue(&self, entra: &Entra, now: Timestamp) -> Result<Token, NoToken> {
        let expires = now + LIFETIME;
        let claims = Claims {
            aud: entra.application.clone(),
            iss: format!("{}/{}/v2.0", self.base_url, self.tenant_id),
            iat: now.seconds(),
            nbf: now.seconds(),
            exp: expires.seconds(),
            tid: self.tenant_id.clone(),
            oid: APPLICATION.to_owned(),
            appid: APPLICATION.to_owned(),
            sub: APPLICATION.to_owned(),
            ver: "2.0".to_owned(),
        };
        match self.keys.sign(&claims) {
            Some(text) => Ok(Token {
                text: Secret::new(text),
                expires,
            }),
            None => Err(NoToken("the token could not be signed".to_owned())),
        }
    }
}

impl TokenSource for OwnIssuer {
    fn token<'a>(&'a self, entra: &'a Entra) -> BoxFuture<'a, Result<Token, NoToken>> {
        Box::pin(async move { self.issue(entra, self.clock.wall()) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn section_5_8_a_token_names_the_application_and_is_ours() {
        let bytes = TokenKeys::generate().unwrap();
        let now = Timestamp::from_seconds(1_800_000_000);
        let issuer = OwnIssuer {
            keys: TokenKeys::from_pkcs8(&bytes).unwrap(),
            clock: Arc::new(gridpost_sim::VirtualClock::at(now)),
            base_url: "https://127.0.0.1:8480".into(),
            tenant_id: "tenant".into(),
        };
        let entra = Entra {
            tenant: "another".into(),
            application: "api://hook".into(),
        };
        let token = issuer.token(&entra).await.unwrap();
        assert_eq!(token.expires, now + Duration::from_secs(3_600));
        let verified = TokenKeys::from_pkcs8(&bytes)
            .unwrap()
            .verify(token.text.reveal());
        let claims = verified.unwrap();
        assert_eq!(claims.aud, "api://hook");
        assert_eq!(claims.iss, "https://127.0.0.1:8480/tenant/v2.0");
        assert_eq!(claims.tid, "tenant");
        assert_eq!(claims.exp, now.seconds() + 3_600);
    }
}
