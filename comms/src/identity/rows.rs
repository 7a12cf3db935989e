//! What is kept of identities.

use gridpost_model::{Chance, Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::identity::UserId;

/// One identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) id: UserId,
    pub(crate) created: Timestamp,
    /// What every good token of the identity carries. Revoking its tokens replaces it: whatever the clocks show, no
    /// token from before passes, and every one from after does.
    pub(crate) seal: Box<str>,
    /// What others call it.
    pub(crate) name: Option<Name>,
    /// When it was last given a token, to the minute.
    pub(crate) last_token: Option<Timestamp>,
}

impl Identity {
    pub(crate) fn new(
        id: UserId,
        name: Option<Name>,
        chance: &dyn Chance,
        created: Timestamp,
    ) -> Self {
        Self {
            id,
            created,
            seal: fresh_seal(chance),
            name,
            last_token: None,
        }
    }

    /// (immutable resource id, user)
    pub(crate) fn key(&self) -> (&str, &str) {
        key(&self.id)
    }
}

/// (immutable resource id, user)
pub(crate) fn key(id: &UserId) -> (&str, &str) {
    (id.resource(), id.user())
}

/// A seal nobody had before.
pub(crate) fn fresh_seal(chance: &dyn Chance) -> Box<str> {
    format!("{:016x}", chance.number()).into()
}

/// A name that leads to one identity of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Name {
    /// `customId`, which the application chose.
    Custom(String),
    /// A user of the token issuer: tenant and object.
    Entra(String, String),
}

impl Name {
    /// `customId`.
    pub fn custom(&self) -> Option<&str> {
        match self {
            Self::Custom(name) => Some(name),
            Self::Entra(..) => None,
        }
    }

    /// The name as one text, no two the same.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Custom(name) => format!("custom:{name}"),
            Self::Entra(tenant, object) => format!("entra:{tenant}:{object}"),
        }
    }
}

/// One key that signs tokens, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptKey {
    /// The private key, PKCS#8 in base64.
    pub(crate) pkcs8: Secret,
    pub(crate) made: Timestamp,
}
