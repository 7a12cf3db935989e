//! Which events a subscription wants.
//!
//! Promise: `Filter::refusal` is the whole truth about a match. The index in `grid::matching` only saves calls to it,
//! and `explain` shows its answer.
//! Source: reference event-grid 3.4; communication-events trap 1 (the leading slash).

use serde::{Deserialize, Serialize};

use crate::{Event, event_type};

pub mod advanced;
mod clause;
pub mod lookup;
mod refusal;

pub use advanced::{AdvancedFilter, Condition};
pub use clause::Clause;
pub use lookup::Content;
pub use refusal::{Refusal, Why};

/// What kind of source a topic has; decides the two rules that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TopicKind {
    /// A topic that users publish to: subjects compare literally, no list of types means all.
    Custom,
    /// The system topic of a communication resource: one leading `/` of a subject or prefix does not count, and
    /// no list of types means the default set.
    Communication,
}

/// The filter of an event subscription.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// `includedEventTypes`; `None` means the topic's default types.
    pub included_event_types: Option<Vec<String>>,
    /// `subjectBeginsWith`; empty matches all.
    pub subject_begins_with: String,
    /// `subjectEndsWith`; empty matches all.
    pub subject_ends_with: String,
    /// `isSubjectCaseSensitive`.
    pub is_subject_case_sensitive: bool,
    /// `advancedFilters`: each must hold.
    pub advanced: Vec<AdvancedFilter>,
    /// `enableAdvancedFilteringOnArrays`: whether advanced filters look at the elements of an array.
    pub advanced_on_arrays: bool,
}

impl Filter {
    /// The first clause that refuses the event, or `None` when it matches.
    pub fn refusal(&self, kind: TopicKind, event: &Event) -> Option<Refusal> {
        self.refuses_type(kind, &event.event_type)
            .or_else(|| self.refuses_prefix(kind, &event.subject))
            .or_else(|| self.refuses_suffix(&event.subject))
            .or_else(|| self.refuses_advanced(event))
    }

    /// Whether the clauses about type and subject hold: all of a filter but the advanced ones.
    pub fn takes_envelope(&self, kind: TopicKind, event: &Event) -> bool {
        self.takes_type(kind, &event.event_type)
            && self.takes_prefix(kind, &event.subject)
            && self.takes_suffix(&event.subject)
    }

    fn refuses_type(&self, kind: TopicKind, found: &str) -> Option<Refusal> {
        let refusal = || match &self.included_event_types {
            Some(wanted) => Refusal::IncludedEventTypes {
                wanted: wanted.clone(),
                found: found.into(),
            },
            None => Refusal::NotInDefaultSet {
                found: found.into(),
            },
        };
        (!self.takes_type(kind, found)).then(refusal)
    }

    fn takes_type(&self, kind: TopicKind, found: &str) -> bool {
        match &self.included_event_types {
            Some(wanted) => wanted.iter().any(|one| one.eq_ignore_ascii_case(found)),
            None => kind == TopicKind::Custom || event_type::in_default_set(found),
        }
    }

    fn refuses_prefix(&self, kind: TopicKind, found: &str) -> Option<Refusal> {
        (!self.takes_prefix(kind, found)).then(|| Refusal::SubjectBeginsWith {
            wanted: self.subject_begins_with.clone(),
            found: found.into(),
        })
    }

    fn takes_prefix(&self, kind: TopicKind, found: &str) -> bool {
        let prefix = significant(kind, &self.subject_begins_with);
        let head = significant(kind, found).as_bytes().get(..prefix.len());
        head.is_some_and(|head| self.same(head, prefix.as_bytes()))
    }

    fn refuses_suffix(&self, found: &str) -> Option<Refusal> {
        (!self.takes_suffix(found)).then(|| Refusal::SubjectEndsWith {
            wanted: self.subject_ends_with.clone(),
            found: found.into(),
        })
    }

    fn takes_suffix(&self, found: &str) -> bool {
        let suffix = self.subject_ends_with.as_bytes();
        let start = found.len().checked_sub(suffix.len());
        start.is_some_and(|start| self.same(&found.as_bytes()[start..], suffix))
    }

    fn refuses_advanced(&self, event: &Event) -> Option<Refusal> {
        let content = Content::of(event);
        self.advanced.iter().enumerate().find_map(|(index, one)| {
            let found = content.find(&one.key);
            let holds = Clause::of(one).holds(&found, self.advanced_on_arrays);
            let refusal =
                || Refusal::advanced(index, one, event, found.shape, self.advanced_on_arrays);
            (!holds).then(refusal)
        })
    }

    fn same(&self, left: &[u8], right: &[u8]) -> bool {
        if self.is_subject_case_sensitive {
            left == right
        } else {
            left.eq_ignore_ascii_case(right)
        }
    }
}

/// The part of a subject or prefix that is compared: all of it, or all but one leading slash.
pub fn significant(kind: TopicKind, text: &str) -> &str {
    match kind {
        TopicKind::Custom => text,
        TopicKind::Communication => text.strip_prefix('/').unwrap_or(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventSchema, Timestamp};

    fn event(event_type: &str, subject: &str) -> Event {
        Event {
            schema: EventSchema::EventGrid,
            id: "1".into(),
            topic: "/t".into(),
            event_type: event_type.into(),
            subject: subject.into(),
            data_version: "1.0".into(),
            published: Timestamp::EPOCH,
            trace: None,
            json: bytes::Bytes::new(),
        }
    }

    fn mission() -> Filter {
        Filter {
            included_event_types: Some(vec![
                "Microsoft.Communication.SMSReceived".into(),
                "Microsoft.Communication.SMSDeliveryReportReceived".into(),
            ]),
            subject_begins_with: "phonenumber/1555".into(),
            ..Filter::default()
        }
    }

    #[test]
    fn the_filter_of_the_mission_matches_the_sample_of_the_mission() {
        let sample = event(
            "Microsoft.Communication.SMSReceived",
            "/phonenumber/15555555555",
        );
        assert_eq!(mission().refusal(TopicKind::Communication, &sample), None);
    }

    #[test]
    fn on_a_custom_topic_the_slash_counts() {
        let sample = event(
            "Microsoft.Communication.SMSReceived",
            "/phonenumber/15555555555",
        );
        assert!(matches!(
            mission().refusal(TopicKind::Custom, &sample),
            Some(Refusal::SubjectBeginsWith { .. })
        ));
    }

    #[test]
    fn the_first_clause_that_refuses_is_named() {
        let other = event("Microsoft.Communication.CallStarted", "call/1");
        assert!(matches!(
            mission().refusal(TopicKind::Communication, &other),
            Some(Refusal::IncludedEventTypes { .. })
        ));
    }

    #[test]
    fn twins_of_2020_go_only_to_those_who_name_them() {
        let twin = event(
            "Microsoft.Communication.ChatMemberAddedToThreadWithUser",
            "thread/x",
        );
        let all = Filter::default();
        assert!(matches!(
            all.refusal(TopicKind::Communication, &twin),
            Some(Refusal::NotInDefaultSet { .. })
        ));
        assert_eq!(all.refusal(TopicKind::Custom, &twin), None);
    }

    #[test]
    fn case_counts_only_when_asked_for() {
        let loose = Filter {
            subject_ends_with: ".JPG".into(),
            ..Filter::default()
        };
        let strict = Filter {
            is_subject_case_sensitive: true,
            ..loose.clone()
        };
        let sample = event("x", "/blobs/one.jpg");
        assert_eq!(loose.refusal(TopicKind::Custom, &sample), None);
        assert!(strict.refusal(TopicKind::Custom, &sample).is_some());
    }

    #[test]
    fn a_suffix_longer_than_the_subject_refuses() {
        let long = Filter {
            subject_ends_with: "é-much-longer".into(),
            ..Filter::default()
        };
        assert!(long.refusal(TopicKind::Custom, &event("x", "é")).is_some());
    }
}
