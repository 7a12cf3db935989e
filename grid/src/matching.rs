//! Who wants an event.
//!
//! Promise: the index accepts exactly what `Filter::refusal` accepts, at a cost that grows with the number of matches
//! and the length of the subject, not with the number of subscriptions.
//! Not here: the meaning of a filter (`model::filter`), why one refused (`explain`).
//!
//! An event's type picks a shelf by hash. On a shelf, each subscription stands in one radix tree, under its prefix or
//! its reversed suffix, whichever fewer subscriptions share. What the trees find is then asked for the whole filter.

use std::collections::HashMap;
use std::sync::Arc;

use gridpost_model::filter::{TopicKind, significant};
use gridpost_model::subscription::{EventSubscription, LaneId};
use gridpost_model::{Event, Filter, event_type};
use smallvec::SmallVec;

use crate::radix::Radix;

/// The lanes of an event. Few events have more than four.
pub type Lanes = SmallVec<[LaneId; 4]>;

/// The subscriptions of one source, arranged for matching. Never changed; a change of a subscription makes another.
#[derive(Debug)]
pub struct TopicIndex {
    kind: TopicKind,
    entries: Vec<Entry>,
    by_type: HashMap<Box<str>, Shelf>,
    /// Those that list no types.
    untyped: Shelf,
}

#[derive(Debug)]
struct Entry {
    lane: LaneId,
    filter: Filter,
}

/// Subscriptions for one event type.
#[derive(Debug, Default)]
struct Shelf {
    /// No condition on the subject.
    unconditional: Vec<u32>,
    prefixes: Trees,
    suffixes: Trees,
}

/// The same search twice, because case counts for some subscriptions and not for others.
#[derive(Debug, Default)]
struct Trees {
    exact: Radix,
    folded: Radix,
}

impl TopicIndex {
    /// Arranges the subscriptions of a source.
    pub fn new<'a>(
        kind: TopicKind,
        subscriptions: impl IntoIterator<Item = &'a Arc<EventSubscription>>,
    ) -> Self {
        let entries: Vec<Entry> = subscriptions
            .into_iter()
            .map(|one| Entry {
                lane: one.lane,
                filter: one.filter.clone(),
            })
            .collect();
        let mut index = Self {
            kind,
            entries,
            by_type: HashMap::new(),
            untyped: Shelf::default(),
        };
        index.arrange();
        index
    }

    fn arrange(&mut self) {
        let shared = Shared::count(self.kind, &self.entries);
        for (number, entry) in (0..).zip(&self.entries) {
            match &entry.filter.included_event_types {
                None => self
                    .untyped
                    .place(self.kind, number, &entry.filter, &shared),
                Some(types) => {
                    let mut types: Vec<_> =
                        types.iter().map(|one| one.to_ascii_lowercase()).collect();
                    types.sort_unstable();
                    types.dedup();
                    for one in types {
                        let shelf = self.by_type.entry(one.into()).or_default();
                        shelf.place(self.kind, number, &entry.filter, &shared);
                    }
                }
            }
        }
    }

    /// The lanes that want the event, each once.
    pub fn matches(&self, event: &Event) -> Lanes {
        let mut lanes = Lanes::new();
        let mut ask = |number: u32| {
            let entry = &self.entries[number as usize];
            if entry.filter.refusal(self.kind, event).is_none() {
                lanes.push(entry.lane);
            }
        };
        let subject = significant(self.kind, &event.subject);
        if let Some(shelf) = self.shelf(&event.event_type) {
            shelf.visit(subject, &event.subject, &mut ask);
        }
        if self.kind == TopicKind::Custom || event_type::in_default_set(&event.event_type) {
            self.untyped.visit(subject, &event.subject, &mut ask);
        }
        lanes
    }

    fn shelf(&self, event_type: &str) -> Option<&Shelf> {
        if self.by_type.is_empty() {
            return None;
        }
        // Folded on the stack: type names are shorter than this with few exceptions.
        let mut folded = SmallVec::<[u8; 128]>::from_slice(event_type.as_bytes());
        folded.make_ascii_lowercase();
        self.by_type.get(std::str::from_utf8(&folded).ok()?)
    }

    /// How many subscriptions stand in the index.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody wants anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Shelf {
    fn place(&mut self, kind: TopicKind, number: u32, filter: &Filter, shared: &Shared) {
        let prefix = significant(kind, &filter.subject_begins_with);
        let suffix = &filter.subject_ends_with;
        let exact = filter.is_subject_case_sensitive;
        if prefix.is_empty() && suffix.is_empty() {
            self.unconditional.push(number);
        } else if shared.prefix_is_rarer(prefix, suffix) {
            self.prefixes.insert(prefix.bytes(), exact, number);
        } else {
            self.suffixes.insert(suffix.bytes().rev(), exact, number);
        }
    }

    /// Visits whoever may want the subject. A suffix is compared with the whole of it, a prefix with its significant part.
    fn visit(&self, significant: &str, whole: &str, visit: &mut impl FnMut(u32)) {
        self.unconditional.iter().copied().for_each(&mut *visit);
        self.prefixes.visit(significant.bytes(), visit);
        self.suffixes.visit(whole.bytes().rev(), visit);
    }
}

impl Trees {
    fn insert(&mut self, key: impl Iterator<Item = u8>, exact: bool, number: u32) {
        if exact {
            self.exact.insert(&key.collect::<Vec<_>>(), number);
        } else {
            let folded: Vec<_> = key.map(|byte| byte.to_ascii_lowercase()).collect();
            self.folded.insert(&folded, number);
        }
    }

    fn visit(&self, text: impl Iterator<Item = u8> + Clone, visit: &mut impl FnMut(u32)) {
        self.exact.visit(text.clone(), visit);
        self.folded
            .visit(text.map(|byte| byte.to_ascii_lowercase()), visit);
    }
}

/// How many subscriptions share each prefix and each suffix, to place each under the rarer of its two.
struct Shared {
    prefixes: HashMap<String, u32>,
    suffixes: HashMap<String, u32>,
}

impl Shared {
    fn count(kind: TopicKind, entries: &[Entry]) -> Self {
        let mut shared = Self {
            prefixes: HashMap::new(),
            suffixes: HashMap::new(),
        };
        for Entry { filter, .. } in entries {
            let prefix = significant(kind, &filter.subject_begins_with).to_ascii_lowercase();
            *shared.prefixes.entry(prefix).or_default() += 1;
            *shared
                .suffixes
                .entry(filter.subject_ends_with.to_ascii_lowercase())
                .or_default() += 1;
        }
        shared
    }

    /// An empty text selects nothing, so the other one is taken; between equals the prefix.
    fn prefix_is_rarer(&self, prefix: &str, suffix: &str) -> bool {
        let count = |counts: &HashMap<String, u32>, text: &str| match text {
            "" => u32::MAX,
            _ => counts.get(&text.to_ascii_lowercase()).copied().unwrap_or(0),
        };
        count(&self.prefixes, prefix) <= count(&self.suffixes, suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;

    fn linear(kind: TopicKind, all: &[Arc<EventSubscription>], event: &Event) -> Vec<LaneId> {
        let wanted = all
            .iter()
            .filter(|one| one.filter.refusal(kind, event).is_none());
        wanted.map(|one| one.lane).collect()
    }

    fn indexed(kind: TopicKind, all: &[Arc<EventSubscription>], event: &Event) -> Vec<LaneId> {
        let mut lanes = TopicIndex::new(kind, all).matches(event).to_vec();
        lanes.sort_unstable();
        lanes
    }

    const TYPES: &[&str] = &[
        "Microsoft.Communication.SMSReceived",
        "microsoft.communication.smsreceived",
        "Microsoft.Communication.ChatThreadCreated",
        "Own.Type",
    ];

    /// Few letters, both cases and many slashes, so that prefixes and suffixes often meet.
    fn text() -> impl Strategy<Value = String> {
        "[/aAbé]{0,5}"
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let types = proptest::option::of(proptest::collection::vec(
            proptest::sample::select(TYPES),
            1..4,
        ));
        (types, text(), text(), any::<bool>()).prop_map(|(types, begins, ends, exact)| Filter {
            included_event_types: types.map(|all| all.into_iter().map(str::to_owned).collect()),
            subject_begins_with: begins,
            subject_ends_with: ends,
            is_subject_case_sensitive: exact,
            ..Filter::default()
        })
    }

    proptest! {
        #[test]
        fn the_index_accepts_exactly_what_its_slow_reference_accepts(
            filters in proptest::collection::vec(filter(), 0..40),
            event_type in proptest::sample::select(TYPES),
            subject in text(),
            custom in any::<bool>(),
        ) {
            let kind = if custom { TopicKind::Custom } else { TopicKind::Communication };
            let all: Vec<_> = (0..)
                .zip(filters)
                .map(|(lane, filter)| Arc::new(testing::subscription(lane, filter)))
                .collect();
            let event = testing::event(event_type, &subject);
            prop_assert_eq!(indexed(kind, &all, &event), linear(kind, &all, &event));
        }
    }

    fn lanes(kind: TopicKind, filter: Filter, event_type: &str, subject: &str) -> usize {
        let all = [Arc::new(testing::subscription(1, filter))];
        TopicIndex::new(kind, &all)
            .matches(&testing::event(event_type, subject))
            .len()
    }

    #[test]
    fn section_3_4_one_leading_slash_does_not_count_on_a_communication_topic() {
        let filter = Filter {
            subject_begins_with: "phonenumber/1555".into(),
            ..Filter::default()
        };
        let subject = "/phonenumber/15555555555";
        let sms = "Microsoft.Communication.SMSReceived";
        assert_eq!(
            lanes(TopicKind::Communication, filter.clone(), sms, subject),
            1
        );
        assert_eq!(lanes(TopicKind::Custom, filter, sms, subject), 0);
    }

    #[test]
    fn section_3_4_case_counts_only_when_asked_for() {
        let loose = Filter {
            subject_ends_with: ".JPG".into(),
            ..Filter::default()
        };
        let exact = Filter {
            is_subject_case_sensitive: true,
            ..loose.clone()
        };
        assert_eq!(lanes(TopicKind::Custom, loose, "x", "/a.jpg"), 1);
        assert_eq!(lanes(TopicKind::Custom, exact.clone(), "x", "/a.jpg"), 0);
        assert_eq!(lanes(TopicKind::Custom, exact, "x", "/a.JPG"), 1);
    }

    #[test]
    fn section_3_4_no_list_means_the_default_set_of_a_system_topic() {
        let twin = "Microsoft.Communication.ChatThreadCreated";
        assert_eq!(
            lanes(TopicKind::Communication, Filter::default(), twin, ""),
            0
        );
        assert_eq!(lanes(TopicKind::Custom, Filter::default(), twin, ""), 1);
    }

    #[test]
    fn a_type_named_twice_in_two_cases_matches_once() {
        let types = vec!["Own.Type".into(), "own.type".into()];
        let filter = Filter {
            included_event_types: Some(types),
            ..Filter::default()
        };
        assert_eq!(lanes(TopicKind::Custom, filter, "OWN.TYPE", ""), 1);
    }
}
