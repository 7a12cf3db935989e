//! `gridpost communication`: communication resources, as the `communication` extension of `az` spells it.

use http::Method;
use serde_json::json;

use super::{Hands, Listed, Named, Place, Tags, Type, body, text};
use crate::output::Failure;

const SERVICES: Type = Type("Microsoft.Communication/communicationServices");

#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Create a communication resource
    Create(Create),
    /// Show a communication resource
    Show(Named),
    /// List communication resources
    List(Listed),
    /// Change a communication resource
    Update(Update),
    /// Delete a communication resource and everything in it
    Delete(Named),
    /// Show its keys and connection strings
    ListKey(Named),
    /// Make one of its keys anew
    RegenerateKey {
        #[command(flatten)]
        named: Named,
        /// primary or secondary
        #[arg(long)]
        key_type: String,
    },
}

#[derive(clap::Args)]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    tags: Tags,
    /// Where its data stays
    #[arg(long, default_value = "United States")]
    data_location: String,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Update {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    tags: Tags,
    /// Refuse access keys
    #[arg(long, value_name = "BOOL")]
    disable_local_auth: Option<bool>,
}

pub(in crate::cli) async fn run(command: Command, hands: &Hands) -> Result<(), Failure> {
    match command {
        Command::Create(create) => {
            let body = body(
                [
                    ("location", text(create.place.location.as_ref())),
                    ("tags", create.tags.value()),
                ],
                [("dataLocation", Some(json!(create.data_location)))],
            );
            hands
                .tell(Method::PUT, &SERVICES.id(&create.named), Some(body))
                .await
        }
        Command::Show(named) => hands.show(&SERVICES.id(&named)).await,
        Command::List(listed) => SERVICES.list(&listed, hands).await,
        Command::Update(update) => {
            let local = update.disable_local_auth.map(|value| json!(value));
            let body = body(
                [("tags", update.tags.value())],
                [("disableLocalAuth", local)],
            );
            hands
                .tell(Method::PATCH, &SERVICES.id(&update.named), Some(body))
                .await
        }
        Command::Delete(named) => hands.delete(&SERVICES.id(&named)).await,
        Command::ListKey(named) => {
            hands
                .tell(
                    Method::POST,
                    &format!("{}/listKeys", SERVICES.id(&named)),
                    None,
                )
                .await
        }
        Command::RegenerateKey { named, key_type } => {
            let body = json!({ "keyType": key_type });
            hands
                .tell(
                    Method::POST,
                    &format!("{}/regenerateKey", SERVICES.id(&named)),
                    Some(body),
                )
                .await
        }
    }
}
