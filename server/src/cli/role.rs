//! `gridpost role`: who may do what, spelled as in `az role`.

use gridpost_api::path::escaped;
use gridpost_model::{Chance, Role};
use http::Method;
use serde_json::{Value, json};

use super::naming::{self, Names, segment};
use super::render;
use crate::client::Client;
use crate::config::Config;
use crate::credentials::SUBSCRIPTION;
use crate::output::{Exit, Failure, Format, Output, table};
use crate::real::SystemChance;
use crate::session::Session;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Assign roles, list and delete assignments
    #[command(subcommand)]
    Assignment(Assignment),
    /// See which roles there are
    #[command(subcommand)]
    Definition(Definition),
}

#[derive(clap::Subcommand)]
pub(super) enum Assignment {
    /// Assign a role to a principal
    Create(Chosen),
    /// List role assignments
    List {
        /// Only those of this principal: its client id or object id
        #[arg(long, value_parser = segment)]
        assignee: Option<String>,
    },
    /// Take a role away
    Delete(Chosen),
}

/// Which role, whose and where.
#[derive(clap::Args)]
pub(super) struct Chosen {
    /// The principal's client id or object id
    #[arg(long, value_parser = segment)]
    assignee: String,
    /// The role, by name or GUID
    #[arg(long)]
    role: String,
    /// Where it counts: `/`, or the id of a subscription, a resource group or a resource [default: the subscription]
    #[arg(long)]
    scope: Option<String>,
}

#[derive(clap::Subcommand)]
pub(super) enum Definition {
    /// List the roles
    List,
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    match command {
        Command::Assignment(Assignment::Create(chosen)) => {
            let role = known_role(&chosen.role)?;
            let object_id = object_id(&client, &chosen.assignee).await?;
            let scope = scope_of(chosen.scope.as_deref());
            let made = assign(&client, &object_id, role, &scope).await?;
            output.result(&made, |_| {
                format!("{} is {} at {scope}.", chosen.assignee, role.name)
            });
        }
        Command::Assignment(Assignment::List { assignee }) => {
            let mut listed = assignments(&client).await?;
            if let Some(assignee) = assignee {
                let object_id = object_id(&client, &assignee).await?;
                listed.retain(|one| is(&one["properties"]["principalId"], &object_id));
            }
            let names = match output.format() {
                Format::Json => Names::default(),
                Format::Human => {
                    let ids = listed.iter().map(|one| &one["properties"]["principalId"]);
                    Names::of(&client, ids).await
                }
            };
            output.result(&Value::Array(listed), |all| shown_assignments(all, &names));
        }
        Command::Assignment(Assignment::Delete(chosen)) => {
            let role = known_role(&chosen.role)?;
            let object_id = object_id(&client, &chosen.assignee).await?;
            let scope = scope_of(chosen.scope.as_deref());
            let all = assignments(&client).await?;
            let found = all.iter().find(|one| {
                let properties = &one["properties"];
                is(&properties["principalId"], &object_id)
                    && is(&properties["scope"], &scope)
                    && ends_in(&properties["roleDefinitionId"], role.id)
            });
            let Some(found) = found else {
                let message = format!("{} is not {} at {scope}", chosen.assignee, role.name);
                return Err(Failure::said(Exit::Failed, message));
            };
            let id = render::plain(&found["id"]);
            client.manage(Method::DELETE, &id, None).await?;
            output.result(&json!({ "deleted": id }), |_| "Deleted.".to_owned());
        }
        Command::Definition(Definition::List) => {
            let path = "/providers/Microsoft.Authorization/roleDefinitions";
            let listed = Session::open(&client).await?.list(path).await?;
            output.result(&Value::Array(listed), shown_definitions);
        }
    }
    Ok(())
}

/// The role of that name or GUID.
pub(super) fn known_role(name: &str) -> Result<&'static Role, Failure> {
    Role::find(name).ok_or_else(|| {
        let message = format!(
            "there is no role '{name}'; `gridpost role definition list` shows those there are"
        );
        Failure::said(Exit::Usage, message)
    })
}

/// The scope that is meant: the subscription when none is said.
pub(super) fn scope_of(given: Option<&str>) -> String {
    let subscription = || format!("/subscriptions/{SUBSCRIPTION}");
    given.map_or_else(subscription, |given| match given.trim_end_matches('/') {
        "" => "/".to_owned(),
        bare => bare.to_owned(),
    })
}

/// Assigns a role to a principal, by its object id.
pub(super) async fn assign(
    client: &Client,
    object_id: &str,
    role: &Role,
    scope: &str,
) -> Result<Value, Failure> {
    let name = <dyn Chance>::uuid(&SystemChance);
    let id = format!(
        "{}/providers/Microsoft.Authorization/roleAssignments/{name}",
        scope.trim_end_matches('/')
    );
    let body = json!({"properties": {
        "roleDefinitionId": role.id, "principalId": object_id, "principalType": "ServicePrincipal",
    }});
    client.manage(Method::PUT, &id, Some(&body)).await
}

async fn object_id(client: &Client, id: &str) -> Result<String, Failure> {
    let path = format!("principals/{}", escaped(id));
    let found = client.own(Method::GET, &path, None).await?;
    Ok(render::plain(&found["objectId"]))
}

async fn assignments(client: &Client) -> Result<Vec<Value>, Failure> {
    let path =
        format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleAssignments");
    Session::open(client).await?.list(&path).await
}

fn is(value: &Value, text: &str) -> bool {
    value
        .as_str()
        .is_some_and(|one| one.eq_ignore_ascii_case(text))
}

fn ends_in(value: &Value, last: &str) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.rsplit('/')
        .next()
        .is_some_and(|one| one.eq_ignore_ascii_case(last))
}

fn shown_assignments(listed: &Value, names: &Names) -> String {
    let rows = render::rows(listed, |one| {
        let properties = &one["properties"];
        let id = render::plain(&properties["roleDefinitionId"]);
        let id = id.rsplit('/').next().unwrap_or_default();
        let role = Role::find(id).map_or(id, |role| role.name);
        vec![
            role.to_owned(),
            names.of_id(&properties["principalId"]),
            naming::scope(&properties["scope"]),
        ]
    });
    if rows.is_empty() {
        return "There are no role assignments.".to_owned();
    }
    table(&["ROLE", "PRINCIPAL", "SCOPE"], &rows)
}

fn shown_definitions(listed: &Value) -> String {
    let rows = render::rows(listed, |one| {
        let properties = &one["properties"];
        vec![
            render::plain(&properties["roleName"]),
            render::plain(&one["name"]),
            render::plain(&properties["description"]),
        ]
    });
    table(&["ROLE", "ID", "WHAT IT IS FOR"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subscription_is_meant_when_no_scope_is_said() {
        assert!(scope_of(None).starts_with("/subscriptions/"));
        assert_eq!(scope_of(Some("/")), "/");
        assert_eq!(scope_of(Some("/subscriptions/s/")), "/subscriptions/s");
    }

    #[test]
    fn roles_are_known_by_name_and_others_are_a_wrong_command_line() {
        assert_eq!(known_role("owner").unwrap(), gridpost_model::role::OWNER);
        assert_eq!(known_role("Boss").unwrap_err().exit, Exit::Usage);
    }
}
