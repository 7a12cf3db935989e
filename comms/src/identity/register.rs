//! The identities of a resource: made, found, their tokens revoked.
//!
//! Promise: a name leads to one identity for as long as that identity exists.
//! Not here: deletion (`delete`).
//! Source: reference communication-services 5.

use std::sync::Arc;

use gridpost_model::Timestamp;
use gridpost_store::{Txn, WriteError};
use serde::{Deserialize, Serialize};

use super::issue::{AccessToken, TokenWish};
use super::keys::PublicKey;
use super::rates::Call;
use super::rows::{self, Identity, Name};
use crate::chat::live::Ring;
use crate::identity::{IdentityError, Scopes, UserId};
use crate::resources::CommunicationService;
use crate::{Comms, tables};

/// The longest `customId`, in characters.
pub(crate) const LONGEST_NAME: usize = 256;

/// What a new identity should be.
#[derive(Clone, Debug, Default)]
pub struct NewIdentity {
    /// `customId`: the identity that has it already is returned.
    pub custom_id: Option<String>,
    /// A token that goes with it.
    pub token: Option<TokenWish>,
}

/// What became of a wish for an identity.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The identity.
    pub id: UserId,
    /// It was made now. If not, its name led to it.
    pub is_new: bool,
    /// The token that was asked for.
    pub token: Option<AccessToken>,
}

/// An identity, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The identity.
    pub id: UserId,
    /// `customId`.
    pub custom_id: Option<String>,
    /// `lastTokenIssuedAt`, to the minute.
    pub last_token: Option<Timestamp>,
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Named(UserId);

impl Comms {
    /// Makes an identity, or finds the one of that name.
    ///
    /// # Errors
    /// The name is not acceptable, or nothing could be kept.
    pub async fn create_identity(
        &self,
        service: &Arc<CommunicationService>,
        wish: NewIdentity,
    ) -> Result<Registered, IdentityError> {
        let fits = |name: &String| {
            (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.contains('\0')
        };
        if !wish.custom_id.as_ref().is_none_or(fits) {
            return Err(IdentityError::BadName);
        }
        let call = match wish.token {
            None => Call::Create,
            Some(_) => Call::CreateWithToken,
        };
        self.count(call, service)?;
        let id = UserId::fresh(service, &*self.0.settings.chance);
        let name = wish.custom_id.map(Name::Custom);
        let (identity, is_new) = self.register(service, id, name).await?;
        let token = match wish.token {
            Some(wish) => Some(self.issue_as_wished(service, &identity, wish).await?),
            None => None,
        };
        Ok(Registered {
            id: identity.id,
            is_new,
            token,
        })
    }

    /// A token for a user of the token issuer, whose identity is made when it comes for the first time.
    ///
    /// # Errors
    /// Nothing could be kept.
    pub async fn exchange_entra_token(
        &self,
        service: &Arc<CommunicationService>,
        user: Name,
        scopes: Scopes,
        expires: Timestamp,
    ) -> Result<(UserId, AccessToken), IdentityError> {
        self.count(Call::Exchange, service)?;
        let id = UserId::fresh(service, &*self.0.settings.chance);
        let (identity, _) = self.register(service, id, Some(user)).await?;
        let token = self
            .issue_until(service, &identity, scopes, expires)
            .await?;
        Ok((identity.id, token))
    }

    async fn register(
        &self,
        service: &Arc<CommunicationService>,
        id: UserId,
        name: Option<Name>,
    ) -> Result<(Identity, bool), IdentityError> {
        let (now, chance) = (self.0.settings.clock.now(), &*self.0.settings.chance);
        let fresh = Identity::new(id, name, chance, now);
        let partition = service.partition();
        // Whoever has a name has been here before, most of the time.
        if let Some(name) = &fresh.name {
            let snapshot = self.0.store.snapshot();
            let key = (fresh.id.resource(), name.text());
            if let Some(Named(id)) = snapshot.get(&tables::IDENTITY_NAMES, partition, key)?
                && let Some(found) = snapshot.get(&tables::IDENTITIES, partition, rows::key(&id))?
            {
                return Ok((found, false));
            }
        }
        let service = Arc::clone(service);
        let kept = self
            .0
            .store
            .write(partition, move |txn| keep(txn, &service, fresh))
            .await
            .map_err(WriteError::<IdentityError>::into_inner)?;
        Ok(kept.into_inner())
    }

    /// The identity of that id.
    ///
    /// # Errors
    /// There is none in this resource.
    pub fn identity(
        &self,
        service: &CommunicationService,
        id: &UserId,
    ) -> Result<Found, IdentityError> {
        let identity = self.identity_of(service, id)?;
        Ok(Found {
            custom_id: identity
                .name
                .as_ref()
                .and_then(Name::custom)
                .map(str::to_owned),
            last_token: identity.last_token,
            id: identity.id,
        })
    }

    pub(crate) fn identity_of(
        &self,
        service: &CommunicationService,
        id: &UserId,
    ) -> Result<Identity, IdentityError> {
        check_owner(service, id)?;
        let snapshot = self.0.store.snapshot();
        snapshot
            .get(&tables::IDENTITIES, service.partition(), rows::key(id))?
            .ok_or_else(|| IdentityError::Unknown(id.clone()))
    }

    /// Ends all tokens of an identity. Tokens that are issued after this returned are good.
    ///
    /// # Errors
    /// There is no such identity, or nothing could be kept.
    pub async fn revoke_tokens(
        &self,
        service: &Arc<CommunicationService>,
        id: &UserId,
    ) -> Result<(), IdentityError> {
        check_owner(service, id)?;
        self.count(Call::Revoke, service)?;
        let seal = rows::fresh_seal(&*self.0.settings.chance);
        let (id, ring) = (id.clone(), Ring::new(&self.0.live, id));
        self.0
            .store
            .write(service.partition(), move |txn| {
                let row: Option<Identity> = txn.get(&tables::IDENTITIES, rows::key(&id))?;
                let mut row = row.ok_or(IdentityError::Unknown(id))?;
                row.seal = seal;
                txn.put(&tables::IDENTITIES, row.key(), &row)?;
                Ok(ring)
            })
            .await
            .map_err(WriteError::<IdentityError>::into_inner)?;
        Ok(())
    }

    /// The keys with which tokens of users are verified.
    pub fn token_keys(&self) -> Vec<PublicKey> {
        self.0.identity_keys.public(self.0.settings.clock.wall())
    }
}

/// Keeps an identity, unless its name leads to one by now. Tells whether it is new.
fn keep(
    txn: &mut Txn<'_>,
    service: &CommunicationService,
    fresh: Identity,
) -> Result<(Identity, bool), IdentityError> {
    if !service.is_kept(txn)? {
        return Err(IdentityError::NoResource);
    }
    if let Some(name) = &fresh.name {
        let key = (fresh.id.resource(), name.text());
        if let Some(Named(id)) = txn.get(&tables::IDENTITY_NAMES, &key)?
            && let Some(found) = txn.get(&tables::IDENTITIES, rows::key(&id))?
        {
            return Ok((found, false));
        }
        txn.put(&tables::IDENTITY_NAMES, key, &Named(fresh.id.clone()))?;
    }
    txn.put(&tables::IDENTITIES, fresh.key(), &fresh)?;
    Ok((fresh, true))
}

pub(crate) fn check_owner(
    service: &CommunicationService,
    id: &UserId,
) -> Result<(), IdentityError> {
    if id.resource() == service.immutable_id {
        Ok(())
    } else {
        Err(IdentityError::Foreign)
    }
}
