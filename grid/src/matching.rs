//! Who wants an event.
//!
//! Promise: the index accepts exactly what `Filter::refusal` accepts, at a cost that grows with the number of matches
//! and the length of the subject, not with the number of subscriptions.
//! Not here: the meaning of a filter (`model::filter`), why one refused (`explain`).
//!
//! An event's type picks a shelf by hash. On a shelf, each subscription stands in one bucket of a radix tree, under its
//! prefix or its reversed suffix, whichever fewer subscriptions share. In a bucket, those whose advanced filters want a
//! value to be equal stand in a hash table under that value. What is found so is then asked for the whole filter.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gridpost_model::filter::{AdvancedFilter, Clause, Content, TopicKind, lookup, significant};
use gridpost_model::subscription::{EventSubscription, LaneId};
use gridpost_model::{Event, Filter, event_type};
use smallvec::SmallVec;

use crate::radix::Radix;
use bucket::Bucket;
use values::{KeyNumber, Keys, Values};

mod bucket;
#[cfg(test)]
mod reference;
mod values;

/// The lanes of an event. Few events have more than four.
pub type Lanes = SmallVec<[LaneId; 4]>;

/// The subscriptions of one source, arranged for matching. Never changed; a change of a subscription makes another.
#[derive(Debug)]
pub struct TopicIndex {
    kind: TopicKind,
    entries: Vec<Entry>,
    /// What advanced filters ask for.
    keys: Keys,
    by_type: HashMap<Box<str>, Shelf>,
    /// Those that list no types.
    untyped: Shelf,
}

#[derive(Debug)]
struct Entry {
    lane: LaneId,
    /// Without its advanced filters.
    filter: Filter,
    /// The advanced filters, those first that do not need the event's JSON.
    clauses: Box<[Asked]>,
    /// How many of them were evaluated, by this index and those before it.
    evaluated: Arc<AtomicU64>,
}

/// An advanced filter, and the number of its key.
#[derive(Debug)]
struct Asked {
    key: KeyNumber,
    clause: Clause,
}

/// Subscriptions for one event type.
#[derive(Debug, Default)]
struct Shelf {
    /// No condition on the subject.
    unconditional: Bucket,
    prefixes: Trees,
    suffixes: Trees,
    /// What the trees lead to.
    buckets: Vec<Bucket>,
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
        let subscriptions: Vec<_> = subscriptions.into_iter().collect();
        let advanced = subscriptions.iter().flat_map(|one| &one.filter.advanced);
        let keys = Keys::of(advanced.map(|one| &*one.key));
        let numbers = keys.numbers();
        let entries = subscriptions
            .iter()
            .map(|one| Entry::of(one, &numbers))
            .collect();
        let mut index = Self {
            kind,
            entries,
            keys,
            by_type: HashMap::new(),
            untyped: Shelf::default(),
        };
        index.arrange();
        index
    }

    fn arrange(&mut self) {
        let shared = Shared::count(self.kind, &self.entries);
        let (mut untyped, mut by_type) = (Draft::default(), HashMap::<_, Draft>::new());
        for (number, Entry { filter, .. }) in (0..).zip(&self.entries) {
            match &filter.included_event_types {
                None => untyped.place(self.kind, number, filter, &shared),
                Some(types) => {
                    let mut types: Vec<_> =
                        types.iter().map(|one| one.to_ascii_lowercase()).collect();
                    types.sort_unstable();
                    types.dedup();
                    for one in types {
                        let draft = by_type.entry(one.into()).or_default();
                        draft.place(self.kind, number, filter, &shared);
                    }
                }
            }
        }
        self.untyped = untyped.finish(&self.entries);
        self.by_type = by_type
            .into_iter()
            .map(|(name, draft)| (name, draft.finish(&self.entries)))
            .collect();
    }

    /// The lanes that want the event, each once.
    pub fn matches(&self, event: &Event) -> Lanes {
        self.matches_content(event, &Content::of(event))
    }

    fn matches_content(&self, event: &Event, content: &Content<'_>) -> Lanes {
        let values = Values::new(content, &self.keys);
        let mut lanes = Lanes::new();
        let mut ask = |number: u32| {
            let entry = &self.entries[number as usize];
            if entry.wants(self.kind, event, &values) {
                lanes.push(entry.lane);
            }
        };
        let subject = significant(self.kind, &event.subject);
        if let Some(shelf) = self.shelf(&event.event_type) {
            shelf.visit(subject, &event.subject, &values, &mut ask);
        }
        if self.kind == TopicKind::Custom || event_type::in_default_set(&event.event_type) {
            self.untyped
                .visit(subject, &event.subject, &values, &mut ask);
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

    /// Goes on counting where the index before this one was.
    pub(crate) fn count_on(&mut self, before: &Self) {
        let counters: HashMap<_, _> = before
            .entries
            .iter()
            .map(|entry| (entry.lane, &entry.evaluated))
            .collect();
        for entry in &mut self.entries {
            if let Some(counter) = counters.get(&entry.lane) {
                entry.evaluated = Arc::clone(counter);
            }
        }
    }

    /// How many advanced filters of each subscription were evaluated. Those that the index could do without are not
    /// among them.
    pub(crate) fn evaluated(&self) -> impl Iterator<Item = (LaneId, u64)> {
        let with_filters = self.entries.iter().filter(|one| !one.clauses.is_empty());
        with_filters.map(|one| (one.lane, one.evaluated.load(Ordering::Relaxed)))
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

impl Entry {
    fn of(subscription: &EventSubscription, numbers: &HashMap<&str, KeyNumber>) -> Self {
        let mut filter = subscription.filter.clone();
        let mut advanced = std::mem::take(&mut filter.advanced);
        advanced.sort_by_key(|one| !lookup::is_in_envelope(&one.key));
        let asked = |one: &AdvancedFilter| Asked {
            key: numbers[&*one.key],
            clause: Clause::of(one),
        };
        Self {
            lane: subscription.lane,
            filter,
            clauses: advanced.iter().map(asked).collect(),
            evaluated: Arc::default(),
        }
    }

    fn wants(&self, kind: TopicKind, event: &Event, values: &Values<'_, '_>) -> bool {
        let on_arrays = self.filter.advanced_on_arrays;
        if !self.filter.takes_envelope(kind, event) {
            return false;
        }
        if self.clauses.is_empty() {
            return true;
        }
        let mut evaluated = 0;
        let holds = |one: &Asked| {
            evaluated += 1;
            values.ask(one.key, |found| one.clause.holds(found, on_arrays))
        };
        let all_hold = self.clauses.iter().all(holds);
        self.evaluated.fetch_add(evaluated, Ordering::Relaxed);
        all_hold
    }
}

/// A shelf that is being filled.
#[derive(Default)]
struct Draft {
    unconditional: Vec<u32>,
    prefixes: Trees,
    suffixes: Trees,
    /// The bucket of each condition: whether case counts, and the prefix, or the reversed suffix.
    by_prefix: HashMap<(bool, Vec<u8>), u32>,
    by_suffix: HashMap<(bool, Vec<u8>), u32>,
    buckets: Vec<Vec<u32>>,
}

impl Draft {
    fn place(&mut self, kind: TopicKind, number: u32, filter: &Filter, shared: &Shared) {
        let prefix = significant(kind, &filter.subject_begins_with);
        let suffix = &filter.subject_ends_with;
        let exact = filter.is_subject_case_sensitive;
        let (key, trees, places) = if prefix.is_empty() && suffix.is_empty() {
            self.unconditional.push(number);
            return;
        } else if shared.prefix_is_rarer(prefix, suffix) {
            let key = as_compared(prefix.bytes(), exact);
            (key, &mut self.prefixes, &mut self.by_prefix)
        } else {
            let key = as_compared(suffix.bytes().rev(), exact);
            (key, &mut self.suffixes, &mut self.by_suffix)
        };
        let next = u32::try_from(self.buckets.len()).expect("there are fewer buckets than entries");
        let bucket = *places.entry((exact, key)).or_insert_with_key(|(_, key)| {
            trees.insert(key, exact, next);
            next
        });
        if bucket == next {
            self.buckets.push(Vec::new());
        }
        self.buckets[bucket as usize].push(number);
    }

    fn finish(self, entries: &[Entry]) -> Shelf {
        let buckets = self.buckets.into_iter();
        Shelf {
            unconditional: Bucket::of(self.unconditional, entries),
            prefixes: self.prefixes,
            suffixes: self.suffixes,
            buckets: buckets.map(|all| Bucket::of(all, entries)).collect(),
        }
    }
}

fn as_compared(key: impl Iterator<Item = u8>, exact: bool) -> Vec<u8> {
    if exact {
        key.collect()
    } else {
        key.map(|byte| byte.to_ascii_lowercase()).collect()
    }
}

impl Shelf {
    /// Visits whoever may want the subject. A suffix is compared with the whole of it, a prefix with its significant part.
    fn visit(
        &self,
        significant: &str,
        whole: &str,
        values: &Values<'_, '_>,
        visit: &mut impl FnMut(u32),
    ) {
        self.unconditional.visit(values, visit);
        let mut open = |bucket: u32| self.buckets[bucket as usize].visit(values, &mut *visit);
        self.prefixes.visit(significant.bytes(), &mut open);
        self.suffixes.visit(whole.bytes().rev(), &mut open);
    }
}

impl Trees {
    fn insert(&mut self, key: &[u8], exact: bool, bucket: u32) {
        let tree = match exact {
            true => &mut self.exact,
            false => &mut self.folded,
        };
        tree.insert(key, bucket);
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
