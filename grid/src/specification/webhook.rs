//! What a client says of a webhook, whole or in part.
//!
//! Promise: what is absent stays, and so does a secret that is sent back the way it is shown, without its value.
//! Source: reference management 5.1.

use gridpost_model::subscription::{AttributeValue, DeliveryAttribute, Entra, WebHook};
use gridpost_model::{Destination, Secret};

use super::set;
use crate::manage::Change;

/// What a patch says of a webhook.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebHookPatch {
    /// `endpointUrl`.
    pub url: Option<Secret>,
    /// `maxEventsPerBatch`.
    pub max_events: Option<u32>,
    /// `preferredBatchSizeInKilobytes`.
    pub preferred_kilobytes: Option<u32>,
    /// `deliveryAttributeMappings`, all of them. A static secret without a value keeps the one it had by that name.
    pub attributes: Change<Vec<DeliveryAttribute>>,
    /// `azureActiveDirectoryTenantId`.
    pub tenant: Change<String>,
    /// `azureActiveDirectoryApplicationIdOrUri`.
    pub application: Change<String>,
    /// `gridpostSigningSecret`.
    pub signing: Change<Secret>,
}

impl WebHookPatch {
    /// The webhook that results when there was none. Pure.
    pub fn whole(self) -> WebHook {
        let mut hook = WebHook::default();
        self.apply(&mut hook);
        hook
    }

    /// Carries the change out; a destination of another kind is replaced.
    pub(crate) fn apply_to(self, destination: &mut Destination) {
        if let Destination::WebHook(hook) = destination {
            self.apply(hook);
        } else {
            *destination = Destination::WebHook(self.whole());
        }
    }

    fn apply(self, hook: &mut WebHook) {
        set(&mut hook.url, self.url);
        set(&mut hook.batch.max_events, self.max_events);
        set(
            &mut hook.batch.preferred_kilobytes,
            self.preferred_kilobytes,
        );
        match self.attributes {
            Change::Keep => (),
            Change::Clear => hook.attributes.clear(),
            Change::Set(mut all) => {
                all.iter_mut()
                    .for_each(|one| keep_secret(one, &hook.attributes));
                hook.attributes = all;
            }
        }
        let (mut tenant, mut application) = match hook.entra.take() {
            Some(entra) => (Some(entra.tenant), Some(entra.application)),
            None => (None, None),
        };
        self.tenant.apply(&mut tenant);
        self.application.apply(&mut application);
        // One without the other is for validation to refuse.
        if tenant.is_some() || application.is_some() {
            hook.entra = Some(Entra {
                tenant: tenant.unwrap_or_default(),
                application: application.unwrap_or_default(),
            });
        }
        self.signing.apply(&mut hook.signing);
    }
}

fn keep_secret(new: &mut DeliveryAttribute, before: &[DeliveryAttribute]) {
    let AttributeValue::Static {
        value,
        is_secret: true,
    } = &mut new.value
    else {
        return;
    };
    let known = before
        .iter()
        .find(|one| one.name.eq_ignore_ascii_case(&new.name));
    if value.reveal().is_empty()
        && let Some(AttributeValue::Static { value: kept, .. }) = known.map(|one| &one.value)
    {
        *value = kept.clone();
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::subscription::Batch;

    use super::*;

    fn attribute(name: &str, value: &str, is_secret: bool) -> DeliveryAttribute {
        DeliveryAttribute {
            name: name.into(),
            value: AttributeValue::Static {
                value: Secret::new(value),
                is_secret,
            },
        }
    }

    fn before() -> WebHook {
        WebHook {
            batch: Batch {
                max_events: 10,
                preferred_kilobytes: 128,
            },
            attributes: vec![attribute("X-Key", "s3cret", true)],
            entra: Some(Entra {
                tenant: "t".into(),
                application: "a".into(),
            }),
            signing: Some(Secret::new("whsec_x")),
            ..WebHook::new("https://example.com/hook?code=1")
        }
    }

    #[test]
    fn an_empty_patch_changes_nothing() {
        let mut hook = before();
        WebHookPatch::default().apply(&mut hook);
        assert_eq!(hook, before());
    }

    #[test]
    fn a_secret_that_was_not_shown_is_kept_and_a_new_one_taken() {
        let changed = |value| {
            let mut hook = before();
            let patch = WebHookPatch {
                attributes: Change::Set(vec![attribute("x-key", value, true)]),
                ..WebHookPatch::default()
            };
            patch.apply(&mut hook);
            hook.attributes
        };
        assert_eq!(changed(""), [attribute("x-key", "s3cret", true)]);
        assert_eq!(changed("new"), [attribute("x-key", "new", true)]);
    }

    #[test]
    fn tokens_and_signatures_can_be_taken_away() {
        let mut hook = before();
        let patch = WebHookPatch {
            tenant: Change::Clear,
            application: Change::Clear,
            signing: Change::Clear,
            attributes: Change::Clear,
            ..WebHookPatch::default()
        };
        patch.apply(&mut hook);
        assert_eq!((hook.entra, hook.signing), (None, None));
        assert!(hook.attributes.is_empty());
    }
}
