//! The development identities: well-known names, and a secret of this data folder.
//!
//! Promise: the names never change; the secret is made once per data folder and readable by its owner only.
//! Not here: how the secret is checked (`api::token`), who is told of it (`cli::env`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gridpost_model::{Chance, Secret};
use serde::{Deserialize, Serialize};

use crate::files;

/// The tenant.
pub const TENANT: &str = "11111111-1111-4111-8111-111111111111";
/// The subscription.
pub const SUBSCRIPTION: &str = "22222222-2222-4222-8222-222222222222";
/// The client that may manage everything in development.
pub const CLIENT: &str = "33333333-3333-4333-8333-333333333333";
/// The resource group.
pub const RESOURCE_GROUP: &str =
    "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost";
/// The communication resource.
pub const COMMUNICATION_RESOURCE: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost/providers/Microsoft.Communication/communicationServices/dev";
/// The communication resource's phone number.
pub const NUMBER: &str = "+15555550100";

/// Who may sign in at a development server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// The tenant to sign in to.
    pub tenant_id: String,
    /// The subscription that has everything in it.
    pub subscription_id: String,
    /// The client.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Secret,
}

impl Credentials {
    /// The credentials of a data folder.
    ///
    /// # Errors
    /// There are none, or the file is damaged.
    pub fn load(data: &Path) -> anyhow::Result<Self> {
        let path = file(data);
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is damaged; remove it to have a new one made",
                path.display()
            )
        })
    }

    /// The credentials of a data folder, made at the first call.
    ///
    /// # Errors
    /// They cannot be read or written.
    pub fn load_or_make(data: &Path, chance: &dyn Chance) -> anyhow::Result<Self> {
        if file(data).exists() {
            return Self::load(data);
        }
        let mut bytes = [0; 30];
        chance.fill(&mut bytes);
        let made = Self {
            tenant_id: TENANT.into(),
            subscription_id: SUBSCRIPTION.into(),
            client_id: CLIENT.into(),
            client_secret: Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        };
        files::write_private(&file(data), &serde_json::to_vec_pretty(&made)?)?;
        Ok(made)
    }
}

fn file(data: &Path) -> PathBuf {
    data.join("credentials.json")
}

#[cfg(test)]
mod tests {
    use gridpost_sim::SeededChance;

    use super::*;

    #[test]
    fn the_secret_is_made_once() {
        let data = tempfile::tempdir().unwrap();
        let first = Credentials::load_or_make(data.path(), &SeededChance::new(1)).unwrap();
        let again = Credentials::load_or_make(data.path(), &SeededChance::new(2)).unwrap();
        assert_eq!(first.client_secret, again.client_secret);
        assert_eq!(first.client_secret.reveal().len(), 40);
    }
}
