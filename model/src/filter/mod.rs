//! Which events a subscription wants.
//!
//! Promise: `Filter::refusal` is the whole truth about a match. The index in `grid::matching` only saves calls to it,
//! and `explain` shows its answer.
//! Source: reference event-grid 3.4; communication-events trap 1 (the leading slash).

use serde::{Deserialize, Serialize};

use crate::{Event, event_type};

pub mod lookup;

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
}

/// The first clause of a filter that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "clause", rename_all = "camelCase")]
pub enum Refusal {
    /// The event's type is not in the list.
    #[serde(rename_all = "camelCase")]
    IncludedEventTypes {
        /// The list.
        wanted: Vec<String>,
        /// The event's type.
        found: String,
    },
    /// There is no list, and the type is only delivered to those who name it.
    #[serde(rename_all = "camelCase")]
    NotInDefaultSet {
        /// The event's type.
        found: String,
    },
    /// The subject begins otherwise.
    #[serde(rename_all = "camelCase")]
    SubjectBeginsWith {
        /// The prefix.
        wanted: String,
        /// The event's subject.
        found: String,
    },
    /// The subject ends otherwise.
    #[serde(rename_all = "camelCase")]
    SubjectEndsWith {
        /// The suffix.
        wanted: String,
        /// The event's subject.
        found: String,
    },
}

impl Filter {
    /// The first clause that refuses the event, or `None` when it matches.
    pub fn refusal(&self, kind: TopicKind, event: &Event) -> Option<Refusal> {
        self.refuses_type(kind, &event.event_type)
            .or_else(|| self.refuses_prefix(kind, &event.subject))
            .or_else(|| self.refuses_suffix(&event.subject))
    }

    fn refuses_type(&self, kind: TopicKind, found: &str) -> Option<Refusal> {
        match &self.included_event_types {
            Some(wanted) if !wanted.iter().any(|one| one.eq_ignore_ascii_case(found)) => {
                Some(Refusal::IncludedEventTypes {
                    wanted: wanted.clone(),
                    found: found.into(),
                })
            }
            None if kind == TopicKind::Communication && !event_type::in_default_set(found) => {
                Some(Refusal::NotInDefaultSet {
                    found: found.into(),
                })
            }
            _ => None,
        }
    }

    fn refuses_prefix(&self, kind: TopicKind, found: &str) -> Option<Refusal> {
        let prefix = significant(kind, &self.subject_begins_with);
        let subject = significant(kind, found);
        let holds = subject
            .as_bytes()
            .get(..prefix.len())
            .is_some_and(|head| self.same(head, prefix.as_bytes()));
        (!holds).then(|| Refusal::SubjectBeginsWith {
            wanted: self.subject_begins_with.clone(),
            found: found.into(),
        })
    }

    fn refuses_suffix(&self, found: &str) -> Option<Refusal> {
        let suffix = self.subject_ends_with.as_bytes();
        let holds = found
            .len()
            .checked_sub(suffix.len())
            .is_some_and(|start| self.same(&found.as_bytes()[start..], suffix));
        (!holds).then(|| Refusal::SubjectEndsWith {
            wanted: self.subject_ends_with.clone(),
            found: found.into(),
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
