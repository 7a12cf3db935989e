//! What a client says of a webhook, whole or in part.
//!
//! Promise: what is absent stays.
//! Not here: secrets that are sent back without their values (`super`).
//! Source: reference management 5.1.

use gridpost_model::subscription::{DeliveryAttribute, Entra, WebHook};
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
    /// `deliveryAttributeMappings`, all of them.
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
            Change::Set(all) => hook.attributes = all,
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

#[cfg(test)]
mod tests {
    use gridpost_model::subscription::Batch;

    use super::*;

    fn before() -> WebHook {
        WebHook {
            batch: Batch {
                max_events: 10,
                preferred_kilobytes: 128,
            },
            attributes: vec![DeliveryAttribute::secret("X-Key", "s3cret")],
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
