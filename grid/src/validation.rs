//! What may be written into an event subscription.
//!
//! Promise: what passes here can be kept and shown; a refusal names the property by its path on the wire.
//! Source: reference event-grid 1.4, 3.3, 3.4.

use gridpost_model::event_type;
use gridpost_model::filter::TopicKind;
use gridpost_model::subscription::{DeliverySchema, Destination};
use gridpost_model::{Filter, RetryPolicy, Timestamp};

use crate::manage::Invalid;
use crate::outbound::{BadUrl, Client};
use crate::subscriptions::SubscriptionSpec;

/// The service publishes no bound for these; ours keep one row small.
const LABELS: usize = 100;
const LABEL_BYTES: usize = 256;
const SUBJECT_BYTES: usize = 2048;
const EVENT_TYPES: usize = 500;
const URL_BYTES: usize = 2048;

/// Checks a name. 3 to 64 characters; the documentation says alphanumeric and its samples have hyphens.
pub(crate) fn check_name(name: &str) -> Result<(), Invalid> {
    let well_formed = (3..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if well_formed {
        return Ok(());
    }
    let message = "The event subscription name must be 3 to 64 characters long and contain only letters, digits and '-'.";
    Err(Invalid::new("name", message))
}

/// Brings a specification into the form that is kept, or says what is wrong with it.
pub(crate) fn check(
    spec: SubscriptionSpec,
    kind: TopicKind,
    now: Timestamp,
    client: &Client,
) -> Result<SubscriptionSpec, Invalid> {
    check_destination(&spec.destination, client)?;
    check_schema(spec.delivery_schema)?;
    check_policy(spec.retry_policy)?;
    check_labels(&spec.labels)?;
    if spec.expires.is_some_and(|expires| expires <= now) {
        return Err(Invalid::new(
            "expirationTimeUtc",
            "Invalid expiration time.",
        ));
    }
    if let Some(target) = &spec.dead_letter {
        check_dead_letter(&target.resource_id, &target.container)?;
    }
    let filter = check_filter(spec.filter, kind)?;
    Ok(SubscriptionSpec { filter, ..spec })
}

fn check_destination(destination: &Destination, client: &Client) -> Result<(), Invalid> {
    let Some(hook) = destination.webhook() else {
        let kind = destination.kind();
        let message =
            format!("The destination type '{kind}' is not supported by this version of Gridpost.");
        return Err(Invalid::new("destination.endpointType", message));
    };
    let field = "destination.properties.endpointUrl";
    if URL_BYTES < hook.url.reveal().len() {
        return Err(Invalid::new(
            field,
            format!("The endpoint URL is longer than {URL_BYTES} characters."),
        ));
    }
    let why = match client.endpoint(hook.url.reveal()) {
        Ok(_) => return Ok(()),
        Err(BadUrl::Malformed) => "it is not an absolute https URL".to_owned(),
        Err(BadUrl::NotHttps) => "only https endpoints are supported".to_owned(),
        Err(other) => other.to_string(),
    };
    Err(Invalid::new(
        field,
        format!(
            "The endpoint URL '{}' is not valid: {why}.",
            hook.base_url()
        ),
    ))
}

/// Topics take the Event Grid schema so far, which cannot be delivered as somebody's own schema.
fn check_schema(schema: DeliverySchema) -> Result<(), Invalid> {
    if schema != DeliverySchema::Custom {
        return Ok(());
    }
    let message = "The specified EventDeliverySchema value \"CustomInputSchema\" cannot be used in combination with the topic's input schema of EventGridSchema";
    Err(Invalid::new("eventDeliverySchema", message))
}

fn check_policy(policy: RetryPolicy) -> Result<(), Invalid> {
    if !(1..=30).contains(&policy.max_attempts) {
        let message = "The maximum number of delivery attempts must be between 1 and 30.";
        return Err(Invalid::new("retryPolicy.maxDeliveryAttempts", message));
    }
    if !(1..=1440).contains(&policy.time_to_live_minutes) {
        let message = "The event time to live must be between 1 and 1440 minutes.";
        return Err(Invalid::new(
            "retryPolicy.eventTimeToLiveInMinutes",
            message,
        ));
    }
    Ok(())
}

fn check_labels(labels: &[String]) -> Result<(), Invalid> {
    if labels.len() <= LABELS && labels.iter().all(|label| label.len() <= LABEL_BYTES) {
        return Ok(());
    }
    let message = format!("At most {LABELS} labels of at most {LABEL_BYTES} characters are kept.");
    Err(Invalid::new("labels", message))
}

fn check_dead_letter(account: &str, container: &str) -> Result<(), Invalid> {
    if account.is_empty() {
        let message = "The resource id of the storage account is missing.";
        return Err(Invalid::new(
            "deadLetterDestination.properties.resourceId",
            message,
        ));
    }
    // Blob container names, as the storage service defines them.
    let well_formed = (3..=63).contains(&container.len())
        && container
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !container.starts_with('-')
        && !container.ends_with('-')
        && !container.contains("--");
    if well_formed {
        return Ok(());
    }
    Err(Invalid::new(
        "deadLetterDestination.properties.blobContainerName",
        format!("'{container}' is not the name of a blob container."),
    ))
}

fn check_filter(filter: Filter, kind: TopicKind) -> Result<Filter, Invalid> {
    let too_long = |text: &str| SUBJECT_BYTES < text.len();
    let message = || format!("At most {SUBJECT_BYTES} characters of a subject can be compared.");
    if too_long(&filter.subject_begins_with) {
        return Err(Invalid::new("filter.subjectBeginsWith", message()));
    }
    if too_long(&filter.subject_ends_with) {
        return Err(Invalid::new("filter.subjectEndsWith", message()));
    }
    let included_event_types = check_types(filter.included_event_types, kind)?;
    Ok(Filter {
        included_event_types,
        ..filter
    })
}

/// An empty list and `All` mean the default types, as no list does.
fn check_types(
    types: Option<Vec<String>>,
    kind: TopicKind,
) -> Result<Option<Vec<String>>, Invalid> {
    let field = "filter.includedEventTypes";
    let Some(types) = types.filter(|types| !types.is_empty()) else {
        return Ok(None);
    };
    if types.iter().any(|one| one.eq_ignore_ascii_case("All")) {
        return Ok(None);
    }
    if EVENT_TYPES < types.len() || types.iter().any(String::is_empty) {
        return Err(Invalid::new(
            field,
            format!("1 to {EVENT_TYPES} event types that are not empty can be listed."),
        ));
    }
    let unknown =
        |one: &&String| kind == TopicKind::Communication && event_type::find(one).is_none();
    if let Some(unknown) = types.iter().find(unknown) {
        return Err(Invalid::new(
            field,
            format!(
                "The event type '{unknown}' is not an event type of '{}'.",
                event_type::COMMUNICATION_TOPIC_TYPE
            ),
        ));
    }
    Ok(Some(types))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gridpost_model::subscription::DeadLetterDestination;

    use super::*;
    use crate::outbound::Settings;
    use crate::testing;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn refused(change: impl FnOnce(&mut SubscriptionSpec)) -> Option<Invalid> {
        let client =
            Client::new(&Settings::default(), Arc::new(testing::StoppedClock(NOW))).unwrap();
        let mut spec = SubscriptionSpec::to("https://example.com/hook?code=s3cret");
        change(&mut spec);
        check(spec, TopicKind::Communication, NOW, &client).err()
    }

    fn field(change: impl FnOnce(&mut SubscriptionSpec)) -> Option<&'static str> {
        refused(change).map(|invalid| invalid.field)
    }

    fn set_url(url: &str) -> impl FnOnce(&mut SubscriptionSpec) {
        let destination = SubscriptionSpec::to(url).destination;
        move |spec| spec.destination = destination
    }

    #[test]
    fn a_plain_subscription_passes() {
        assert_eq!(refused(|_| ()), None);
    }

    #[test]
    fn section_3_3_only_public_https_endpoints_are_taken() {
        for url in [
            "http://example.com/",
            "ftp://example.com/",
            "example.com",
            "https://10.0.0.1/",
            "https://[::1]/",
        ] {
            assert_eq!(
                field(set_url(url)),
                Some("destination.properties.endpointUrl"),
                "{url}"
            );
        }
    }

    #[test]
    fn a_refused_url_is_named_without_its_secret_query() {
        let refused = refused(set_url("http://example.com/hook?code=s3cret")).unwrap();
        assert!(refused.message.contains("http://example.com/hook"));
        assert!(!refused.message.contains("s3cret"));
    }

    #[test]
    fn section_3_3_the_ranges_of_the_retry_policy() {
        for (attempts, minutes, expected) in [
            (1, 1, None),
            (30, 1440, None),
            (0, 60, Some("retryPolicy.maxDeliveryAttempts")),
            (31, 60, Some("retryPolicy.maxDeliveryAttempts")),
            (5, 0, Some("retryPolicy.eventTimeToLiveInMinutes")),
            (5, 1441, Some("retryPolicy.eventTimeToLiveInMinutes")),
        ] {
            let policy = RetryPolicy {
                max_attempts: attempts,
                time_to_live_minutes: minutes,
            };
            assert_eq!(
                field(|spec| spec.retry_policy = policy),
                expected,
                "{policy:?}"
            );
        }
    }

    #[test]
    fn section_3_3_an_expiration_lies_in_the_future() {
        let refused = refused(|spec| spec.expires = Some(NOW)).unwrap();
        assert_eq!(refused.message, "Invalid expiration time.");
        assert_eq!(
            field(|spec| spec.expires = Some(Timestamp::FAR_FUTURE)),
            None
        );
    }

    #[test]
    fn section_3_4_unknown_types_are_refused_on_a_system_topic_and_all_means_no_list() {
        let types = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        let kind = TopicKind::Communication;
        let sms = "Microsoft.Communication.SMSReceived";
        assert_eq!(check_types(types(&[sms]), kind).unwrap(), types(&[sms]));
        assert_eq!(check_types(types(&["All"]), kind).unwrap(), None);
        assert_eq!(check_types(types(&[]), kind).unwrap(), None);
        assert!(check_types(types(&[sms, "Microsoft.Communication.Sms"]), kind).is_err());
        assert!(check_types(types(&["Own.Type"]), TopicKind::Custom).is_ok());
    }

    #[test]
    fn section_1_4_the_combination_of_schemas_is_refused_in_the_words_of_the_service() {
        let refused = refused(|spec| spec.delivery_schema = DeliverySchema::Custom).unwrap();
        assert_eq!(
            refused.message,
            "The specified EventDeliverySchema value \"CustomInputSchema\" cannot be used in combination with the topic's input schema of EventGridSchema"
        );
    }

    #[test]
    fn section_3_3_names() {
        for name in ["es1", "demo-subscription", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "es",
            "",
            "with space",
            "under_score",
            "a/b/c",
            &"x".repeat(65),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn section_5_7_a_dead_letter_destination_is_a_blob_container() {
        let target = |container: &str| {
            Some(DeadLetterDestination {
                resource_id: "/storage".into(),
                container: container.into(),
            })
        };
        assert_eq!(field(|spec| spec.dead_letter = target("lost-events")), None);
        for name in ["", "ab", "Upper", "-x-", "a--b"] {
            assert!(
                field(|spec| spec.dead_letter = target(name)).is_some(),
                "{name}"
            );
        }
    }
}
