//! Whose token this is.
//!
//! Promise: a user comes only from a token that we signed, that has not expired, and whose identity exists and has not
//! had its tokens revoked since.

use std::sync::Arc;

use gridpost_model::Timestamp;
use gridpost_store::{StoreError, Txn};

use super::rows;
use crate::identity::{Scope, Scopes, UserId};
use crate::resources::CommunicationService;
use crate::{Comms, tables};

/// Whoever presented a good token.
#[derive(Clone, Debug)]
pub struct User {
    /// The identity.
    pub id: UserId,
    /// The resource it is of.
    pub resource: Arc<CommunicationService>,
    /// What the token allows.
    pub scopes: Scopes,
    /// When the token ends.
    pub expires: Timestamp,
    /// What the token was sealed with: another seal of its identity ends it.
    pub seal: Box<str>,
}

impl User {
    /// Whether the token allows what `scope` does.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.allow(scope)
    }

    /// Whether the token is good as a transaction sees it. Between a call's first line and its transaction the tokens
    /// may be revoked, the identity or its resource deleted.
    pub(crate) fn is_good(&self, txn: &Txn<'_>) -> Result<bool, StoreError> {
        let identity = txn.get(&tables::IDENTITIES, rows::key(&self.id))?;
        let is_sealed = identity.is_some_and(|identity| identity.seal == self.seal);
        Ok(is_sealed && self.resource.is_kept(txn)?)
    }
}

/// Why a token counts for nothing.
#[derive(Debug, thiserror::Error)]
pub enum BadToken {
    /// We did not sign it, it is of no user of ours, or its resource is gone.
    #[error("the token is not one of a user of ours")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its identity's tokens were revoked, or the identity was deleted.
    #[error("the token was revoked")]
    Revoked,
    /// The identity cannot be read.
    #[error("the identity was not read")]
    NotRead(#[from] StoreError),
}

impl Comms {
    /// The user of a token.
    ///
    /// # Errors
    /// The token is not good.
    pub fn user_of(&self, token: &str) -> Result<User, BadToken> {
        let now = self.0.settings.clock.wall();
        let claims = self
            .0
            .identity_keys
            .claims_of(token, now)
            .ok_or(BadToken::Unknown)?;
        let id = claims.user().ok_or(BadToken::Unknown)?;
        let resource = self
            .0
            .registry
            .service_with(&claims.resource)
            .filter(|service| service.immutable_id == id.resource())
            .ok_or(BadToken::Unknown)?;
        let expires = Timestamp::from_seconds(claims.exp);
        if expires <= now {
            return Err(BadToken::Expired);
        }
        let snapshot = self.0.store.snapshot();
        let identity = snapshot
            .get(&tables::IDENTITIES, resource.partition(), rows::key(&id))?
            .ok_or(BadToken::Revoked)?;
        if claims.seal.as_ref() != Some(&identity.seal) {
            return Err(BadToken::Revoked);
        }
        Ok(User {
            id,
            resource,
            scopes: claims.scopes,
            expires,
            seal: identity.seal,
        })
    }

    /// Whether the token of a user that was seen before is good still.
    ///
    /// # Errors
    /// It is not, or the identity cannot be read.
    pub fn check_again(&self, user: &User) -> Result<(), BadToken> {
        if user.expires <= self.0.settings.clock.wall() {
            return Err(BadToken::Expired);
        }
        let resource = self.0.registry.service_with(user.id.resource());
        let resource = resource.ok_or(BadToken::Unknown)?;
        let snapshot = self.0.store.snapshot();
        let key = rows::key(&user.id);
        let identity = snapshot.get(&tables::IDENTITIES, resource.partition(), key)?;
        match identity {
            Some(identity) if identity.seal == user.seal => Ok(()),
            _ => Err(BadToken::Revoked),
        }
    }
}
