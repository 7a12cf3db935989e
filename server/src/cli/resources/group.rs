//! `gridpost group`: resource groups, spelled as in `az group`.

use http::Method;

use super::{Hands, Tags, group, said, text};
use crate::credentials::SUBSCRIPTION;
use crate::output::Failure;

#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Create a resource group
    Create(Create),
    /// Show a resource group
    Show(Named),
    /// List resource groups
    List,
    /// Delete a resource group and everything in it
    Delete(Named),
}

#[derive(clap::Args)]
pub(in crate::cli) struct Named {
    /// Its name
    #[arg(short, long)]
    name: String,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    named: Named,
    /// Its location
    #[arg(short, long, default_value = "local")]
    location: String,
    #[command(flatten)]
    tags: Tags,
}

pub(in crate::cli) async fn run(command: Command, hands: &Hands) -> Result<(), Failure> {
    match command {
        Command::Create(create) => {
            let body = said([
                ("location", text(Some(&create.location))),
                ("tags", create.tags.value()),
            ]);
            let id = group(&create.named.name);
            hands.tell(Method::PUT, &id, Some(body)).await
        }
        Command::Show(named) => hands.show(&group(&named.name)).await,
        Command::List => {
            let path = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups");
            hands.list(&path).await
        }
        Command::Delete(named) => hands.delete(&group(&named.name)).await,
    }
}
