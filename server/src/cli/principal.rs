//! `gridpost principal`: who may sign in.

use gridpost_api::path::escaped;
use gridpost_model::Role;
use gridpost_model::role::OWNER;
use http::Method;
use serde_json::{Map, Value, json};

use super::naming::segment;
use super::render;
use super::role::{assign, known_role, scope_of};
use crate::client::Client;
use crate::config::Config;
use crate::output::{Failure, Output, table};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a principal with a secret, which is shown this once
    Create(Create),
    /// List principals
    List,
    /// Show a principal
    Show {
        /// Its client id or object id
        #[arg(value_parser = segment)]
        id: String,
    },
    /// Delete a principal and its role assignments
    Delete {
        /// Its client id or object id
        #[arg(value_parser = segment)]
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
        #[arg(value_parser = segment)]
        principal: String,
        /// How long it is good: 365d, 12h [default: for ever]
        #[arg(long, value_name = "SPAN")]
        expires_in: Option<String>,
    },
    /// Take a secret away
    Delete {
        /// The principal's client id or object id
        #[arg(value_parser = segment)]
        principal: String,
        /// The secret's id, as `principal show` lists it
        #[arg(value_parser = segment)]
        secret: String,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    match command {
        Command::Create(create) => {
            create.run(&client, output).await?;
        }
        Command::List => {
            let listed = client.own(Method::GET, "principals", None).await?;
            output.result(&listed, principals);
        }
        Command::Show { id } => {
            let path = format!("principals/{}", escaped(&id));
            let found = client.own(Method::GET, &path, None).await?;
            output.result(&found, render::pretty);
        }
        Command::Delete { id } => {
            let path = format!("principals/{}", escaped(&id));
            client.own(Method::DELETE, &path, None).await?;
            output.result(&json!({ "deleted": id }), |_| "Deleted.".to_owned());
        }
        Command::Secret(Secret::Create {
            principal,
            expires_in,
        }) => {
            let path = format!("principals/{}/secrets", escaped(&principal));
            let body = fields([("expiresIn", expires_in)]);
            let made = client
                .own_signed_in(Method::POST, &path, Some(&body))
                .await?;
            output.result(&made, |made| credentials(made, &client.server().url));
        }
        Command::Secret(Secret::Delete { principal, secret }) => {
            let (of, which) = (escaped(&principal), escaped(&secret));
            let path = format!("principals/{of}/secrets/{which}");
            client.own_signed_in(Method::DELETE, &path, None).await?;
            output.result(&json!({ "deleted": secret }), |_| "Deleted.".to_owned());
        }
    }
    Ok(())
}

impl Create {
    async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        // A wrong name is found before anything is made.
        let role = self.role.as_deref().map(known_role).transpose()?;
        let name = Some(self.display_name).filter(|name| !name.is_empty());
        let body = fields([("displayName", name), ("expiresIn", self.expires_in)]);
        let made = client.own(Method::POST, "principals", Some(&body)).await?;
        // Nobody can ask for the secret again, whatever happens next.
        output.result(&made, |made| credentials(made, &client.server().url));
        if let Some(role) = role {
            let scope = self.scope.unwrap_or_else(|| match role == OWNER {
                true => "/".to_owned(),
                false => scope_of(None),
            });
            let object_id = render::plain(&made["objectId"]);
            let assigned = assign(client, &object_id, role, &scope).await;
            assigned.map_err(|failure| without_role(failure, &object_id, role, &scope))?;
        }
        Ok(())
    }
}

/// A principal is there, but may do nothing yet.
fn without_role(failure: Failure, object_id: &str, role: &Role, scope: &str) -> Failure {
    let name = role.name;
    let words = format!(
        "the principal above was made, but it is not {name} at {scope}; `gridpost role assignment create --assignee \
         {object_id} --role '{name}' --scope SCOPE` assigns it"
    );
    Failure::new(failure.exit, failure.error.context(words))
}

fn fields<const N: usize>(fields: [(&str, Option<String>); N]) -> Value {
    let given = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    Value::Object(given.collect::<Map<_, _>>())
}

/// What a client needs to sign in, as the environment takes it.
fn credentials(made: &Value, url: &str) -> String {
    let field = |name: &str| render::plain(&made[name]);
    format!(
        "AZURE_CLIENT_ID={}\nAZURE_CLIENT_SECRET={}\nAZURE_AUTHORITY_HOST={url}\n# This tenant's name is how clients ask us and nobody else.\nAZURE_TENANT_ID=adfs\n# Object id, for role assignments: {}\n# The secret is not shown again.",
        field("clientId"),
        field("clientSecret"),
        field("objectId"),
    )
}

fn principals(listed: &Value) -> String {
    let rows = render::rows(&listed["value"], |one| {
        let field = |name: &str| render::plain(&one[name]);
        vec![
            field("displayName"),
            field("clientId"),
            field("objectId"),
            render::moment(&one["created"]),
            one["secrets"].as_array().map_or(0, Vec::len).to_string(),
        ]
    });
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
}
