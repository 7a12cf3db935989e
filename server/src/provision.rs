//! What a server has from its first start: the development identities, or the principal an operator named.
//!
//! Promise: what is there is left as it is; what is missing is made. Nobody is built in outside the development profile: a
//! data folder that was used in it before loses that principal.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use gridpost_comms::Comms;
use gridpost_comms::resources::ServiceSpec;
use gridpost_grid::Grid;
use gridpost_grid::principals::{ClientSecret, MOST_SECRETS, Principal, Salt, SecretHash};
use gridpost_grid::roles::{AssignError, ROOT, RoleAssignment};
use gridpost_model::role::{DATA_SENDER, OWNER};
use gridpost_model::{PhoneNumber, ResourceId, Secret, Timestamp};

use crate::assembly::Sources;
use crate::config::{Config, Profile};
use crate::credentials::{CLIENT, COMMUNICATION_RESOURCE, Credentials, NUMBER, RESOURCE_GROUP};

/// What the secret is called that a configuration gives: there is one, however often it is changed.
const SECRET: &str = "configuration";

/// Makes what is missing.
///
/// # Errors
/// A file cannot be read or written, or the store refuses.
pub async fn provision(
    config: &Config,
    data: &Path,
    grid: &Grid,
    comms: &Comms,
    sources: &Sources,
) -> anyhow::Result<()> {
    let given = config.principal.given();
    let is_given = given.is_some_and(|(client_id, _)| client_id.eq_ignore_ascii_case(CLIENT));
    if config.profile != Profile::Development && !is_given {
        grid.delete_principal(CLIENT).await?;
    }
    if let Some((client_id, file)) = given {
        let text = fs::read_to_string(file)
            .with_context(|| format!("reading the secret of {client_id} in {}", file.display()))?;
        let secret = Secret::new(text.trim());
        owner(grid, (client_id, "of the configuration"), secret, sources).await?;
    }
    if config.profile == Profile::Development {
        let credentials = Credentials::load_or_make(data, &*sources.chance)?;
        development_identities(grid, comms, credentials, sources)
            .await
            .context("making the development identities")?;
    }
    Ok(())
}

/// A principal with this secret, who may do everything.
async fn owner(
    grid: &Grid,
    (client_id, display_name): (&str, &str),
    secret: Secret,
    sources: &Sources,
) -> anyhow::Result<()> {
    let now = sources.clock.now();
    // What is left to chance is drawn before anything is waited for, in an order that a seed replays.
    let salt = Salt::fresh(&*sources.chance);
    let names = [OWNER, DATA_SENDER].map(|role| (role, sources.chance.uuid()));
    let known = grid.principal(client_id);
    let principal = known.map_or_else(
        || Principal::new(client_id, client_id, display_name, now),
        |known| (*known).clone(),
    );
    let object_id = principal.object_id.clone();
    let changed = tokio::task::spawn_blocking(move || with_secret(principal, &secret, salt, now));
    if let Some(principal) = changed.await.context("hashing a secret")?? {
        grid.put_principal(principal).await?;
    }
    for (role, name) in names {
        let wanted = RoleAssignment {
            name,
            scope: ROOT.to_owned(),
            principal_id: object_id.clone(),
            role: role.id.to_owned(),
            description: None,
            created: now,
            created_by: object_id.clone(),
        };
        match grid.assign_role(wanted).await {
            Ok(_) | Err(AssignError::Exists(_)) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The principal with this secret in place of the one it was given before; `None` when nothing has to be changed.
fn with_secret(
    mut principal: Principal,
    secret: &Secret,
    salt: Salt,
    now: Timestamp,
) -> anyhow::Result<Option<Principal>> {
    let is_it = |one: &ClientSecret| !one.hash.is_outdated() && one.hash.accepts(secret);
    if principal.secrets.iter().any(is_it) {
        return Ok(None);
    }
    let hash = SecretHash::of(secret, salt).context("there is no memory to hash a secret")?;
    let is_older = |one: &ClientSecret| one.id == SECRET || one.hash.is_outdated();
    principal.secrets.retain(|one| !is_older(one));
    principal.secrets.truncate(MOST_SECRETS - 1);
    let given = ClientSecret::new(SECRET, secret, hash, now, None);
    principal.secrets.push(given);
    Ok(Some(principal))
}

async fn development_identities(
    grid: &Grid,
    comms: &Comms,
    credentials: Credentials,
    sources: &Sources,
) -> anyhow::Result<()> {
    let resource: ResourceId = COMMUNICATION_RESOURCE.parse()?;
    let number: PhoneNumber = NUMBER.parse()?;
    // Independent of each other, so that they share a sync: the first start should be quick.
    let (signed, grouped, made) = tokio::join!(
        owner(
            grid,
            (&credentials.client_id, "development"),
            credentials.client_secret,
            sources
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
