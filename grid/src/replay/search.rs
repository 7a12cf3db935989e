//! Going through the journal for the events of a replay.
//!
//! Promise: reads a bounded piece at a time, and leaves out what lies long before or behind the wanted time.

use std::sync::Arc;
use std::time::Duration;

use gridpost_model::filter::TopicKind;
use gridpost_model::{Event, Filter, ResourceId, Timestamp};
use gridpost_store::{Piece, Position, ReadError, ReadLimit, Store};

use super::Selection;

/// How much is read in one go: a few milliseconds; and what is found of it fits into one transaction.
const READ: ReadLimit = ReadLimit {
    events: 1_024,
    kept_bytes: 1 << 20,
    scanned_bytes: 1 << 20,
};

/// Events stand in the journal in the order they were stored; they were published a little before, and not quite in
/// that order. This is far more than a publisher is ever kept waiting.
const DISORDER: Duration = Duration::from_secs(60);

/// Which events are wanted.
pub(super) struct Search {
    pub(super) source: ResourceId,
    pub(super) kind: TopicKind,
    pub(super) filter: Option<Filter>,
    pub(super) selection: Selection,
}

/// What was found in one go.
pub(super) struct Found {
    pub(super) events: Vec<Arc<Event>>,
    /// Where to go on.
    pub(super) next: Position,
}

impl Search {
    /// Where to begin: behind what was certainly published too early.
    pub(super) fn begin(&self, store: &Store) -> Result<Position, ReadError> {
        let pieces = store.pieces();
        let mut begin = store.oldest();
        let Some(from) = self.selection.from else {
            return Ok(begin);
        };
        for piece in pieces.iter().skip(1) {
            match first_published(store, piece)? {
                Some(first) if first + DISORDER < from => begin = piece.start,
                Some(_) => break,
                None => (),
            }
        }
        Ok(begin)
    }

    /// The next wanted events from `at`, at most so many, looking at a bounded piece of the journal. Nothing at or
    /// behind `end` is looked at.
    pub(super) fn piece(
        &self,
        store: &Store,
        at: Position,
        end: Position,
        most: usize,
    ) -> Result<Found, ReadError> {
        let batch = store.read_events(at, READ, &mut |_| true)?;
        let mut found = Found {
            events: Vec::new(),
            next: batch.next.min(end).max(at),
        };
        if batch.at_tail || batch.next <= at {
            found.next = end;
        }
        for one in batch.events {
            if end <= one.position || self.is_past(one.event.published) {
                found.next = end;
                break;
            }
            if !self.wants(&one.event) {
                continue;
            }
            if found.events.len() == most {
                found.next = one.position;
                break;
            }
            found.events.push(one.event);
        }
        Ok(found)
    }

    fn is_past(&self, published: Timestamp) -> bool {
        let to = self.selection.to;
        to.is_some_and(|to| to + DISORDER < published)
    }

    fn wants(&self, event: &Event) -> bool {
        let chosen = &self.selection;
        chosen.event_id.as_deref().is_none_or(|id| id == &*event.id)
            && chosen.from.is_none_or(|from| from <= event.published)
            && chosen.to.is_none_or(|to| event.published < to)
            && self.is_of_source(event)
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.refusal(self.kind, event).is_none())
    }

    /// Whether the event belongs to the source, or to a part of it: a topic of a domain.
    pub(super) fn is_of_source(&self, event: &Event) -> bool {
        let (topic, source) = (event.topic.as_bytes(), self.source.as_str().as_bytes());
        topic
            .split_at_checked(source.len())
            .is_some_and(|(head, rest)| {
                head.eq_ignore_ascii_case(source) && matches!(rest, [] | [b'/', ..])
            })
    }
}

fn first_published(store: &Store, piece: &Piece) -> Result<Option<Timestamp>, ReadError> {
    let limit = ReadLimit {
        events: 1,
        scanned_bytes: 64 << 10,
        ..READ
    };
    let batch = store.read_events(piece.start, limit, &mut |_| true)?;
    Ok(batch.events.first().map(|one| one.event.published))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn search(selection: Selection) -> Search {
        Search {
            source: "/subscriptions/s/resourceGroups/rg/providers/p/t/dev"
                .parse()
                .unwrap(),
            kind: TopicKind::Custom,
            filter: None,
            selection,
        }
    }

    #[test]
    fn a_time_begins_with_its_first_moment_and_ends_before_its_last() {
        let at = Timestamp::from_seconds;
        let wanted = search(Selection {
            from: Some(at(10)),
            to: Some(at(20)),
            ..Selection::default()
        });
        let mut event = testing::event("x", "s");
        let taken = [9, 10, 19, 20].map(|second| {
            event.published = at(second);
            wanted.wants(&event)
        });
        assert_eq!(taken, [false, true, true, false]);
    }

    #[test]
    fn events_of_other_sources_are_left_out_and_those_of_parts_are_not() {
        let wanted = search(Selection::default());
        let mut event = testing::event("x", "s");
        assert!(wanted.wants(&event));
        event.topic = format!("{}/topics/t", event.topic).to_uppercase().into();
        assert!(wanted.wants(&event));
        event.topic = format!("{}2", wanted.source).into();
        assert!(!wanted.wants(&event));
        event.topic = "/subscriptions".into();
        assert!(!wanted.wants(&event));
    }

    #[test]
    fn a_filter_chooses() {
        let filter = Filter {
            subject_begins_with: "orders/".into(),
            ..Filter::default()
        };
        let wanted = Search {
            filter: Some(filter),
            ..search(Selection::default())
        };
        assert!(wanted.wants(&testing::event("x", "orders/1")));
        assert!(!wanted.wants(&testing::event("x", "carts/1")));
    }
}
