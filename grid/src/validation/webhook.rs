//! What a webhook may ask for beside events: batches, headers, tokens, signatures.
//!
//! Promise: what passes can be sent with every request; a header of ours is never replaced, nor one that frames a message.
//! Source: reference event-grid 3.3, 5.8; the rules of signatures: standard-webhooks 1.0.

use gridpost_model::subscription::{AttributeValue, Batch, DeliveryAttribute, Entra, WebHook};
use http::{HeaderName, HeaderValue};

use crate::manage::Invalid;
use crate::outbound::SigningKey;

/// Delivery attributes of one subscription. Source: reference event-grid 3.3.
const ATTRIBUTES: usize = 10;

/// The longest value of one. Source: reference event-grid 3.3.
pub(crate) const VALUE_BYTES: usize = 4_096;

/// Names of headers may be as long as servers commonly take them.
const NAME_BYTES: usize = 256;

/// The identifiers of a tenant and of an application, or its URI.
const ENTRA_BYTES: usize = 512;

/// Headers that frame a message or speak of its connection, and those that say what the body is.
const OURS: [&str; 18] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "webhook-request-origin",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "gridpost-replay",
];

const ATTRIBUTES_FIELD: &str = "destination.properties.deliveryAttributeMappings";

/// Checks all of it but the URL.
pub(super) fn check(hook: &WebHook) -> Result<(), Invalid> {
    check_batch(hook.batch)?;
    check_headers(&hook.attributes)?;
    if let Some(entra) = &hook.entra {
        check_entra(entra, &hook.attributes)?;
    }
    if let Some(secret) = &hook.signing
        && SigningKey::parse(secret).is_none()
    {
        return Err(Invalid::new(
            "destination.properties.gridpostSigningSecret",
            "The signing secret must be 'whsec_' and the base64 form of 24 to 64 bytes.",
        ));
    }
    Ok(())
}

/// Checks how many events may go together.
pub(crate) fn check_batch(batch: Batch) -> Result<(), Invalid> {
    if !(1..=5_000).contains(&batch.max_events) {
        return Err(Invalid::new(
            "destination.properties.maxEventsPerBatch",
            "The maximum number of events per batch must be between 1 and 5000.",
        ));
    }
    if !(1..=1_024).contains(&batch.preferred_kilobytes) {
        return Err(Invalid::new(
            "destination.properties.preferredBatchSizeInKilobytes",
            "The preferred batch size must be between 1 and 1024 kilobytes.",
        ));
    }
    Ok(())
}

/// Checks delivery attributes that become headers.
pub(crate) fn check_headers(all: &[DeliveryAttribute]) -> Result<(), Invalid> {
    check_attributes(all)?;
    for one in all {
        let name = &one.name;
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(lower.as_bytes()).is_err() {
            return Err(refused(format!("'{name}' is not the name of a header.")));
        }
        if OURS.contains(&lower.as_str()) {
            let message = format!("The header '{name}' cannot be set by a delivery attribute.");
            return Err(refused(message));
        }
        if let AttributeValue::Static { value, .. } = &one.value
            && HeaderValue::from_str(value.reveal()).is_err()
        {
            let message = format!(
                "The value of the delivery attribute '{name}' cannot stand in a header: it may contain visible ASCII characters and spaces only."
            );
            return Err(refused(message));
        }
    }
    Ok(())
}

/// Checks what holds for delivery attributes of every kind of destination.
pub(crate) fn check_attributes(all: &[DeliveryAttribute]) -> Result<(), Invalid> {
    if ATTRIBUTES < all.len() {
        let message =
            format!("An event subscription can have at most {ATTRIBUTES} delivery attributes.");
        return Err(refused(message));
    }
    for (index, one) in all.iter().enumerate() {
        let name = &one.name;
        if name.is_empty() || NAME_BYTES < name.len() {
            let message =
                format!("The name of a delivery attribute must have 1 to {NAME_BYTES} characters.");
            return Err(refused(message));
        }
        if name.to_ascii_lowercase().starts_with("aeg-") {
            let message =
                format!("The name of the delivery attribute '{name}' must not begin with 'aeg-'.");
            return Err(refused(message));
        }
        let same = |other: &DeliveryAttribute| other.name.eq_ignore_ascii_case(name);
        if all[..index].iter().any(same) {
            return Err(refused(format!(
                "The delivery attribute '{name}' is named twice."
            )));
        }
        check_value(one)?;
    }
    Ok(())
}

fn check_value(one: &DeliveryAttribute) -> Result<(), Invalid> {
    let name = &one.name;
    let (text, what) = match &one.value {
        AttributeValue::Static { value, .. } => (value.reveal(), "value"),
        AttributeValue::Dynamic { source_field } => (source_field.as_str(), "source field"),
    };
    if text.is_empty() {
        return Err(refused(format!(
            "The delivery attribute '{name}' has no {what}."
        )));
    }
    if VALUE_BYTES < text.len() {
        let message = format!(
            "The {what} of the delivery attribute '{name}' is longer than {VALUE_BYTES} bytes."
        );
        return Err(refused(message));
    }
    Ok(())
}

fn check_entra(entra: &Entra, attributes: &[DeliveryAttribute]) -> Result<(), Invalid> {
    for (value, field) in [
        (
            &entra.tenant,
            "destination.properties.azureActiveDirectoryTenantId",
        ),
        (
            &entra.application,
            "destination.properties.azureActiveDirectoryApplicationIdOrUri",
        ),
    ] {
        if value.is_empty() || ENTRA_BYTES < value.len() {
            return Err(Invalid::new(
                field,
                "An Entra-protected endpoint needs both 'azureActiveDirectoryTenantId' and 'azureActiveDirectoryApplicationIdOrUri'.",
            ));
        }
    }
    let is_authorization = |one: &DeliveryAttribute| one.name.eq_ignore_ascii_case("authorization");
    if attributes.iter().any(is_authorization) {
        let message = "The header 'Authorization' carries the token of an Entra-protected endpoint and cannot be a delivery attribute.";
        return Err(refused(message.to_owned()));
    }
    Ok(())
}

fn refused(message: String) -> Invalid {
    Invalid::new(ATTRIBUTES_FIELD, message)
}

#[cfg(test)]
mod tests {
    use gridpost_model::Secret;

    use super::*;

    #[test]
    fn section_3_3_attributes_have_names_values_and_bounds() {
        let fixed = DeliveryAttribute::fixed;
        let taken = |name: &str| DeliveryAttribute::taken(name, "data.x");
        let many = |count| (0..count).map(|n| fixed(&format!("x-{n}"), "v")).collect();
        let good: [Vec<DeliveryAttribute>; 4] = [
            vec![],
            vec![fixed("X-A", "some text"), taken("x-b")],
            vec![fixed("Authorization", "Basic abc")],
            many(10),
        ];
        for all in good {
            assert_eq!(check_headers(&all), Ok(()), "{all:?}");
        }
        let long = "v".repeat(VALUE_BYTES + 1);
        let bad: [Vec<DeliveryAttribute>; 10] = [
            many(11),
            vec![fixed("aeg-x", "v")],
            vec![taken("AEG-Event-Type")],
            vec![fixed("", "v")],
            vec![fixed("a b", "v")],
            vec![fixed("Content-Type", "text/plain")],
            vec![fixed("x", "")],
            vec![fixed("x", &long)],
            vec![fixed("x", "a\r\nb: c")],
            vec![fixed("x", "1"), taken("X")],
        ];
        for all in bad {
            let refused = check_headers(&all).unwrap_err();
            assert_eq!(refused.field, ATTRIBUTES_FIELD, "{}", refused.message);
        }
    }

    #[test]
    fn section_3_3_batches_have_bounds() {
        let check = |max_events, preferred_kilobytes| {
            let batch = Batch {
                max_events,
                preferred_kilobytes,
            };
            check_batch(batch).err().map(|refused| refused.field)
        };
        assert_eq!(check(1, 1), None);
        assert_eq!(check(5_000, 1_024), None);
        let events = Some("destination.properties.maxEventsPerBatch");
        let size = Some("destination.properties.preferredBatchSizeInKilobytes");
        assert_eq!((check(0, 64), check(5_001, 64)), (events, events));
        assert_eq!((check(1, 0), check(1, 1_025)), (size, size));
    }

    #[test]
    fn section_5_8_a_protected_endpoint_names_tenant_and_application() {
        let hook = |tenant: &str, application: &str| WebHook {
            entra: Some(Entra {
                tenant: tenant.into(),
                application: application.into(),
            }),
            ..WebHook::new("https://example.com")
        };
        assert_eq!(check(&hook("t", "api://a")), Ok(()));
        assert!(check(&hook("t", "")).is_err());
        assert!(check(&hook("", "api://a")).is_err());
        let both = WebHook {
            attributes: vec![DeliveryAttribute::fixed("authorization", "Basic x")],
            ..hook("t", "api://a")
        };
        assert!(check(&both).is_err());
    }

    #[test]
    fn a_signing_secret_is_one_of_standard_webhooks() {
        let check = |secret: &str| {
            check(&WebHook {
                signing: Some(Secret::new(secret)),
                ..WebHook::new("https://example.com")
            })
        };
        assert_eq!(check("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Ok(()));
        for bad in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
            "whsec_!!",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
