//! What a server has from its first start: the development identities, or the principal an operator named.
//!
//! Promise: what is there is left as it is; what is missing is made. Whom the start made, it also ends: a data folder loses
//! the built-in principal outside the development profile, and the one that its configuration names no more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use gridpost_api::auth::machine;
use gridpost_api::issuer::APPLICATION;
use gridpost_comms::Comms;
use gridpost_comms::resources::ServiceSpec;
use gridpost_grid::Grid;
use gridpost_grid::principals::{
    ClientSecret, Principal, SECRET_OF_CONFIGURATION, Salt, SecretHash,
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
    for principal in grid.principals() {
        let is_built_in = config.profile == Profile::Development && principal.client_id == CLIENT;
        if !is_built_in && !config.principal.names(&principal.client_id) {
            dismiss(grid, &principal).await?;
        }
    }
    if let Some((client_id, file)) = config.principal.given() {
        require_free(client_id, config.profile)?;
        let text = fs::read_to_string(file)
            .with_context(|| format!("reading the secret of {client_id} in {}", file.display()))?;
        let given = Given {
            client_id,
            display_name: "of the configuration",
            secret: Secret::new(text.trim()),
            is_chosen: true,
        };
        owner(grid, given, sources)
            .await
            .with_context(|| format!("adding the principal {client_id} of the configuration"))?;
    }
    if config.profile == Profile::Development {
        let credentials = Credentials::load_or_make(data, &*sources.chance)?;
        development_identities(grid, comms, credentials, sources)
            .await
            .context("making the development identities")?;
    }
    Ok(())
}

/// Takes away what the start gave to somebody whom nobody names any more. Whom the start made goes altogether; whom a call
/// made keeps what calls gave.
async fn dismiss(grid: &Grid, principal: &Principal) -> anyhow::Result<()> {
    let client_id = &principal.client_id;
    // A call draws an object id; the start takes the client id for it.
    if principal.object_id.eq_ignore_ascii_case(client_id) {
        grid.delete_principal(client_id).await?;
        tracing::warn!("deleted the principal {client_id}, which this configuration does not name");
    } else if principal
        .secrets
        .iter()
        .any(ClientSecret::is_of_configuration)
    {
        for one in grid.role_assignments() {
            let is_theirs = one.principal_id.eq_ignore_ascii_case(&principal.object_id)
                && one.created_by.eq_ignore_ascii_case(&principal.object_id);
            let is_of_start = one.scope == ROOT && [OWNER.id, DATA_SENDER.id].contains(&&*one.role);
            if is_theirs && is_of_start {
                grid.unassign_role(ROOT, &one.name).await?;
            }
        }
        // Last, because it is what tells that there is something to take away.
        grid.remove_secret(client_id, SECRET_OF_CONFIGURATION)
            .await?;
        tracing::warn!(
            "took the secret and the roles of the configuration from {client_id}, which it does not name any more"
        );
    }
    Ok(())
}

/// Some identifiers are not principals', and what comes with their secret would be more than an Owner.
fn require_free(client_id: &str, profile: Profile) -> anyhow::Result<()> {
    let is = |reserved: &str| client_id.eq_ignore_ascii_case(reserved);
    let is_built_in = profile == Profile::Development && is(CLIENT);
    if is(machine::CLIENT) || is(APPLICATION) || is_built_in {
        anyhow::bail!(
            "principal.client_id is {client_id}, which the server uses itself: choose another, such as a new GUID"
        );
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
    let known = principal
        .secrets
        .iter()
        .find(|one| one.is_of_configuration());
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
    principal.secrets.retain(|one| !one.is_of_configuration());
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
