//! `gridpost event-subscription`: who hears of what, on any resource.

use http::Method;
use serde_json::{Value, json};

use super::super::examples;
use super::occurrences::Occurrences;
use super::{Hands, Home, group, text};
use crate::cli::naming::segment;
use crate::credentials::{COMMUNICATION_RESOURCE, SUBSCRIPTION};
use crate::declare::endpoint;
use crate::declare::put;
use crate::output::{Exit, Failure};

#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Create an event subscription, or replace it
    #[command(after_help = examples::SUBSCRIPTION)]
    Create {
        #[command(flatten)]
        named: OfSource,
        #[command(flatten)]
        said: Box<Said>,
    },
    /// Show an event subscription
    Show {
        #[command(flatten)]
        named: OfSource,
        #[command(flatten)]
        secrets: Secrets,
    },
    /// List event subscriptions: of a resource, or all
    List {
        /// Only those of this resource
        #[arg(long, value_name = "ID")]
        source_resource_id: Option<String>,
        /// Only those whose source is in this resource group
        #[arg(short = 'g', long, value_name = "NAME", value_parser = segment)]
        resource_group: Option<String>,
    },
    /// Change what is said of an event subscription
    Update {
        #[command(flatten)]
        named: OfSource,
        #[command(flatten)]
        said: Box<Said>,
    },
    /// Delete an event subscription
    Delete(OfSource),
}

/// Which one.
#[derive(clap::Args)]
pub(in crate::cli) struct OfSource {
    /// Its name
    #[arg(short, long, value_parser = segment)]
    name: String,
    #[command(flatten)]
    source: Source,
}

/// On what. The development communication resource when nothing is said.
#[derive(clap::Args)]
struct Source {
    /// The resource whose events they are: its whole id
    #[arg(long, value_name = "ID", conflicts_with = "topic_name")]
    source_resource_id: Option<String>,
    /// The same for a topic: its name
    #[arg(long, value_name = "NAME")]
    topic_name: Option<String>,
    #[command(flatten)]
    home: Home,
}

impl OfSource {
    fn id(&self) -> String {
        let source = match (&self.source.source_resource_id, &self.source.topic_name) {
            (Some(id), _) => id.trim_end_matches('/').to_owned(),
            (None, Some(topic)) => {
                let group = group(&self.source.home.resource_group);
                format!("{group}/providers/Microsoft.EventGrid/topics/{topic}")
            }
            (None, None) => COMMUNICATION_RESOURCE.to_owned(),
        };
        format!(
            "{source}/providers/Microsoft.EventGrid/eventSubscriptions/{}",
            self.name
        )
    }
}

/// What is shown beside the rest.
#[derive(clap::Args)]
pub(in crate::cli) struct Secrets {
    /// With the query of the endpoint's URL, which is a secret
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    include_full_endpoint_url: Option<bool>,
    /// With the values of secret delivery attributes
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    include_static_delivery_attribute_secret: Option<bool>,
}

/// What is said of one.
#[derive(clap::Args)]
pub(in crate::cli) struct Said {
    /// Where events go: a URL, or the id of a queue, a function, an event hub
    #[arg(long)]
    endpoint: Option<String>,
    /// webhook, azurefunction, storagequeue, servicebusqueue, servicebustopic or eventhub
    #[arg(long, value_name = "TYPE", requires = "endpoint")]
    endpoint_type: Option<String>,
    /// Only these types
    #[arg(long, num_args = 1.., value_name = "TYPE")]
    included_event_types: Option<Vec<String>>,
    /// Only subjects that begin so
    #[arg(long, value_name = "TEXT")]
    subject_begins_with: Option<String>,
    /// Only subjects that end so
    #[arg(long, value_name = "TEXT")]
    subject_ends_with: Option<String>,
    /// Whether the case of subjects counts
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    subject_case_sensitive: Option<bool>,
    /// Whether filters look into arrays
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    enable_advanced_filtering_on_arrays: Option<bool>,
    #[command(flatten)]
    occurrences: Occurrences,
    /// How often a delivery is tried at most
    #[arg(long, value_name = "N")]
    max_delivery_attempts: Option<u32>,
    /// How many minutes it is tried at most
    #[arg(long, value_name = "MINUTES")]
    event_ttl: Option<u32>,
    /// What a webhook is sent: eventgridschema, cloudeventschemav1_0 or custominputschema
    #[arg(long, value_name = "SCHEMA")]
    event_delivery_schema: Option<String>,
    /// Where what cannot be delivered goes: <storage account id>/blobServices/default/containers/<name>
    #[arg(long, value_name = "ID")]
    deadletter_endpoint: Option<String>,
    /// Labels
    #[arg(long, num_args = 1..)]
    labels: Option<Vec<String>>,
    /// When it ends: 2030-01-01 or 2030-01-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    expiration_date: Option<String>,
    /// Events in one request at most
    #[arg(long, value_name = "N")]
    max_events_per_batch: Option<u32>,
    /// How large a request should be
    #[arg(long, value_name = "KIB")]
    preferred_batch_size_in_kilobytes: Option<u32>,
    /// How long a message of a storage queue stays, in seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    qttl: Option<i64>,
    /// The tenant that issues tokens for the endpoint
    #[arg(long, value_name = "ID")]
    azure_active_directory_tenant_id: Option<String>,
    /// The application that tokens are for
    #[arg(long, value_name = "ID")]
    azure_active_directory_application_id_or_uri: Option<String>,
}

pub(in crate::cli) async fn run(command: Command, hands: &Hands) -> Result<(), Failure> {
    match command {
        Command::Create { named, said } => create(&named.id(), &said, hands).await,
        Command::Show { named, secrets } => show(&named.id(), &secrets, hands).await,
        Command::List {
            source_resource_id,
            resource_group,
        } => {
            let scope = match (source_resource_id, resource_group) {
                (Some(id), _) => id,
                (None, Some(name)) => group(&name),
                (None, None) => format!("/subscriptions/{SUBSCRIPTION}"),
            };
            hands
                .list(&format!(
                    "{scope}/providers/Microsoft.EventGrid/eventSubscriptions"
                ))
                .await
        }
        Command::Update { named, said } => update(&named.id(), &said, hands).await,
        Command::Delete(named) => hands.delete(&named.id()).await,
    }
}

pub(super) async fn create(id: &str, said: &Said, hands: &Hands) -> Result<(), Failure> {
    let body = json!({ "properties": said.properties("WebHook")? });
    hands.tell(Method::PUT, id, Some(body)).await
}

pub(super) async fn show(id: &str, secrets: &Secrets, hands: &Hands) -> Result<(), Failure> {
    let ask = async |action: &str| {
        let id = format!("{id}/{action}");
        hands.client.manage(Method::POST, &id, None).await
    };
    let mut shown = hands.client.manage(Method::GET, id, None).await?;
    if secrets.include_full_endpoint_url == Some(true) {
        let mut full = ask("getFullUrl").await?;
        let path = "properties.destination.properties.endpointUrl";
        put(&mut shown, path, full["endpointUrl"].take());
    }
    if secrets.include_static_delivery_attribute_secret == Some(true) {
        let mut all = ask("getDeliveryAttributes").await?;
        let path = "properties.destination.properties.deliveryAttributeMappings";
        put(&mut shown, path, all["value"].take());
    }
    hands.output.result(&shown, super::properties);
    Ok(())
}

pub(super) async fn update(id: &str, said: &Said, hands: &Hands) -> Result<(), Failure> {
    // Which endpoint a text is depends on the type, which stays when no other is said.
    let body = if said.changes_destination() && said.endpoint_type.is_none() {
        let is = hands.client.manage(Method::GET, id, None).await?;
        let kind = &is["properties"]["destination"]["endpointType"];
        let mut body = said.properties(kind.as_str().unwrap_or("WebHook"))?;
        put(&mut body, "destination.endpointType", kind.clone());
        body
    } else {
        said.properties("WebHook")?
    };
    hands.tell(Method::PATCH, id, Some(body)).await
}

impl Said {
    fn changes_destination(&self) -> bool {
        let probe = self.properties("WebHook");
        self.endpoint.is_some() || probe.is_ok_and(|said| !said["destination"].is_null())
    }

    /// What was said; `usual` is the endpoint's type when none is.
    fn properties(&self, usual: &str) -> Result<Value, Failure> {
        let wrong = |words: String| Failure::said(Exit::Usage, words);
        let mut parts = Vec::new();
        let kind = self.endpoint_type.as_deref().unwrap_or(usual);
        if let Some(given) = &self.endpoint {
            parts.extend(endpoint::destination(kind, given).map_err(wrong)?);
            parts.push(("destination.endpointType", json!(kind)));
        }
        if let Some(given) = &self.deadletter_endpoint {
            parts.extend(endpoint::dead_letter(given).map_err(wrong)?);
        }
        let number = |value: Option<u32>| value.map(|value| json!(value));
        let yes = |value: Option<bool>| value.map(|value| json!(value));
        let list = |value: &Option<Vec<String>>| value.as_ref().map(|all| json!(all));
        let day = |text: &String| {
            json!(if text.len() == 10 {
                format!("{text}T00:00:00Z")
            } else {
                text.clone()
            })
        };
        let said = [
            (
                "filter.includedEventTypes",
                list(&self.included_event_types),
            ),
            (
                "filter.subjectBeginsWith",
                text(self.subject_begins_with.as_ref()),
            ),
            (
                "filter.subjectEndsWith",
                text(self.subject_ends_with.as_ref()),
            ),
            (
                "filter.isSubjectCaseSensitive",
                yes(self.subject_case_sensitive),
            ),
            (
                "filter.enableAdvancedFilteringOnArrays",
                yes(self.enable_advanced_filtering_on_arrays),
            ),
            ("filter.advancedFilters", self.occurrences.filters()),
            (
                "retryPolicy.maxDeliveryAttempts",
                number(self.max_delivery_attempts),
            ),
            (
                "retryPolicy.eventTimeToLiveInMinutes",
                number(self.event_ttl),
            ),
            (
                "eventDeliverySchema",
                text(self.event_delivery_schema.as_ref()),
            ),
            ("labels", list(&self.labels)),
            ("expirationTimeUtc", self.expiration_date.as_ref().map(day)),
            (
                "destination.properties.deliveryAttributeMappings",
                self.occurrences.mappings(),
            ),
            (
                "destination.properties.maxEventsPerBatch",
                number(self.max_events_per_batch),
            ),
            (
                "destination.properties.preferredBatchSizeInKilobytes",
                number(self.preferred_batch_size_in_kilobytes),
            ),
            (
                "destination.properties.queueMessageTimeToLiveInSeconds",
                self.qttl.map(|value| json!(value)),
            ),
            (
                "destination.properties.azureActiveDirectoryTenantId",
                text(self.azure_active_directory_tenant_id.as_ref()),
            ),
            (
                "destination.properties.azureActiveDirectoryApplicationIdOrUri",
                text(self.azure_active_directory_application_id_or_uri.as_ref()),
            ),
        ];
        parts.extend(
            said.into_iter()
                .filter_map(|(path, value)| Some((path, value?))),
        );
        let mut properties = json!({});
        for (path, value) in parts {
            put(&mut properties, path, value);
        }
        Ok(properties)
    }
}
