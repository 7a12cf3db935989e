//! A filter tried on events that are kept, before anybody saves it.
//!
//! Promise: it answers what the filter would have done with the newest events of a source: taken, or refused by which
//! clause. It only looks, and never at more of the journal than its bound.
//! Not here: the meaning of a filter (`model::filter`), what became of an event at a subscription (`explain`).

use std::sync::Arc;

use gridpost_model::filter::{Refusal, TopicKind};
use gridpost_model::{Filter, ResourceId, Timestamp};
use gridpost_store::{Appended, Position, ReadError, ReadLimit, Store};

use crate::manage::Invalid;
use crate::system_topics::COMMUNICATION_RESOURCE;
use crate::{Grid, validation};

/// Events tried at most: what is answered of each fits a line, and a few hundred tell enough.
pub const MOST: usize = 1_000;

/// How far back events are looked for: a few seconds of reading.
const REACH_BYTES: u64 = 1 << 30;

/// How much is read at once, from the newest to the oldest.
const WINDOW_BYTES: u64 = 4 << 20;

/// What one call of the store may read of a window.
const READ: ReadLimit = ReadLimit {
    events: 4_096,
    kept_bytes: 4 << 20,
    scanned_bytes: 4 << 20,
};

/// What a filter makes of one event, and as much of the event as tells which one it is.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Its `id`.
    pub id: Box<str>,
    /// Its type.
    pub event_type: Box<str>,
    /// Its subject.
    pub subject: Box<str>,
    /// Its topic.
    pub topic: Arc<str>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Where it stands in the journal.
    pub position: Position,
    /// The first clause that refuses it; `None`: it matches.
    pub refusal: Option<Refusal>,
}

/// A filter could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// The filter could not be saved either; the field is named.
    #[error("{}", .0.message)]
    Invalid(Invalid),
    /// Nothing with this id raises events.
    #[error("'{0}' is no topic, domain or resource whose events can be subscribed to")]
    UnknownSource(ResourceId),
    /// The journal could not be read.
    #[error("the journal could not be read")]
    Journal(#[from] ReadError),
}

impl Grid {
    /// Tries a filter on the newest `last` events of a source that are still kept, the newest first; at most [`MOST`].
    /// The events of a domain are those of its topics. Reads files: call it where that may take a moment.
    ///
    /// # Errors
    /// The filter makes no sense, there is no such source, or the journal cannot be read.
    pub fn dry_run(
        &self,
        source: &ResourceId,
        filter: Filter,
        last: usize,
    ) -> Result<Vec<Tried>, DryRunError> {
        let kind = self.kind_of_source(source)?;
        let filter = validation::check_filter(filter, kind).map_err(DryRunError::Invalid)?;
        // While the journal is read: a thousand whole events may be a gigabyte.
        let judge = |one: &Appended| Tried {
            refusal: filter.refusal(kind, &one.event),
            id: one.event.id.clone(),
            event_type: one.event.event_type.clone(),
            subject: one.event.subject.clone(),
            topic: Arc::clone(&one.event.topic),
            accepted: one.event.published,
            position: one.position,
        };
        Ok(newest(&self.0.store, source, last.min(MOST), &judge)?)
    }

    fn kind_of_source(&self, source: &ResourceId) -> Result<TopicKind, DryRunError> {
        let state = self.0.registry.read();
        match state.sources.get(source) {
            Some(source) => Ok(source.kind),
            // Its system topic is made with its first subscription; its events are kept before.
            None if source.is_of_type(COMMUNICATION_RESOURCE) => Ok(TopicKind::Communication),
            None => Err(DryRunError::UnknownSource(source.clone())),
        }
    }
}

/// What is made of the newest events of a source, the newest first.
fn newest<T>(
    store: &Store,
    source: &ResourceId,
    last: usize,
    judge: &dyn Fn(&Appended) -> T,
) -> Result<Vec<T>, ReadError> {
    let (mut found, mut left) = (Vec::new(), REACH_BYTES);
    for piece in store.pieces().iter().rev() {
        let mut end = piece.end;
        while piece.start < end && found.len() < last && 0 < left {
            let span = (end.0 - piece.start.0).min(WINDOW_BYTES).min(left);
            let start = Position(end.0 - span);
            let window = window(store, source, (start, end), judge)?;
            found.extend(window.into_iter().rev());
            end = start;
            left -= span;
        }
    }
    found.truncate(last);
    Ok(found)
}

/// What is made of the events of a source from `start` up to `end`, oldest first.
fn window<T>(
    store: &Store,
    source: &ResourceId,
    (start, end): (Position, Position),
    judge: &dyn Fn(&Appended) -> T,
) -> Result<Vec<T>, ReadError> {
    let (mut found, mut at) = (Vec::new(), start);
    loop {
        let batch = store.read_events(at, READ, &mut |_| true)?;
        // A batch may begin before the window and end behind it; what lies outside belongs to another window.
        let wanted = |one: &Appended| {
            (start..end).contains(&one.position) && is_of(source.as_str(), &one.event.topic)
        };
        found.extend(batch.events.iter().filter(|one| wanted(one)).map(judge));
        if batch.at_tail || end <= batch.next || batch.next <= at {
            return Ok(found);
        }
        at = batch.next;
    }
}

/// Whether a topic is the source, or a part of it: a topic of a domain.
fn is_of(source: &str, topic: &str) -> bool {
    let halves = topic.as_bytes().split_at_checked(source.len());
    halves.is_some_and(|(head, rest)| {
        head.eq_ignore_ascii_case(source.as_bytes()) && matches!(rest, [] | [b'/', ..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_domain_are_those_of_its_topics() {
        assert!(is_of("/a/domains/d", "/A/Domains/d"));
        assert!(is_of("/a/domains/d", "/a/domains/d/topics/t"));
        assert!(!is_of("/a/domains/d", "/a/domains/d2"));
        assert!(!is_of("/a/domains/d/topics/t", "/a/domains/d"));
    }
}
