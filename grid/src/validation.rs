//! What may be written into an event subscription.
//!
//! Promise: what passes here can be kept and shown; a refusal names the property by its path on the wire.
//! Source: reference event-grid 1.4, 3.3, 3.4.

mod filter;
mod handler;
mod webhook;

use gridpost_model::filter::TopicKind;
use gridpost_model::subscription::{DeliverySchema, Destination};
use gridpost_model::{EventSchema, RetryPolicy, Timestamp};

use crate::manage::Invalid;
use crate::outbound::{BadUrl, Client};
use crate::subscriptions::SubscriptionSpec;

pub(crate) use filter::check_filter;
pub(crate) use webhook::VALUE_BYTES;

/// The service publishes no bound for these; ours keep one row small.
const LABELS: usize = 100;
const LABEL_BYTES: usize = 256;
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
    check_policy(spec.retry_policy)?;
    check_labels(&spec.labels)?;
    if spec.expires.is_some_and(|expires| expires <= now) {
        return Err(Invalid::new(
            "expirationTimeUtc",
            "Invalid expiration time.",
        ));
    }
    if let Some(target) = &spec.dead_letter {
        handler::check_dead_letter(target, client)?;
    }
    let filter = check_filter(spec.filter, kind)?;
    Ok(SubscriptionSpec { filter, ..spec })
}

fn check_destination(destination: &Destination, client: &Client) -> Result<(), Invalid> {
    let Some(hook) = destination.webhook() else {
        return handler::check(destination, client);
    };
    let field = "destination.properties.endpointUrl";
    if URL_BYTES < hook.url.reveal().len() {
        return Err(Invalid::new(
            field,
            format!("The endpoint URL is longer than {URL_BYTES} characters."),
        ));
    }
    let why = match client.endpoint(hook.url.reveal()) {
        Ok(_) => return webhook::check(hook),
        Err(BadUrl::Malformed) => {
            "it is not an absolute URL, such as https://example.org/hook".to_owned()
        }
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

/// Which schemas events of a schema can be delivered in. Source: reference event-grid 1.4.
pub(crate) fn check_schemas(input: EventSchema, delivery: DeliverySchema) -> Result<(), Invalid> {
    let delivered = match delivery {
        DeliverySchema::CloudEvents => return Ok(()),
        DeliverySchema::EventGrid if input != EventSchema::CloudEvents => return Ok(()),
        DeliverySchema::Custom if input == EventSchema::Custom => return Ok(()),
        DeliverySchema::EventGrid => "EventGridSchema",
        DeliverySchema::Custom => "CustomInputSchema",
    };
    let published = match input {
        EventSchema::EventGrid => "EventGridSchema",
        EventSchema::CloudEvents => "CloudEventSchemaV1_0",
        EventSchema::Custom => "CustomEventSchema",
    };
    Err(Invalid::new(
        "eventDeliverySchema",
        format!(
            "The specified EventDeliverySchema value \"{delivered}\" cannot be used in combination with the topic's input schema of {published}"
        ),
    ))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
    fn section_1_4_the_combination_of_schemas_is_refused_in_the_words_of_the_service() {
        let refused = check_schemas(EventSchema::EventGrid, DeliverySchema::Custom).unwrap_err();
        assert_eq!(
            refused.message,
            "The specified EventDeliverySchema value \"CustomInputSchema\" cannot be used in combination with the topic's input schema of EventGridSchema"
        );
        let allowed = [
            (EventSchema::EventGrid, [true, true, false]),
            (EventSchema::CloudEvents, [false, true, false]),
            (EventSchema::Custom, [true, true, true]),
        ];
        let deliveries = [
            DeliverySchema::EventGrid,
            DeliverySchema::CloudEvents,
            DeliverySchema::Custom,
        ];
        for (input, row) in allowed {
            let pairs = deliveries.map(|delivery| check_schemas(input, delivery).is_ok());
            assert_eq!(pairs, row, "{input:?}");
        }
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
}
