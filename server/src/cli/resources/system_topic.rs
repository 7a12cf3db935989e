//! `gridpost system-topic`: the names under which the events of other resources are subscribed to.

use http::Method;
use serde_json::json;

use super::below::{Below, OfSystemTopic};
use super::{Hands, Listed, Named, Place, Tags, Type, body, text};
use crate::output::Failure;

const SYSTEM_TOPICS: Type = Type("Microsoft.EventGrid/systemTopics");

#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Create a system topic
    Create(Create),
    /// Show a system topic
    Show(Named),
    /// List system topics
    List(Listed),
    /// Change the tags of a system topic
    Update(Update),
    /// Delete a system topic and its event subscriptions
    Delete(Named),
    /// The event subscriptions of a system topic
    #[command(subcommand)]
    EventSubscription(Box<Below<OfSystemTopic>>),
}

#[derive(clap::Args)]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    tags: Tags,
    /// The id of the resource whose events these are
    #[arg(long, value_name = "ID")]
    source: String,
    /// The type of its events
    #[arg(long, default_value = "Microsoft.Communication.CommunicationServices")]
    topic_type: String,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Update {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    tags: Tags,
}

pub(in crate::cli) async fn run(command: Command, hands: &Hands) -> Result<(), Failure> {
    match command {
        Command::Create(create) => {
            let body = body(
                [
                    ("location", text(create.place.location.as_ref())),
                    ("tags", create.tags.value()),
                ],
                [
                    ("source", Some(json!(create.source))),
                    ("topicType", Some(json!(create.topic_type))),
                ],
            );
            hands
                .tell(Method::PUT, &SYSTEM_TOPICS.id(&create.named), Some(body))
                .await
        }
        Command::Show(named) => hands.show(&SYSTEM_TOPICS.id(&named)).await,
        Command::List(listed) => SYSTEM_TOPICS.list(&listed, hands).await,
        Command::Update(update) => {
            let body = json!({ "tags": update.tags.value() });
            hands
                .tell(Method::PATCH, &SYSTEM_TOPICS.id(&update.named), Some(body))
                .await
        }
        Command::Delete(named) => hands.delete(&SYSTEM_TOPICS.id(&named)).await,
        Command::EventSubscription(below) => below.run(hands).await,
    }
}
