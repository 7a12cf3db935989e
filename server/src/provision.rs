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
use gridpost_grid::principals::{
    ClientSecret, MOST_SECRETS, Principal, SECRET_OF_CONFIGURATION, Salt, SecretHash,
};
use gridpost_grid::roles::{AssignError, ROOT, RoleAssignment};
use gridpost_model::role::{DATA_SENDER, OWNER};
use gridpost_model::{PhoneNumber, ResourceId, Secret, Timestamp};

use crate::assembly::Sources;
use crate::config::{Config, Profile};
use crate::credentials::{CLIENT, COMMUNICATION_RESOURCE, Credentials, NUMBER, RESOURCE_GROUP};

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
        let given = Given {
            client_id,
            display_name: "of the configuration",
            secret: Secret::new(text.trim()),
            is_chosen: true,
        };
        owner(grid, given, sources).await?;
    }
    if config.profile == Profile::Development {
        let credentials = Credentials::load_or_make(data, &*sources.chance)?;
        development_identities(grid, comms, credentials, sources)
            .await
            .context("making the development identities")?;
    }
    Ok(())
}

/// A principal with its secret.
struct Given<'a> {
    client_id: &'a str,
    display_name: &'a str,
    secret: Secret,
    /// By a person, so that it may be one that can be guessed.
    is_chosen: bool,
}

/// A principal with this secret, who may do everything.
async fn owner(grid: &Grid, given: Given<'_>, sources: &Sources) -> anyhow::Result<()> {
    let now = sources.clock.now();
    // What is left to chance is drawn before anything is waited for, in an order that a seed replays.
    let salt = Salt::fresh(&*sources.chance);
    let names = [OWNER, DATA_SENDER].map(|role| (role, sources.chance.uuid()));
    let client_id = given.client_id;
    let known = grid.principal(client_id);
    let principal = known.map_or_else(
        || Principal::new(client_id, client_id, given.display_name, now),
        |known| (*known).clone(),
    );
    let object_id = principal.object_id.clone();
    if let Some(principal) = with_secret(principal, &given, salt, now) {
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
    given: &Given<'_>,
    salt: Salt,
    now: Timestamp,
) -> Option<Principal> {
    let is_given = |one: &ClientSecret| one.id == SECRET_OF_CONFIGURATION;
    let known = principal.secrets.iter().find(|one| is_given(one));
    let is_kept = |one: &ClientSecret| {
        one.hash.is_slow() == given.is_chosen && one.hash.accepts(&given.secret)
    };
    if known.is_some_and(is_kept) {
        return None;
    }
    let hash = match given.is_chosen {
        true => SecretHash::of_chosen(&given.secret, salt),
        false => SecretHash::of_random(&given.secret, salt),
    };
    principal.secrets.retain(|one| !is_given(one));
    principal.secrets.truncate(MOST_SECRETS - 1);
    let given = ClientSecret::new(SECRET_OF_CONFIGURATION, &given.secret, hash, now, None);
    principal.secrets.push(given);
    Some(principal)
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
            Given {
                client_id: &credentials.client_id,
                display_name: "development",
                secret: credentials.client_secret,
                is_chosen: false,
            },
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
