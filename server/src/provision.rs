//! What a server has from its first start: the development identities, or the principal an operator named.
//!
//! Promise: what is there is left as it is; what is missing is made.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use gridpost_comms::Comms;
use gridpost_comms::resources::ServiceSpec;
use gridpost_grid::Grid;
use gridpost_grid::directory::SecretHash;
use gridpost_model::{Chance, PhoneNumber, ResourceId, Secret};

use crate::config::{Config, Profile};
use crate::credentials::{COMMUNICATION_RESOURCE, Credentials, NUMBER, RESOURCE_GROUP};

/// Makes what is missing.
///
/// # Errors
/// A file cannot be read or written, or the store refuses.
pub async fn provision(
    config: &Config,
    data: &Path,
    grid: &Grid,
    comms: &Comms,
    chance: &dyn Chance,
) -> anyhow::Result<()> {
    if let Some((client_id, file)) = config.principal.given() {
        let text = fs::read_to_string(file)
            .with_context(|| format!("reading the secret of {client_id} in {}", file.display()))?;
        principal(grid, client_id, &Secret::new(text.trim()), chance).await?;
    }
    if config.profile == Profile::Development {
        let credentials = Credentials::load_or_make(data, chance)?;
        development_identities(grid, comms, &credentials, chance)
            .await
            .context("making the development identities")?;
    }
    Ok(())
}

async fn principal(
    grid: &Grid,
    client_id: &str,
    secret: &Secret,
    chance: &dyn Chance,
) -> anyhow::Result<()> {
    let known = grid.principal(client_id);
    if !known.is_some_and(|principal| principal.secret.accepts(secret)) {
        grid.put_principal(client_id, SecretHash::of(secret, chance))
            .await?;
    }
    Ok(())
}

async fn development_identities(
    grid: &Grid,
    comms: &Comms,
    credentials: &Credentials,
    chance: &dyn Chance,
) -> anyhow::Result<()> {
    let resource: ResourceId = COMMUNICATION_RESOURCE.parse()?;
    let number: PhoneNumber = NUMBER.parse()?;
    // Independent of each other, so that they share a sync: the first start should be quick.
    let (signed, grouped, made) = tokio::join!(
        principal(
            grid,
            &credentials.client_id,
            &credentials.client_secret,
            chance
        ),
        resource_group(grid),
        communication_resource(comms, &resource),
    );
    signed.and(grouped).and(made)?;
    if comms.owner_of(&number).is_none() {
        comms.assign(&resource, number).await?;
    }
    Ok(())
}

async fn resource_group(grid: &Grid) -> anyhow::Result<()> {
    let group: ResourceId = RESOURCE_GROUP.parse()?;
    if grid.resource_group(&group).is_none() {
        grid.put_resource_group(group, "local".into(), BTreeMap::new())
            .await?;
    }
    Ok(())
}

async fn communication_resource(comms: &Comms, resource: &ResourceId) -> anyhow::Result<()> {
    if comms.resource(resource).is_none() {
        let spec = ServiceSpec {
            location: "global".into(),
            data_location: "Local".into(),
            ..ServiceSpec::default()
        };
        comms.put_resource(resource.clone(), spec).await?;
    }
    Ok(())
}
