//! Handing out tokens.
//!
//! Promise: no token outlives 24 hours, and none is handed out that was revoked, or whose identity was deleted,
//! before it was made.
//! Source: reference communication-services 3.2 and 5.

use std::sync::Arc;
use std::time::Duration;

use gridpost_model::{Secret, Timestamp};
use gridpost_store::{StoreError, WriteError};

use super::claims::Claims;
use super::id::is_guid;
use super::rates::Call;
use super::rows::{self, Identity};
use crate::identity::{IdentityError, Scope, Scopes, UserId};
use crate::resources::CommunicationService;
use crate::{Comms, tables};

/// No token lives longer.
pub(crate) const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How exact the moment of an identity's last token is: a soft write for each token would be one too many.
const LAST_TOKEN_GRAIN: Duration = Duration::from_secs(60);

/// How long a token is good: 60 to 1440 minutes, 1440 unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(Duration);

/// The number of minutes is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("A token lives 60 to 1440 minutes; {0} was asked for.")]
pub struct BadLifetime(pub i64);

impl Lifetime {
    /// So many minutes.
    ///
    /// # Errors
    /// There are less than 60 or more than 1440.
    pub fn of_minutes(minutes: i64) -> Result<Self, BadLifetime> {
        match u64::try_from(minutes) {
            Ok(count) if (60..=1440).contains(&count) => Ok(Self(Duration::from_secs(count * 60))),
            _ => Err(BadLifetime(minutes)),
        }
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self(LONGEST_LIFETIME)
    }
}

/// What a token should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenWish {
    /// What it lets its bearer do.
    pub scopes: Scopes,
    /// How long it is good.
    pub lifetime: Lifetime,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The JSON web token.
    pub text: Secret,
    /// From then on it is refused. A whole second.
    pub expires: Timestamp,
}

impl Comms {
    /// Issues a token for an identity.
    ///
    /// # Errors
    /// There is no such identity of this resource, or its row cannot be read.
    pub async fn issue_token(
        &self,
        service: &Arc<CommunicationService>,
        id: &UserId,
        wish: TokenWish,
    ) -> Result<AccessToken, IdentityError> {
        let identity = self.identity_of(service, id)?;
        self.count(Call::Issue, service)?;
        self.issue_as_wished(service, &identity, wish).await
    }

    pub(crate) async fn issue_as_wished(
        &self,
        service: &Arc<CommunicationService>,
        identity: &Identity,
        wish: TokenWish,
    ) -> Result<AccessToken, IdentityError> {
        let expires = self.0.settings.clock.wall() + wish.lifetime.0;
        self.issue_until(service, identity, wish.scopes, expires)
            .await
    }

    pub(crate) async fn issue_until(
        &self,
        service: &Arc<CommunicationService>,
        identity: &Identity,
        scopes: Scopes,
        expires: Timestamp,
    ) -> Result<AccessToken, IdentityError> {
        let subject = identity.id.in_token();
        let mut seal = identity.seal.clone();
        loop {
            let token = self
                .sign(service, subject, scopes, Some(seal.clone()), expires)
                .await?;
            self.note_token(service, identity).await;
            // Another round only when its tokens were revoked meanwhile: this one would be dead when it is handed out.
            let now = self.identity_of(service, &identity.id)?;
            if now.seal == seal {
                return Ok(token);
            }
            seal = now.seal;
        }
    }

    /// Issues a token for a Teams user, who is nobody's identity here: `8:orgid:` and the object's GUID.
    ///
    /// # Errors
    /// The object is no GUID, or no key could be kept.
    pub async fn issue_teams_token(
        &self,
        service: &Arc<CommunicationService>,
        object: &str,
        expires: Timestamp,
    ) -> Result<AccessToken, IdentityError> {
        if !is_guid(object) {
            return Err(IdentityError::BadObject);
        }
        self.count(Call::Exchange, service)?;
        let subject = format!("orgid:{}", object.to_ascii_lowercase());
        let scopes = Scopes::of_one(Scope::Chat).and(Scope::Voip);
        self.sign(service, &subject, scopes, None, expires).await
    }

    async fn sign(
        &self,
        service: &CommunicationService,
        subject: &str,
        scopes: Scopes,
        seal: Option<Box<str>>,
        expires: Timestamp,
    ) -> Result<AccessToken, IdentityError> {
        let now = self.0.settings.clock.wall();
        let expires = expires.min(now + LONGEST_LIFETIME);
        let key = self.0.identity_keys.current(&self.0.store, now).await?;
        let claims = Claims::new(service, subject, scopes, seal, now, expires);
        Ok(AccessToken {
            text: Secret::new(key.sign(&claims)?),
            expires: Timestamp::from_seconds(claims.exp),
        })
    }

    /// Remembers when the identity was given a token; an identity that asks every second costs one write a minute. It is
    /// only shown, so nobody is refused a token because it could not be kept.
    async fn note_token(&self, service: &Arc<CommunicationService>, identity: &Identity) {
        let now = self.0.settings.clock.now();
        let is_recent = |last: Timestamp| now.since(last) < LAST_TOKEN_GRAIN;
        if identity.last_token.is_some_and(is_recent) {
            return;
        }
        let id = identity.id.clone();
        let noted = self.0.store.write_soon(service.partition(), move |txn| {
            if let Some(mut row) = txn.get(&tables::IDENTITIES, rows::key(&id))? {
                row.last_token = Some(now);
                txn.put(&tables::IDENTITIES, row.key(), &row)?;
            }
            Ok(())
        });
        if let Err(error) = noted.await.map_err(WriteError::<StoreError>::into_inner) {
            tracing::debug!(%error, "when a user was given a token was not kept: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_5_a_token_lives_60_to_1440_minutes() {
        for minutes in [60, 61, 1440] {
            assert!(Lifetime::of_minutes(minutes).is_ok(), "{minutes}");
        }
        for minutes in [i64::MIN, -60, 0, 59, 1441, i64::MAX] {
            assert_eq!(Lifetime::of_minutes(minutes), Err(BadLifetime(minutes)));
        }
        assert_eq!(Lifetime::of_minutes(1440), Ok(Lifetime::default()));
    }
}
