//! Resource providers: which namespaces and types there are.
//!
//! Promise: what is listed as a type can be managed here; what the real service has beside it is known by name, so
//! that asking for it is answered clearly.
//! Source: reference management 3.

use http::Method;
use serde_json::{Value, json};

use super::groups::LOCATION;
use super::{Answer, Call, ok};
use crate::problem::Refusal;

struct Provider {
    namespace: &'static str,
    /// Versions, the newest first: `az` picks the newest that is not a preview.
    versions: &'static [&'static str],
    types: &'static [&'static str],
    /// Types of the real service that do not exist here yet.
    planned: &'static [&'static str],
}

const PROVIDERS: &[Provider] = &[
    Provider {
        namespace: "Microsoft.Authorization",
        versions: &["2022-04-01"],
        types: &["roleAssignments", "roleDefinitions"],
        planned: &["locks", "policyAssignments", "policyDefinitions"],
    },
    Provider {
        namespace: "Microsoft.Communication",
        versions: &["2025-09-01", "2023-04-01", "2023-04-01-preview"],
        types: &[
            "communicationServices",
            "communicationServices/smtpUsernames",
            "emailServices",
            "emailServices/domains",
            "emailServices/domains/senderUsernames",
            "emailServices/domains/suppressionLists",
            "emailServices/domains/suppressionLists/suppressionListAddresses",
        ],
        planned: &["registeredNumbers"],
    },
    Provider {
        namespace: "Microsoft.EventGrid",
        versions: &["2025-02-15", "2022-06-15", "2021-10-15-preview"],
        types: &[
            "topics",
            "domains",
            "domains/topics",
            "systemTopics",
            "eventSubscriptions",
            "topicTypes",
            "extensionTopics",
        ],
        planned: &[
            "namespaces",
            "partnerConfigurations",
            "partnerDestinations",
            "partnerNamespaces",
            "partnerRegistrations",
            "partnerTopics",
            "verifiedPartners",
        ],
    },
    Provider {
        namespace: "Microsoft.Resources",
        versions: &["2024-11-01", "2022-12-01"],
        types: &["resourceGroups", "subscriptions"],
        planned: &["deployments", "tags"],
    },
];

/// `/subscriptions/{s}/providers/{namespace}` and its registration, which is always done already.
pub(super) fn route(call: &Call) -> Answer {
    let namespace = call.address.namespace.as_deref().unwrap_or_default();
    let provider = PROVIDERS
        .iter()
        .find(|provider| provider.namespace.eq_ignore_ascii_case(namespace))
        .ok_or_else(|| unknown(namespace))?;
    match (call.method(), call.address.words().first()) {
        (&Method::GET, None) | (&Method::POST, Some(_)) => ok(shown(call, provider)),
        _ => Err(call.not_allowed()),
    }
}

/// All providers.
pub(super) fn list(call: &Call) -> Answer {
    ok(json!({"value": PROVIDERS.iter().map(|one| shown(call, one)).collect::<Vec<_>>()}))
}

/// The types of a namespace, and how it is spelled.
pub(super) fn types_of(namespace: &str) -> Option<(&'static str, &'static [&'static str])> {
    let mut all = PROVIDERS.iter();
    let found = all.find(|one| one.namespace.eq_ignore_ascii_case(namespace));
    found.map(|one| (one.namespace, one.types))
}

/// Whether the real service has this type and we do not yet.
pub(super) fn is_planned(resource_type: &str) -> bool {
    let Some((namespace, rest)) = resource_type.split_once('/') else {
        return false;
    };
    let kind = rest.split('/').next().unwrap_or_default();
    PROVIDERS
        .iter()
        .filter(|provider| provider.namespace.eq_ignore_ascii_case(namespace))
        .any(|provider| {
            provider
                .planned
                .iter()
                .any(|name| name.eq_ignore_ascii_case(kind))
        })
}

fn unknown(namespace: &str) -> Refusal {
    let message = format!("The resource namespace '{namespace}' is invalid.");
    Refusal::new(
        http::StatusCode::NOT_FOUND,
        "InvalidResourceNamespace",
        message,
    )
}

fn shown(call: &Call, provider: &Provider) -> Value {
    let types: Vec<Value> = provider
        .types
        .iter()
        .map(|name| {
            json!({
                "resourceType": name, "locations": [LOCATION, "global"],
                "apiVersions": provider.versions, "capabilities": "None",
            })
        })
        .collect();
    let subscription = &call.parts.tenant.subscription_id;
    json!({
        "id": format!("/subscriptions/{subscription}/providers/{}", provider.namespace),
        "namespace": provider.namespace, "registrationState": "Registered",
        "registrationPolicy": "RegistrationRequired", "resourceTypes": types,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_real_service_has_is_known_by_name() {
        assert!(is_planned("microsoft.eventgrid/Namespaces/topics"));
        assert!(!is_planned("Microsoft.EventGrid/topics"));
        assert!(!is_planned("Microsoft.Nothing/namespaces"));
    }
}
