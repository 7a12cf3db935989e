//! `gridpost domain`, and the topics of a domain.

use http::Method;

use super::below::{self, Below};
use super::topic::{Create, Key, Update};
use super::{Hands, Home, Listed, Named, Type};
use crate::cli::naming::segment;
use crate::output::Failure;

const DOMAINS: Type = Type("Microsoft.EventGrid/domains");

#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Create a domain, or replace its settings
    Create(Create),
    /// Show a domain
    Show(Named),
    /// List domains
    List(Listed),
    /// Change a domain
    Update(Update),
    /// Delete a domain with its topics and event subscriptions
    Delete(Named),
    /// The keys that publishers sign with
    #[command(subcommand)]
    Key(Key),
    /// The topics of a domain
    #[command(subcommand)]
    Topic(Topic),
    /// The event subscriptions of a domain: to the events of all its topics
    #[command(subcommand)]
    EventSubscription(Box<Below<below::OfDomain>>),
}

#[derive(clap::Subcommand)]
pub(in crate::cli) enum Topic {
    /// Create a topic of a domain
    Create(OfDomain),
    /// Show a topic of a domain
    Show(OfDomain),
    /// List the topics of a domain
    List(Domain),
    /// Delete a topic of a domain and its event subscriptions
    Delete(OfDomain),
    /// The event subscriptions of a topic of a domain
    #[command(subcommand)]
    EventSubscription(Box<Below<below::OfDomainTopic>>),
}

#[derive(clap::Args)]
pub(in crate::cli) struct Domain {
    /// The domain
    #[arg(long, value_name = "NAME", value_parser = segment)]
    domain_name: String,
    #[command(flatten)]
    home: Home,
}

#[derive(clap::Args)]
pub(in crate::cli) struct OfDomain {
    /// Its name
    #[arg(short, long, value_parser = segment)]
    name: String,
    #[command(flatten)]
    domain: Domain,
}

impl Domain {
    fn topics(&self) -> String {
        format!("{}/topics", DOMAINS.id_of(&self.home, &self.domain_name))
    }
}

impl OfDomain {
    fn id(&self) -> String {
        format!("{}/{}", self.domain.topics(), self.name)
    }
}

pub(in crate::cli) async fn run(command: Command, hands: &Hands) -> Result<(), Failure> {
    match command {
        Command::Create(create) => create.run(DOMAINS, hands).await,
        Command::Show(named) => hands.show(&DOMAINS.id(&named)).await,
        Command::List(listed) => DOMAINS.list(&listed, hands).await,
        Command::Update(update) => update.run(DOMAINS, hands).await,
        Command::Delete(named) => hands.delete(&DOMAINS.id(&named)).await,
        Command::Key(key) => key.run(DOMAINS, hands).await,
        Command::Topic(Topic::Create(topic)) => hands.tell(Method::PUT, &topic.id(), None).await,
        Command::Topic(Topic::Show(topic)) => hands.show(&topic.id()).await,
        Command::Topic(Topic::List(domain)) => hands.list(&domain.topics()).await,
        Command::Topic(Topic::Delete(topic)) => hands.delete(&topic.id()).await,
        Command::Topic(Topic::EventSubscription(below)) => below.run(hands).await,
        Command::EventSubscription(below) => below.run(hands).await,
    }
}
