//! `gridpost principal`: who may sign in.

use gridpost_model::Role;
use gridpost_model::role::OWNER;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::render;
use super::role::{assign, scope_of};
use crate::client::Client;
use crate::config::Config;
use crate::output::{Exit, Failure, Output, table};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a principal with a secret, which is shown this once
    Create(Create),
    /// List principals
    List,
    /// Show a principal
    Show {
        /// Its client id or object id
        id: String,
    },
    /// Delete a principal and its role assignments
    Delete {
        /// Its client id or object id
        id: String,
    },
    /// Give a principal another secret, or take one away
    #[command(subcommand)]
    Secret(Secret),
}

#[derive(clap::Args)]
pub(super) struct Create {
    /// What people call it
    #[arg(long, value_name = "NAME", default_value = "")]
    display_name: String,
    /// A role to assign to it, by name or GUID
    #[arg(long)]
    role: Option<String>,
    /// Where the role counts: `/`, or the id of a subscription, a resource group or a resource [default: the
    /// subscription; `/` for the role Owner]
    #[arg(long, requires = "role")]
    scope: Option<String>,
    /// How long its secret is good: 365d, 12h [default: for ever]
    #[arg(long, value_name = "SPAN")]
    expires_in: Option<String>,
}

#[derive(clap::Subcommand)]
pub(super) enum Secret {
    /// Make another secret, which is shown this once; two are good at the same time
    Create {
        /// The principal's client id or object id
        principal: String,
        /// How long it is good: 365d, 12h [default: for ever]
        #[arg(long, value_name = "SPAN")]
        expires_in: Option<String>,
    },
    /// Take a secret away
    Delete {
        /// The principal's client id or object id
        principal: String,
        /// The secret's id, as `principal show` lists it
        secret: String,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    match command {
        Command::Create(create) => {
            let made = create.run(&client).await?;
            output.result(&made, credentials);
        }
        Command::List => {
            let listed = client.own(Method::GET, "principals", None).await?;
            output.result(&listed, principals);
        }
        Command::Show { id } => {
            let path = format!("principals/{}", segment(&id));
            let found = client.own(Method::GET, &path, None).await?;
            output.result(&found, render::pretty);
        }
        Command::Delete { id } => {
            let path = format!("principals/{}", segment(&id));
            client.own(Method::DELETE, &path, None).await?;
            output.result(&json!({ "deleted": id }), |_| "Deleted.".to_owned());
        }
        Command::Secret(Secret::Create {
            principal,
            expires_in,
        }) => {
            let path = format!("principals/{}/secrets", segment(&principal));
            let body = fields([("expiresIn", expires_in)]);
            let made = client
                .own_signed_in(Method::POST, &path, Some(&body))
                .await?;
            output.result(&made, credentials);
        }
        Command::Secret(Secret::Delete { principal, secret }) => {
            let path = format!(
                "principals/{}/secrets/{}",
                segment(&principal),
                segment(&secret)
            );
            client.own_signed_in(Method::DELETE, &path, None).await?;
            output.result(&json!({ "deleted": secret }), |_| "Deleted.".to_owned());
        }
    }
    Ok(())
}

impl Create {
    async fn run(self, client: &Client) -> Result<Value, Failure> {
        // A wrong name is found before anything is made.
        let role = self.role.as_deref().map(known_role).transpose()?;
        let name = Some(self.display_name).filter(|name| !name.is_empty());
        let body = fields([("displayName", name), ("expiresIn", self.expires_in)]);
        let made = client.own(Method::POST, "principals", Some(&body)).await?;
        if let Some(role) = role {
            let scope = self.scope.unwrap_or_else(|| match role == OWNER {
                true => "/".to_owned(),
                false => scope_of(None),
            });
            let object_id = render::plain(&made["objectId"]);
            assign(client, &object_id, role, &scope).await?;
        }
        Ok(made)
    }
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

/// What was typed, as one segment of a path.
fn segment(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn fields<const N: usize>(fields: [(&str, Option<String>); N]) -> Value {
    let given = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    Value::Object(given.collect::<Map<_, _>>())
}

/// What a client needs to sign in, as the environment takes it.
fn credentials(made: &Value) -> String {
    let field = |name: &str| render::plain(&made[name]);
    format!(
        "AZURE_CLIENT_ID={}\nAZURE_CLIENT_SECRET={}\nAZURE_TENANT_ID={}\n# Object id, for role assignments: {}\n# The secret is not shown again.",
        field("clientId"),
        field("clientSecret"),
        field("tenantId"),
        field("objectId"),
    )
}

fn principals(listed: &Value) -> String {
    let rows: Vec<Vec<String>> = listed["value"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            let secrets = one["secrets"].as_array().map_or(0, Vec::len);
            let mut row = ["displayName", "clientId", "objectId", "created"]
                .map(|field| render::plain(&one[field]))
                .to_vec();
            row.push(secrets.to_string());
            row
        })
        .collect();
    if rows.is_empty() {
        return "There are no principals; `gridpost principal create` makes one.".to_owned();
    }
    let head = ["NAME", "CLIENT ID", "OBJECT ID", "CREATED", "SECRETS"];
    table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_not_sent() {
        let body = fields([("displayName", Some("ci".into())), ("expiresIn", None)]);
        assert_eq!(body, json!({"displayName": "ci"}));
    }

    #[test]
    fn roles_are_known_by_name_and_others_are_a_wrong_command_line() {
        assert_eq!(known_role("owner").unwrap(), OWNER);
        assert_eq!(known_role("Boss").unwrap_err().exit, Exit::Usage);
    }
}
