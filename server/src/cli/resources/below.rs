//! `event-subscription` below `topic`, `domain`, `domain topic` and `system-topic`, as `az eventgrid` has it there too.
//!
//! Promise: they are the same event subscriptions that `gridpost event-subscription` shows, by the paths that `az` uses.
//! Not here: what can be said of one (`event_subscription`).
//! Source: reference management 5 (nested form) and 7.

use super::event_subscription::{Said, Secrets, create, show, update};
use super::{Hands, Home, Type};
use crate::cli::naming::segment;
use crate::output::Failure;

/// What event subscriptions live in.
pub(in crate::cli) trait Parent: clap::Args {
    /// Its id.
    fn id(&self) -> String;
}

#[derive(clap::Subcommand)]
pub(in crate::cli) enum Below<P: Parent> {
    /// Create an event subscription, or replace it
    Create {
        #[command(flatten)]
        named: In<P>,
        #[command(flatten)]
        said: Box<Said>,
    },
    /// Show an event subscription
    Show {
        #[command(flatten)]
        named: In<P>,
        #[command(flatten)]
        secrets: Secrets,
    },
    /// List the event subscriptions
    List(P),
    /// Change what is said of an event subscription
    Update {
        #[command(flatten)]
        named: In<P>,
        #[command(flatten)]
        said: Box<Said>,
    },
    /// Delete an event subscription
    Delete(In<P>),
}

/// Which one.
#[derive(clap::Args)]
pub(in crate::cli) struct In<P: Parent> {
    /// Its name
    #[arg(short, long, value_parser = segment)]
    name: String,
    #[command(flatten)]
    parent: P,
}

impl<P: Parent> In<P> {
    fn id(&self) -> String {
        format!("{}/{}", all_of(&self.parent), self.name)
    }
}

fn all_of(parent: &impl Parent) -> String {
    format!("{}/eventSubscriptions", parent.id())
}

impl<P: Parent> Below<P> {
    pub(super) async fn run(self, hands: &Hands) -> Result<(), Failure> {
        match self {
            Self::Create { named, said } => create(&named.id(), &said, hands).await,
            Self::Show { named, secrets } => show(&named.id(), &secrets, hands).await,
            Self::List(parent) => hands.list(&all_of(&parent)).await,
            Self::Update { named, said } => update(&named.id(), &said, hands).await,
            Self::Delete(named) => hands.delete(&named.id()).await,
        }
    }
}

/// Which topic.
#[derive(clap::Args)]
pub(in crate::cli) struct OfTopic {
    /// The topic
    #[arg(long, value_name = "NAME", value_parser = segment)]
    topic_name: String,
    #[command(flatten)]
    home: Home,
}

impl Parent for OfTopic {
    fn id(&self) -> String {
        Type("Microsoft.EventGrid/topics").id_of(&self.home, &self.topic_name)
    }
}

/// Which domain.
#[derive(clap::Args)]
pub(in crate::cli) struct OfDomain {
    /// The domain
    #[arg(long, value_name = "NAME", value_parser = segment)]
    domain_name: String,
    #[command(flatten)]
    home: Home,
}

impl Parent for OfDomain {
    fn id(&self) -> String {
        Type("Microsoft.EventGrid/domains").id_of(&self.home, &self.domain_name)
    }
}

/// Which topic of which domain.
#[derive(clap::Args)]
pub(in crate::cli) struct OfDomainTopic {
    /// The topic of the domain
    #[arg(long, value_name = "NAME", value_parser = segment)]
    domain_topic_name: String,
    #[command(flatten)]
    domain: OfDomain,
}

impl Parent for OfDomainTopic {
    fn id(&self) -> String {
        format!("{}/topics/{}", self.domain.id(), self.domain_topic_name)
    }
}

/// Which system topic.
#[derive(clap::Args)]
pub(in crate::cli) struct OfSystemTopic {
    /// The system topic
    #[arg(long, value_name = "NAME", value_parser = segment)]
    system_topic_name: String,
    #[command(flatten)]
    home: Home,
}

impl Parent for OfSystemTopic {
    fn id(&self) -> String {
        Type("Microsoft.EventGrid/systemTopics").id_of(&self.home, &self.system_topic_name)
    }
}
