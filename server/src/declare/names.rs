//! The names that a file of resources may use, and what a resource has when it says nothing.
//!
//! Promise: names are those of Resource Manager's bodies. A name from inside `filter`, `retryPolicy` or `destination`
//! may also stand directly in its event subscription, because no two of them are alike.
//! Not here: whether a value is right, which the server decides.
//! Source: reference management 5.1 and 6.

use serde_json::{Value, json};

/// What can be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A resource group.
    Group,
    /// `Microsoft.Communication/emailServices`.
    EmailService,
    /// `Microsoft.Communication/emailServices/domains`.
    EmailDomain,
    /// `Microsoft.Communication/emailServices/domains/senderUsernames`.
    Sender,
    /// `Microsoft.Communication/emailServices/domains/suppressionLists`.
    SuppressionList,
    /// `Microsoft.Communication/emailServices/domains/suppressionLists/suppressionListAddresses`.
    SuppressedAddress,
    /// `Microsoft.Communication/communicationServices`.
    Communication,
    /// `Microsoft.Communication/communicationServices/smtpUsernames`.
    SmtpUsername,
    /// `Microsoft.EventGrid/topics`.
    Topic,
    /// `Microsoft.EventGrid/domains`.
    Domain,
    /// `Microsoft.EventGrid/domains/topics`.
    DomainTopic,
    /// `Microsoft.EventGrid/systemTopics`.
    SystemTopic,
    /// `Microsoft.EventGrid/eventSubscriptions`.
    Subscription,
}

/// What a resource has when the file does not say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Otherwise {
    /// What is there already, or what the server chooses.
    Kept,
    /// The schema of the source's events.
    OfSource,
    Null,
    Text(&'static str),
    Bool(bool),
    Number(u32),
    List,
    Table,
}

impl Otherwise {
    /// The value; `None` when it is not one of ours to know.
    pub(super) fn value(self) -> Option<Value> {
        Some(match self {
            Self::Kept | Self::OfSource => return None,
            Self::Null => Value::Null,
            Self::Text(text) => json!(text),
            Self::Bool(value) => json!(value),
            Self::Number(value) => json!(value),
            Self::List => json!([]),
            Self::Table => json!({}),
        })
    }
}

/// When two values are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alike {
    /// When they are equal.
    Exact,
    /// When they are equal without case: names of choices, resource ids.
    Word,
    /// When they are the same moment.
    Time,
    /// When all that is said is there.
    Rules,
    /// When nothing that is said is missing; more may be there.
    Among,
    /// When they are the same resource ids.
    Ids,
    /// When they are equal once what is empty is left out.
    Mapping,
    /// When they mean the same advanced filters.
    Filters,
    /// When they are equal but for secrets that are not shown.
    Attributes,
    /// When they are equal as far as is shown: the query of a URL is a secret.
    Url,
    /// Never shown, so it cannot be compared.
    Hidden,
}

/// One property.
#[derive(Debug)]
pub(super) struct Field {
    /// Its place in `properties`, or beside it for `location` and `tags`.
    pub(super) path: &'static str,
    pub(super) otherwise: Otherwise,
    pub(super) alike: Alike,
}

impl Field {
    /// The last part of its path, which may stand alone unless two have the same.
    pub(super) fn short(&self) -> &'static str {
        if self.path.starts_with("deadLetterDestination.") {
            return self.path;
        }
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Whether it stands beside `properties` in a body.
    pub(super) fn is_outside(&self) -> bool {
        matches!(self.path, "location" | "tags")
    }
}

const fn field(path: &'static str, otherwise: Otherwise, alike: Alike) -> Field {
    Field {
        path,
        otherwise,
        alike,
    }
}

const LOCATION: Field = field("location", Otherwise::Kept, Alike::Word);
const TAGS: Field = field("tags", Otherwise::Table, Alike::Exact);

const GROUP: &[Field] = &[LOCATION, field("tags", Otherwise::Kept, Alike::Exact)];

const COMMUNICATION: &[Field] = &[
    LOCATION,
    TAGS,
    field("dataLocation", Otherwise::Kept, Alike::Word),
    field("linkedDomains", Otherwise::List, Alike::Ids),
    field(
        "publicNetworkAccess",
        Otherwise::Text("Enabled"),
        Alike::Word,
    ),
    field("disableLocalAuth", Otherwise::Bool(false), Alike::Exact),
];

const EMAIL_SERVICE: &[Field] = &[
    LOCATION,
    TAGS,
    field("dataLocation", Otherwise::Kept, Alike::Word),
];

/// Which records of a domain are verified. Ours: Resource Manager has it as actions and their states.
pub(super) const VERIFIED: &str = "verified";
/// What a sender is called, in the path and in the body alike.
pub(super) const USERNAME: &str = "username";

const EMAIL_DOMAIN: &[Field] = &[
    LOCATION,
    TAGS,
    field("domainManagement", Otherwise::Kept, Alike::Word),
    field(
        "userEngagementTracking",
        Otherwise::Text("Disabled"),
        Alike::Word,
    ),
    field(VERIFIED, Otherwise::Kept, Alike::Among),
];

const SENDER: &[Field] = &[
    field(USERNAME, Otherwise::Kept, Alike::Word),
    field("displayName", Otherwise::Null, Alike::Exact),
];

const SUPPRESSION_LIST: &[Field] = &[field("listName", Otherwise::Kept, Alike::Exact)];

const SUPPRESSED_ADDRESS: &[Field] = &[
    field("email", Otherwise::Kept, Alike::Exact),
    field("firstName", Otherwise::Null, Alike::Exact),
    field("lastName", Otherwise::Null, Alike::Exact),
    field("notes", Otherwise::Null, Alike::Exact),
];

const SMTP_USERNAME: &[Field] = &[
    field(USERNAME, Otherwise::Kept, Alike::Exact),
    field("entraApplicationId", Otherwise::Kept, Alike::Exact),
    field("tenantId", Otherwise::Kept, Alike::Exact),
];

const INPUT_SCHEMA: Field = field(
    "inputSchema",
    Otherwise::Text("EventGridSchema"),
    Alike::Word,
);
const INPUT_MAPPING: Field = field("inputSchemaMapping", Otherwise::Null, Alike::Mapping);
const NETWORK: Field = field(
    "publicNetworkAccess",
    Otherwise::Text("Enabled"),
    Alike::Word,
);
const IP_RULES: Field = field("inboundIpRules", Otherwise::List, Alike::Rules);
const LOCAL_AUTH: Field = field("disableLocalAuth", Otherwise::Bool(false), Alike::Exact);
const TLS: Field = field(
    "minimumTlsVersionAllowed",
    Otherwise::Text("1.2"),
    Alike::Word,
);
const RESIDENCY: Field = field(
    "dataResidencyBoundary",
    Otherwise::Text("WithinGeopair"),
    Alike::Word,
);
const EVENT_TYPES: Field = field("eventTypeInfo", Otherwise::Null, Alike::Exact);

const TOPIC: &[Field] = &[
    LOCATION,
    TAGS,
    INPUT_SCHEMA,
    INPUT_MAPPING,
    NETWORK,
    IP_RULES,
    LOCAL_AUTH,
    TLS,
    RESIDENCY,
    EVENT_TYPES,
];

const DOMAIN: &[Field] = &[
    LOCATION,
    TAGS,
    INPUT_SCHEMA,
    INPUT_MAPPING,
    NETWORK,
    IP_RULES,
    LOCAL_AUTH,
    TLS,
    RESIDENCY,
    EVENT_TYPES,
    field(
        "autoCreateTopicWithFirstSubscription",
        Otherwise::Bool(true),
        Alike::Exact,
    ),
    field(
        "autoDeleteTopicWithLastSubscription",
        Otherwise::Bool(true),
        Alike::Exact,
    ),
];

const SYSTEM_TOPIC: &[Field] = &[
    LOCATION,
    TAGS,
    field("source", Otherwise::Kept, Alike::Word),
    field("topicType", Otherwise::Kept, Alike::Word),
];

pub(super) const ENDPOINT_TYPE: &str = "destination.endpointType";
pub(super) const ENDPOINT_URL: &str = "destination.properties.endpointUrl";
pub(super) const RESOURCE_ID: &str = "destination.properties.resourceId";
pub(super) const QUEUE_NAME: &str = "destination.properties.queueName";
pub(super) const ATTRIBUTES: &str = "destination.properties.deliveryAttributeMappings";
pub(super) const SIGNING: &str = "destination.properties.gridpostSigningSecret";
pub(super) const DELIVERY_SCHEMA: &str = "eventDeliverySchema";
pub(super) const DEAD_LETTER_TYPE: &str = "deadLetterDestination.endpointType";
pub(super) const DEAD_LETTER_RESOURCE: &str = "deadLetterDestination.properties.resourceId";
pub(super) const DEAD_LETTER_CONTAINER: &str = "deadLetterDestination.properties.blobContainerName";

const SUBSCRIPTION: &[Field] = &[
    field(ENDPOINT_TYPE, Otherwise::Text("WebHook"), Alike::Word),
    field(ENDPOINT_URL, Otherwise::Null, Alike::Url),
    field(RESOURCE_ID, Otherwise::Null, Alike::Word),
    field(QUEUE_NAME, Otherwise::Null, Alike::Exact),
    field(
        "destination.properties.queueMessageTimeToLiveInSeconds",
        Otherwise::Null,
        Alike::Exact,
    ),
    field(
        "destination.properties.maxEventsPerBatch",
        Otherwise::Number(1),
        Alike::Exact,
    ),
    field(
        "destination.properties.preferredBatchSizeInKilobytes",
        Otherwise::Number(64),
        Alike::Exact,
    ),
    field(
        "destination.properties.azureActiveDirectoryTenantId",
        Otherwise::Null,
        Alike::Exact,
    ),
    field(
        "destination.properties.azureActiveDirectoryApplicationIdOrUri",
        Otherwise::Null,
        Alike::Exact,
    ),
    field(ATTRIBUTES, Otherwise::List, Alike::Attributes),
    field(SIGNING, Otherwise::Kept, Alike::Hidden),
    field("filter.includedEventTypes", Otherwise::Null, Alike::Exact),
    field(
        "filter.subjectBeginsWith",
        Otherwise::Text(""),
        Alike::Exact,
    ),
    field("filter.subjectEndsWith", Otherwise::Text(""), Alike::Exact),
    field(
        "filter.isSubjectCaseSensitive",
        Otherwise::Bool(false),
        Alike::Exact,
    ),
    field(
        "filter.enableAdvancedFilteringOnArrays",
        Otherwise::Bool(false),
        Alike::Exact,
    ),
    field("filter.advancedFilters", Otherwise::List, Alike::Filters),
    field("labels", Otherwise::List, Alike::Exact),
    field("expirationTimeUtc", Otherwise::Null, Alike::Time),
    field(DELIVERY_SCHEMA, Otherwise::OfSource, Alike::Word),
    field(
        "retryPolicy.maxDeliveryAttempts",
        Otherwise::Number(30),
        Alike::Exact,
    ),
    field(
        "retryPolicy.eventTimeToLiveInMinutes",
        Otherwise::Number(1440),
        Alike::Exact,
    ),
    field(DEAD_LETTER_TYPE, Otherwise::Null, Alike::Word),
    field(DEAD_LETTER_RESOURCE, Otherwise::Null, Alike::Word),
    field(DEAD_LETTER_CONTAINER, Otherwise::Null, Alike::Exact),
];

/// What stands for several properties at once, as `az` has it.
pub(super) const ENDPOINT: &str = "endpoint";
/// `--deadletter-endpoint` of `az`.
pub(super) const DEAD_LETTER: &str = "deadLetterEndpoint";

impl Kind {
    /// Its properties.
    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::Group => GROUP,
            Self::EmailService => EMAIL_SERVICE,
            Self::EmailDomain => EMAIL_DOMAIN,
            Self::Sender => SENDER,
            Self::SuppressionList => SUPPRESSION_LIST,
            Self::SuppressedAddress => SUPPRESSED_ADDRESS,
            Self::Communication => COMMUNICATION,
            Self::SmtpUsername => SMTP_USERNAME,
            Self::Topic => TOPIC,
            Self::Domain => DOMAIN,
            Self::DomainTopic => &[],
            Self::SystemTopic => SYSTEM_TOPIC,
            Self::Subscription => SUBSCRIPTION,
        }
    }

    /// What lives in it: the name of the table, and what its entries are.
    pub(super) fn children(self) -> &'static [(&'static str, Self)] {
        const SUBSCRIPTIONS: (&str, Kind) = ("eventSubscriptions", Kind::Subscription);
        match self {
            Self::Group => &[
                ("emailServices", Self::EmailService),
                ("communicationServices", Self::Communication),
                ("topics", Self::Topic),
                ("domains", Self::Domain),
                ("systemTopics", Self::SystemTopic),
            ],
            Self::EmailService => &[("domains", Self::EmailDomain)],
            Self::EmailDomain => &[
                ("senderUsernames", Self::Sender),
                ("suppressionLists", Self::SuppressionList),
            ],
            Self::SuppressionList => &[("suppressionListAddresses", Self::SuppressedAddress)],
            Self::Communication => &[("smtpUsernames", Self::SmtpUsername), SUBSCRIPTIONS],
            Self::Domain => &[("topics", Self::DomainTopic), SUBSCRIPTIONS],
            Self::Topic | Self::DomainTopic | Self::SystemTopic => &[SUBSCRIPTIONS],
            Self::Sender | Self::SuppressedAddress | Self::SmtpUsername | Self::Subscription => &[],
        }
    }

    /// Names of its own beside those of its properties.
    pub(super) fn forms(self) -> &'static [&'static str] {
        match self {
            Self::Subscription => &[ENDPOINT, DEAD_LETTER],
            _ => &[],
        }
    }

    /// The property of that path, or the one that is called so for short.
    pub(super) fn field(self, name: &str) -> Option<&'static Field> {
        let fields = self.fields();
        let whole = fields.iter().find(|field| field.path == name);
        whole.or_else(|| fields.iter().find(|field| field.short() == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_means_one_property() {
        for kind in [
            Kind::EmailService,
            Kind::EmailDomain,
            Kind::SuppressionList,
            Kind::SuppressedAddress,
            Kind::Communication,
            Kind::Topic,
            Kind::Domain,
            Kind::SystemTopic,
            Kind::Subscription,
        ] {
            let fields = kind.fields();
            for field in fields {
                let same = fields.iter().filter(|one| one.short() == field.short());
                assert_eq!(same.count(), 1, "{}", field.path);
                assert!(
                    kind.children()
                        .iter()
                        .all(|(name, _)| *name != field.short())
                );
            }
        }
    }
}
