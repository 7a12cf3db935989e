//! What a client says of an event subscription, whole or in part.
//!
//! Promise: a patch changes what it names and nothing else, also inside the filter and the retry policy. A secret that is
//! sent back the way it is shown, without its value, stays, whatever the kind of the destination.
//! Not here: what may be said (`validation`), what is done about it (`subscriptions`).

use gridpost_model::filter::AdvancedFilter;
use gridpost_model::subscription::{
    AttributeValue, DeadLetterDestination, DeliveryAttribute, DeliverySchema, Destination,
    EventSubscription, WebHook,
};
use gridpost_model::{Filter, RetryPolicy, Timestamp};

use crate::manage::Change;

mod webhook;

pub use webhook::WebHookPatch;

/// What a put says of an event subscription.
#[derive(Clone, Debug)]
pub struct SubscriptionSpec {
    /// `destination`.
    pub destination: Destination,
    /// `filter`.
    pub filter: Filter,
    /// `labels`.
    pub labels: Vec<String>,
    /// `expirationTimeUtc`.
    pub expires: Option<Timestamp>,
    /// `eventDeliverySchema`.
    pub delivery_schema: DeliverySchema,
    /// `retryPolicy`.
    pub retry_policy: RetryPolicy,
    /// `deadLetterDestination`.
    pub dead_letter: Option<DeadLetterDestination>,
}

impl SubscriptionSpec {
    /// Every event to a webhook, and for the rest what holds when nothing is said.
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            destination: Destination::WebHook(WebHook::new(url)),
            filter: Filter::default(),
            labels: Vec::new(),
            expires: None,
            delivery_schema: DeliverySchema::EventGrid,
            retry_policy: RetryPolicy::default(),
            dead_letter: None,
        }
    }

    /// Fills in the secrets that were sent back as they are shown, for a destination of the same kind.
    pub(crate) fn keep_secrets(&mut self, before: &Destination) {
        if self.destination.kind() != before.kind() {
            return;
        }
        let attributes = self.destination.attributes_mut().into_iter().flatten();
        attributes.for_each(|one| keep_secret(one, before.attributes()));
    }

    pub(crate) fn of(one: &EventSubscription) -> Self {
        Self {
            destination: one.destination.clone(),
            filter: one.filter.clone(),
            labels: one.labels.clone(),
            expires: one.expires,
            delivery_schema: one.delivery_schema,
            retry_policy: one.retry_policy,
            dead_letter: one.dead_letter.clone(),
        }
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

/// What a patch says of an event subscription; what is absent stays, also inside the filter and the policy.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionPatch {
    /// `destination`, when it is replaced.
    pub destination: Option<Destination>,
    /// `destination`, when a webhook is spoken of.
    pub webhook: Option<WebHookPatch>,
    /// `filter`.
    pub filter: FilterPatch,
    /// `labels`, all of them.
    pub labels: Option<Vec<String>>,
    /// `expirationTimeUtc`.
    pub expires: Change<Timestamp>,
    /// `eventDeliverySchema`.
    pub delivery_schema: Option<DeliverySchema>,
    /// `retryPolicy`.
    pub retry_policy: RetryPolicyPatch,
    /// `deadLetterDestination`.
    pub dead_letter: Change<DeadLetterDestination>,
}

/// What a patch says of a filter.
#[derive(Clone, Debug, Default)]
pub struct FilterPatch {
    /// `includedEventTypes`.
    pub included_event_types: Change<Vec<String>>,
    /// `subjectBeginsWith`.
    pub subject_begins_with: Option<String>,
    /// `subjectEndsWith`.
    pub subject_ends_with: Option<String>,
    /// `isSubjectCaseSensitive`.
    pub is_subject_case_sensitive: Option<bool>,
    /// `advancedFilters`, all of them.
    pub advanced: Change<Vec<AdvancedFilter>>,
    /// `enableAdvancedFilteringOnArrays`.
    pub advanced_on_arrays: Option<bool>,
}

impl FilterPatch {
    /// Carries the change out.
    pub fn apply(self, filter: &mut Filter) {
        self.included_event_types
            .apply(&mut filter.included_event_types);
        set(&mut filter.subject_begins_with, self.subject_begins_with);
        set(&mut filter.subject_ends_with, self.subject_ends_with);
        set(
            &mut filter.is_subject_case_sensitive,
            self.is_subject_case_sensitive,
        );
        match self.advanced {
            Change::Keep => (),
            Change::Clear => filter.advanced.clear(),
            Change::Set(all) => filter.advanced = all,
        }
        set(&mut filter.advanced_on_arrays, self.advanced_on_arrays);
    }
}

/// What a patch says of a retry policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct RetryPolicyPatch {
    /// `maxDeliveryAttempts`.
    pub max_attempts: Option<u32>,
    /// `eventTimeToLiveInMinutes`.
    pub time_to_live_minutes: Option<u32>,
}

impl SubscriptionPatch {
    /// The specification that results. Pure.
    pub(crate) fn apply(self, before: SubscriptionSpec) -> SubscriptionSpec {
        let mut spec = before;
        set(&mut spec.destination, self.destination);
        if let Some(webhook) = self.webhook {
            webhook.apply_to(&mut spec.destination);
        }
        set(&mut spec.labels, self.labels);
        set(&mut spec.delivery_schema, self.delivery_schema);
        self.expires.apply(&mut spec.expires);
        self.dead_letter.apply(&mut spec.dead_letter);
        self.filter.apply(&mut spec.filter);
        let policy = &mut spec.retry_policy;
        set(&mut policy.max_attempts, self.retry_policy.max_attempts);
        set(
            &mut policy.time_to_live_minutes,
            self.retry_policy.time_to_live_minutes,
        );
        spec
    }
}

fn set<T>(value: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *value = new;
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::subscription::{AzureFunction, Batch, MessageEntity};

    use super::*;

    fn before() -> SubscriptionSpec {
        SubscriptionSpec {
            filter: Filter {
                included_event_types: Some(vec!["Microsoft.Communication.SMSReceived".into()]),
                subject_begins_with: "phonenumber/1555".into(),
                ..Filter::default()
            },
            labels: vec!["l1".into()],
            expires: Some(Timestamp::FAR_FUTURE),
            ..SubscriptionSpec::to("https://example.com/hook?code=1")
        }
    }

    #[test]
    fn an_empty_patch_changes_nothing() {
        let after = SubscriptionPatch::default().apply(before());
        assert_eq!(format!("{after:?}"), format!("{:?}", before()));
        assert_eq!(after.destination, before().destination);
    }

    #[test]
    fn section_3_3_absent_keys_stay_also_inside_the_filter_and_the_policy() {
        let patch = SubscriptionPatch {
            filter: FilterPatch {
                subject_ends_with: Some("5".into()),
                ..FilterPatch::default()
            },
            retry_policy: RetryPolicyPatch {
                max_attempts: Some(3),
                ..RetryPolicyPatch::default()
            },
            ..SubscriptionPatch::default()
        };
        let after = patch.apply(before());
        assert_eq!(after.filter.subject_begins_with, "phonenumber/1555");
        assert_eq!(after.filter.subject_ends_with, "5");
        assert_eq!(
            after.retry_policy,
            RetryPolicy {
                max_attempts: 3,
                time_to_live_minutes: 1440
            }
        );
        assert_eq!(after.labels, ["l1"]);
    }

    fn destinations(value: &str) -> [Destination; 5] {
        let attributes = vec![DeliveryAttribute::secret("X-Pass", value)];
        let entity = MessageEntity {
            resource_id: "/subscriptions/s".parse().unwrap(),
            attributes: attributes.clone(),
        };
        [
            Destination::WebHook(WebHook {
                attributes: attributes.clone(),
                ..WebHook::default()
            }),
            Destination::AzureFunction(AzureFunction {
                resource_id: "/subscriptions/s".parse().unwrap(),
                batch: Batch::default(),
                attributes,
            }),
            Destination::ServiceBusQueue(entity.clone()),
            Destination::ServiceBusTopic(entity.clone()),
            Destination::EventHub(entity),
        ]
    }

    #[test]
    fn a_secret_that_is_sent_back_as_it_is_shown_stays_and_a_new_one_is_taken() {
        let befores = destinations("s3cret");
        for (sent, expected) in [("", "s3cret"), ("new", "new")] {
            let all = destinations(sent).into_iter().zip(destinations(expected));
            for ((sent, expected), known) in all.zip(&befores) {
                let mut spec = before();
                spec.destination = sent;
                spec.keep_secrets(known);
                assert_eq!(spec.destination, expected);
            }
        }
        let mut spec = before();
        spec.destination = destinations("")[0].clone();
        spec.keep_secrets(&befores[1]);
        assert_eq!(spec.destination, destinations("")[0], "another kind");
    }

    #[test]
    fn a_null_removes_what_may_be_absent() {
        let filter = FilterPatch {
            included_event_types: Change::Clear,
            ..FilterPatch::default()
        };
        let patch = SubscriptionPatch {
            filter,
            expires: Change::Clear,
            ..SubscriptionPatch::default()
        };
        let after = patch.apply(before());
        assert_eq!(after.filter.included_event_types, None);
        assert_eq!(after.expires, None);
    }
}
