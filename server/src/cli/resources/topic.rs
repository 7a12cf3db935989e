//! `gridpost topic`, and what domains have in common with it.

use http::Method;
use serde_json::{Map, Value, json};

use super::super::examples;
use super::below::{Below, OfTopic};
use super::{Hands, Listed, Named, Place, Tags, Type, body, pair, text};
use crate::output::Failure;

const TOPICS: Type = Type("Microsoft.EventGrid/topics");

#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Create a topic, or replace its settings
    #[command(after_help = examples::TOPIC)]
    Create(Create),
    /// Show a topic
    Show(Named),
    /// List topics
    List(Listed),
    /// Change a topic
    Update(Update),
    /// Delete a topic and its event subscriptions
    Delete(Named),
    /// The keys that publishers sign with
    #[command(subcommand)]
    Key(Key),
    /// The event subscriptions of a topic
    #[command(subcommand)]
    EventSubscription(Box<Below<OfTopic>>),
}

/// A new topic or domain.
#[derive(clap::Args)]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    tags: Tags,
    /// What publishers send: eventgridschema, cloudeventschemav1_0 or customeventschema
    #[arg(long, value_name = "SCHEMA")]
    input_schema: Option<String>,
    /// With customeventschema, which field is which: id=a eventtime=b topic=c eventtype=d subject=e dataversion=f
    #[arg(long, num_args = 1.., value_name = "FIELD=SOURCE", value_parser = pair)]
    input_mapping_fields: Option<Vec<(String, String)>>,
    /// With customeventschema, what stands in for a field that is missing: eventtype, subject, dataversion
    #[arg(long, num_args = 1.., value_name = "FIELD=VALUE", value_parser = pair)]
    input_mapping_default_values: Option<Vec<(String, String)>>,
    #[command(flatten)]
    network: Network,
}

/// Who may reach it.
#[derive(clap::Args)]
pub(in crate::cli) struct Network {
    /// enabled or disabled
    #[arg(long, value_name = "CHOICE")]
    public_network_access: Option<String>,
    /// Networks that may publish: 10.0.0.0/8 allow; for each one more --inbound-ip-rules
    #[arg(long, num_args = 1..=2, value_name = "MASK", action = clap::ArgAction::Append)]
    inbound_ip_rules: Option<Vec<String>>,
    /// Refuse keys and shared access signatures
    #[arg(long, value_name = "BOOL")]
    disable_local_auth: Option<bool>,
}

/// What can be changed of a topic or a domain.
#[derive(clap::Args)]
pub(in crate::cli) struct Update {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    tags: Tags,
    #[command(flatten)]
    network: Network,
}

/// Keys.
#[derive(clap::Subcommand)]
pub(in crate::cli) enum Key {
    /// Show both keys
    List(Named),
    /// Make one of them anew
    Regenerate {
        #[command(flatten)]
        named: Named,
        /// key1 or key2
        #[arg(long)]
        key_name: String,
    },
}

pub(in crate::cli) async fn run(command: Command, hands: &Hands) -> Result<(), Failure> {
    match command {
        Command::Create(create) => create.run(TOPICS, hands).await,
        Command::Show(named) => hands.show(&TOPICS.id(&named)).await,
        Command::List(listed) => TOPICS.list(&listed, hands).await,
        Command::Update(update) => update.run(TOPICS, hands).await,
        Command::Delete(named) => hands.delete(&TOPICS.id(&named)).await,
        Command::Key(key) => key.run(TOPICS, hands).await,
        Command::EventSubscription(below) => below.run(hands).await,
    }
}

impl Create {
    pub(super) async fn run(self, of: Type, hands: &Hands) -> Result<(), Failure> {
        let id = of.id(&self.named);
        hands.tell(Method::PUT, &id, Some(self.body())).await
    }

    fn body(&self) -> Value {
        let [access, rules, local] = self.network.values();
        body(
            [
                ("location", text(self.place.location.as_ref())),
                ("tags", self.tags.value()),
            ],
            [
                ("inputSchema", text(self.input_schema.as_ref())),
                ("inputSchemaMapping", self.mapping()),
                ("publicNetworkAccess", access),
                ("inboundIpRules", rules),
                ("disableLocalAuth", local),
            ],
        )
    }

    fn mapping(&self) -> Option<Value> {
        let given = |all: &Option<Vec<(String, String)>>| all.clone().unwrap_or_default();
        let (fields, defaults) = (
            given(&self.input_mapping_fields),
            given(&self.input_mapping_default_values),
        );
        if fields.is_empty() && defaults.is_empty() {
            return None;
        }
        let mut properties = Map::new();
        for (all, part) in [(fields, "sourceField"), (defaults, "defaultValue")] {
            for (field, value) in all {
                let known = [
                    "id",
                    "topic",
                    "eventTime",
                    "eventType",
                    "subject",
                    "dataVersion",
                ];
                let name = known.iter().find(|name| name.eq_ignore_ascii_case(&field));
                let name = name.map_or(field.as_str(), |name| *name);
                let place = properties.entry(name).or_insert_with(|| json!({}));
                place[part] = json!(value);
            }
        }
        Some(json!({"inputSchemaMappingType": "Json", "properties": properties}))
    }
}

impl Update {
    pub(super) async fn run(self, of: Type, hands: &Hands) -> Result<(), Failure> {
        let id = of.id(&self.named);
        hands.tell(Method::PATCH, &id, Some(self.body())).await
    }

    fn body(&self) -> Value {
        let [access, rules, local] = self.network.values();
        body(
            [("tags", self.tags.value())],
            [
                ("publicNetworkAccess", access),
                ("inboundIpRules", rules),
                ("disableLocalAuth", local),
            ],
        )
    }
}

impl Network {
    fn values(&self) -> [Option<Value>; 3] {
        let is_mask = |text: &&String| !text.eq_ignore_ascii_case("allow");
        let rule = |mask: &String| json!({"ipMask": mask, "action": "Allow"});
        let rules = self.inbound_ip_rules.as_ref();
        [
            text(self.public_network_access.as_ref()),
            rules.map(|all| all.iter().filter(is_mask).map(rule).collect()),
            self.disable_local_auth.map(|value| json!(value)),
        ]
    }
}

impl Key {
    pub(super) async fn run(&self, of: Type, hands: &Hands) -> Result<(), Failure> {
        match self {
            Self::List(named) => {
                hands
                    .tell(Method::POST, &format!("{}/listKeys", of.id(named)), None)
                    .await
            }
            Self::Regenerate { named, key_name } => {
                let body = json!({ "keyName": key_name });
                hands
                    .tell(
                        Method::POST,
                        &format!("{}/regenerateKey", of.id(named)),
                        Some(body),
                    )
                    .await
            }
        }
    }
}
