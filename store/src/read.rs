//! Reading: tables as of a moment, and events from any position.
//!
//! Promise: never waits for the writer; what is read was verified.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use gridpost_model::Event;
use gridpost_model::subscription::LaneId;
use serde::de::DeserializeOwned;

use crate::journal::JournalReader;
use crate::journal::frame::{Entry, EventEntry, Frame};
use crate::rows::Layers;
use crate::{
    Appended, Key, Keyed, PARTITIONS, Partition, Placed, Position, ReadError, Replayed, Scan,
    StoreError, Table,
};

/// All tables as of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot(pub(crate) Arc<Layers>);

impl Snapshot {
    /// One row.
    ///
    /// # Errors
    /// The tables cannot be read, or the row is not a `V`.
    pub fn get<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        partition: Partition,
        key: impl Key,
    ) -> Result<Option<V>, StoreError> {
        self.0.get(table, partition, &key)
    }

    /// Rows of one partition in the order of their keys, each with its key.
    ///
    /// # Errors
    /// The tables cannot be read, or a row is not a `V`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a scan is built where it is used"
    )]
    pub fn scan<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        partition: Partition,
        scan: Scan,
    ) -> Result<Vec<Keyed<V>>, StoreError> {
        self.0.scan(table, partition, &scan)
    }

    /// The next rows of a scan, which is moved behind them; `None` when there are no more.
    ///
    /// # Errors
    /// The tables cannot be read, or a row is not a `V`.
    pub fn next_page<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        partition: Partition,
        scan: &mut Scan,
    ) -> Result<Option<Vec<Keyed<V>>>, StoreError> {
        let rows = self.0.scan(table, partition, scan)?;
        let Some((last, _)) = rows.last() else {
            return Ok(None);
        };
        scan.go_behind(last);
        Ok(Some(rows))
    }

    /// Rows of all partitions, partition by partition.
    ///
    /// # Errors
    /// The tables cannot be read, or a row is not a `V`.
    pub fn scan_all<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        mut scan: Scan,
    ) -> Result<Vec<Placed<V>>, StoreError> {
        let mut found = Vec::new();
        for partition in (0..PARTITIONS).map(Partition) {
            let rows = self.0.scan(table, partition, &scan)?;
            scan.limit -= rows.len();
            found.extend(rows.into_iter().map(|(key, row)| (partition, key, row)));
        }
        Ok(found)
    }
}

/// How much one `read_events` may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Events kept.
    pub events: usize,
    /// Bytes of their bodies; the event that crosses it is the last.
    pub kept_bytes: usize,
    /// Bytes of journal looked at.
    pub scanned_bytes: usize,
}

/// What one `read_events` found.
#[derive(Clone, Debug)]
pub struct ReadBatch {
    /// The wanted events.
    pub events: Vec<Appended>,
    /// Where to go on.
    pub next: Position,
    /// Nothing was written behind `next` when it was read.
    pub at_tail: bool,
}

pub(crate) fn read_events(
    journal: &dyn JournalReader,
    from: Position,
    limit: ReadLimit,
    want: &mut dyn FnMut(&[LaneId]) -> bool,
) -> Result<ReadBatch, ReadError> {
    let mut reading = Reading {
        events: Vec::new(),
        kept: 0,
        scanned: 0,
        stopped: None,
    };
    let mut failure = None;
    let reached = journal.read(
        from,
        &mut |frame| match reading.take(frame, from, limit, want) {
            Ok(()) if reading.stopped.is_none() => ControlFlow::Continue(()),
            Ok(()) => ControlFlow::Break(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some(error) = failure {
        return Err(error);
    }
    let next = reading.stopped.unwrap_or(reached);
    Ok(ReadBatch {
        events: reading.events,
        next,
        at_tail: journal.tail() <= next,
    })
}

struct Reading {
    events: Vec<Appended>,
    kept: usize,
    scanned: usize,
    /// Where a limit was reached.
    stopped: Option<Position>,
}

impl Reading {
    fn take(
        &mut self,
        frame: &Frame<'_>,
        from: Position,
        limit: ReadLimit,
        want: &mut dyn FnMut(&[LaneId]) -> bool,
    ) -> Result<(), ReadError> {
        for entry in frame.entries() {
            let entry = entry.map_err(|_| damaged(frame.at(), "its list of entries"))?;
            let Entry::Event(event) = entry else { continue };
            if event.position < from || !want(&event.lanes) {
                continue;
            }
            if limit.events <= self.events.len() || limit.kept_bytes <= self.kept {
                self.stopped = Some(event.position);
                return Ok(());
            }
            let appended = restore(&event, frame.end())?;
            self.kept += appended.event.json.len();
            self.events.push(appended);
        }
        self.scanned += usize::try_from(frame.end().0 - frame.at().0).unwrap_or(usize::MAX);
        if limit.scanned_bytes <= self.scanned {
            self.stopped = Some(frame.end());
        }
        Ok(())
    }
}

/// Shows events and settlements between two positions.
pub(crate) fn replay(
    journal: &dyn JournalReader,
    from: Position,
    to: Position,
    visit: &mut dyn FnMut(Replayed),
) -> Result<(), ReadError> {
    let mut failure = None;
    journal.read(from, &mut |frame| {
        if to <= frame.at() {
            return ControlFlow::Break(());
        }
        match replay_frame(frame, visit) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failure.map_or(Ok(()), Err)
}

fn replay_frame(frame: &Frame<'_>, visit: &mut dyn FnMut(Replayed)) -> Result<(), ReadError> {
    for entry in frame.entries() {
        match entry.map_err(|_| damaged(frame.at(), "its list of entries"))? {
            Entry::Event(event) => visit(Replayed::Event(restore(&event, frame.end())?)),
            Entry::Settled { lane, positions } => {
                for position in positions {
                    visit(Replayed::Settled { lane, position });
                }
            }
            Entry::Partition(_) | Entry::Put { .. } | Entry::Remove { .. } => (),
        }
    }
    Ok(())
}

/// The event as it was appended.
fn restore(entry: &EventEntry<'_>, next: Position) -> Result<Appended, ReadError> {
    let json = entry
        .json()
        .ok_or_else(|| damaged(entry.position, "the body of an event"))?;
    let mut event = Event::from_stored(entry.schema, Bytes::copy_from_slice(json), entry.published)
        .map_err(|_| damaged(entry.position, "the envelope of an event"))?;
    event.trace = entry.trace;
    if let Some(topic) = entry.topic {
        event.topic = topic.into();
    }
    let lanes = entry.lanes.clone();
    Ok(Appended {
        position: entry.position,
        next,
        lanes,
        event: Arc::new(event),
    })
}

fn damaged(at: Position, what: &str) -> ReadError {
    ReadError::Damaged {
        at,
        what: format!("{what} is unreadable").into(),
    }
}
