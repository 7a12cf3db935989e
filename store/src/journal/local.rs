//! The journal in local files.
//!
//! Promise: a batch that was answered as synced is on the disk; after a failed write or sync the file is left alone
//! for ever and the next batch begins a new one, because nobody can say what the old one holds.
//! Not here: finding the end after a crash (`recover`), preparing files (`spares`).

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use gridpost_model::Timestamp;

use super::frame::{Builder, Frame, NotAFrame};
use super::recover::Recovered;
use super::segment::{self, HEADER_BLOCK, SEGMENT_BYTES, Segment, SegmentHeader, Window};
use super::spares::{Spares, WORTHWHILE_BYTES};
use super::{Durability, Figures, Journal, JournalReader, Piece, Span};
use crate::disk::{self, Disk};
use crate::{Position, ReadError, StoreError};

/// The writing side.
#[derive(Debug)]
pub(crate) struct Local {
    folder: PathBuf,
    shared: Arc<Shared>,
    spares: Spares,
    /// The segment being written; `None` after opening and after a failure.
    active: Option<Active>,
    /// Behind the last batch that counts, revealed or not.
    end: Position,
    /// Everything before is known to be durable.
    synced: Position,
    last_number: u64,
    /// What an earlier process prepared and did not use.
    leftovers: Vec<PathBuf>,
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    /// It grows as it is written; a prepared one is faster.
    growing: bool,
}

/// What readers see.
#[derive(Debug)]
struct Shared {
    /// What cannot be read is skipped.
    accept_damage: bool,
    segments: ArcSwap<Vec<Arc<Segment>>>,
    tail: AtomicU64,
    syncs: AtomicU64,
    written_bytes: AtomicU64,
    batches: AtomicU64,
}

impl Local {
    pub(crate) fn new(
        folder: &Path,
        disk: &Disk,
        recovered: Recovered,
        accept_damage: bool,
    ) -> Self {
        let shared = Shared {
            accept_damage,
            segments: ArcSwap::from_pointee(recovered.segments),
            tail: AtomicU64::new(recovered.tail.0),
            syncs: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        };
        Self {
            folder: folder.to_owned(),
            shared: Arc::new(shared),
            spares: Spares::new(folder, disk, recovered.last_number + 1),
            leftovers: recovered.leftovers,
            active: None,
            end: recovered.tail,
            synced: recovered.tail,
            last_number: recovered.last_number,
        }
    }

    /// The segment for a batch of this size.
    fn segment_for(&mut self, size: usize, now: Timestamp) -> Result<Arc<Segment>, StoreError> {
        if let Some(active) = &self.active {
            let fits = segment::split(self.end).1 + (size as u64) < SEGMENT_BYTES;
            let better = active.growing && self.spares.is_ready();
            if fits && !better {
                return Ok(Arc::clone(&active.segment));
            }
        }
        self.next_segment(now)
    }

    fn next_segment(&mut self, now: Timestamp) -> Result<Arc<Segment>, StoreError> {
        self.leave_active();
        let spare = self
            .spares
            .take(self.last_number)
            .map_err(|e| failure("make", &e))?;
        self.last_number = spare.number;
        let header = SegmentHeader {
            number: spare.number,
            previous_end: self.end,
            previous_synced: self.synced.min(self.end),
            created: now,
            fresh: spare.fresh,
            guessed: false,
        };
        let growing = spare.file.len().map_err(|e| failure("measure", &e))? < SEGMENT_BYTES;
        let mut block = [0; HEADER_BLOCK as usize];
        block[..header.encode().len()].copy_from_slice(&header.encode());
        if let Err(error) = spare.file.write_all_at(&block, 0) {
            self.forget(spare.number);
            return Err(failure("begin", &error));
        }
        let start = segment::first_frame(spare.number);
        let segment = Arc::new(Segment::new(header, spare.file, start));
        let mut segments = Vec::clone(&self.shared.segments.load());
        segments.push(Arc::clone(&segment));
        self.shared.segments.store(Arc::new(segments));
        self.active = Some(Active {
            segment: Arc::clone(&segment),
            growing,
        });
        self.end = start;
        self.prepare_spares();
        Ok(segment)
    }

    /// Later syncs go to another file, so what this one still holds back is made durable now. When that fails the
    /// next header says which part may be missing.
    pub(super) fn leave_active(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        if self.synced < self.end && active.segment.file.sync().is_ok() {
            self.synced = self.end;
        }
    }

    fn prepare_spares(&mut self) {
        if self.shared.written_bytes.load(Ordering::Relaxed) < WORTHWHILE_BYTES {
            return;
        }
        for path in self.leftovers.drain(..) {
            self.spares.give_back(path);
        }
        self.spares.replenish();
    }

    /// The active segment failed: it ends where the last good batch ended, and is never touched again.
    fn abandon(&mut self, end: Position) {
        let Some(active) = self.active.take() else {
            return;
        };
        let number = active.segment.number();
        if end <= active.segment.start() {
            // Nothing in it counts; the journal goes on where the segment before ended.
            self.end = active.segment.header.previous_end;
            let mut segments = Vec::clone(&self.shared.segments.load());
            segments.retain(|segment| segment.number() != number);
            self.shared.segments.store(Arc::new(segments));
            self.forget(number);
        } else {
            self.end = end;
        }
        self.synced = self.synced.min(self.end);
    }

    /// Removes a file in which nothing counts. Should that fail, opening finds that no later segment names it.
    fn forget(&self, number: u64) {
        let _ = std::fs::remove_file(segment::path(&self.folder, number));
    }

    fn sync_active(&mut self) -> io::Result<()> {
        let Some(active) = &self.active else {
            // Until the next segment says so in its header, nobody knows which part may be missing.
            return Err(io::Error::other(
                "the last batches are in a file that failed",
            ));
        };
        active.segment.file.sync()?;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.synced = self.end;
        Ok(())
    }
}

impl Journal for Local {
    fn append(
        &mut self,
        batch: &mut Builder,
        durability: Durability,
        now: Timestamp,
    ) -> Result<Span, StoreError> {
        let segment = self.segment_for(batch.size(), now)?;
        let start = self.end;
        let bytes = batch.finish(start, self.synced);
        let written = segment.file.write_all_at(bytes, segment::split(start).1);
        self.end = Position(start.0 + bytes.len() as u64);
        let size_bytes = bytes.len() as u64;
        if let Err(error) = written {
            self.abandon(start);
            return Err(failure("write", &error));
        }
        if durability == Durability::Synced
            && let Err(error) = self.sync_active()
        {
            self.abandon(start);
            return Err(failure("sync", &error));
        }
        segment.mark(start);
        self.shared
            .written_bytes
            .fetch_add(size_bytes, Ordering::Relaxed);
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        if self.active.as_ref().is_some_and(|active| active.growing) {
            self.prepare_spares();
        }
        Ok(Span {
            start,
            end: self.end,
        })
    }

    fn reveal(&mut self) {
        if let Some(active) = &self.active {
            active.segment.set_end(self.end);
        }
        self.shared.tail.store(self.end.0, Ordering::Release);
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.synced == self.end {
            return Ok(());
        }
        self.sync_active().map_err(|error| {
            self.abandon(self.end);
            failure("sync", &error)
        })
    }

    fn trim(&mut self, before: Position) {
        let segments = self.shared.segments.load_full();
        let going = segments
            .iter()
            .take(segments.len().saturating_sub(1))
            .take_while(|segment| segment.end() <= before)
            .count();
        if going == 0 {
            return;
        }
        self.shared
            .segments
            .store(Arc::new(segments[going..].to_vec()));
        for segment in &segments[..going] {
            self.spares
                .give_back(segment::path(&self.folder, segment.number()));
        }
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        Arc::clone(&self.shared) as Arc<dyn JournalReader>
    }
}

impl JournalReader for Shared {
    fn read(
        &self,
        from: Position,
        visit: &mut dyn FnMut(&Frame<'_>) -> ControlFlow<()>,
    ) -> Result<Position, ReadError> {
        let tail = self.tail();
        let mut window = Window::new();
        let mut at = from;
        while at < tail {
            let segments = self.segments.load_full();
            // The first segment that ends behind `at` holds it, or is where what followed it begins.
            let Some(segment) = segments.iter().find(|segment| at < segment.end()) else {
                break;
            };
            match self.read_segment(segment, &mut window, at, tail, visit) {
                Ok(ControlFlow::Continue(())) => at = segment.end().min(tail).max(segment.start()),
                Ok(ControlFlow::Break(next)) => return Ok(next),
                // It was given up, perhaps used again, while it was read: go on with what is kept.
                Err(_) if at < self.oldest() && segment.end() <= self.oldest() => {
                    at = self.oldest();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(tail.max(from))
    }

    fn tail(&self) -> Position {
        Position(self.tail.load(Ordering::Acquire))
    }

    fn oldest(&self) -> Position {
        self.segments
            .load()
            .first()
            .map_or(Position::START, |segment| segment.start())
    }

    fn pieces(&self) -> Vec<Piece> {
        let piece = |segment: &Arc<Segment>| Piece {
            start: segment.start(),
            end: segment.end(),
            created: segment.header.created,
        };
        self.segments.load().iter().map(piece).collect()
    }

    fn figures(&self) -> Figures {
        Figures {
            syncs: self.syncs.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// Visits the frames of one segment from the one that holds `from`. Breaks with the position to go on at.
    fn read_segment(
        &self,
        segment: &Segment,
        window: &mut Window,
        from: Position,
        tail: Position,
        visit: &mut dyn FnMut(&Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<Position>, ReadError> {
        let failed = |error: io::Error| ReadError::Failed(error.to_string().into());
        let end = segment.end().min(tail);
        let mut at = segment.start().max(from);
        if segment.start() < from {
            at = match segment.frame_holding(from).map_err(failed)? {
                Ok(frame_at) => frame_at,
                Err(what) => self.skip(segment, from, end, what)?,
            };
        }
        while at < end {
            let frame = match window.frame(&segment.file, at).map_err(failed)? {
                Ok(frame) => frame,
                Err(what) => {
                    at = self.skip(segment, at, end, what)?;
                    continue;
                }
            };
            segment.mark(at);
            at = frame.end();
            if visit(&frame).is_break() {
                return Ok(ControlFlow::Break(at));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Where to go on behind something unreadable, when the operator allowed to.
    fn skip(
        &self,
        segment: &Segment,
        at: Position,
        end: Position,
        what: NotAFrame,
    ) -> Result<Position, ReadError> {
        if !self.accept_damage || at < self.oldest() {
            return Err(ReadError::Damaged {
                at,
                what: what.to_string().into(),
            });
        }
        let next = segment.next_frame(at, end);
        let next = next.map_err(|error| ReadError::Failed(error.to_string().into()))?;
        Ok(next.map_or(end, |frame_at| frame_at))
    }
}

fn failure(doing: &str, error: &io::Error) -> StoreError {
    if disk::is_no_space(error) {
        return StoreError::NoSpace;
    }
    StoreError::Failed(format!("could not {doing} a journal segment: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::recover::Search;
    use crate::{FileKind, Partition};
    use gridpost_model::subscription::LaneId;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn open(folder: &Path, checkpoint: Position) -> (Local, Vec<Position>) {
        let disk = Disk::default();
        let search = Search {
            folder,
            disk: &disk,
            checkpoint,
            accept_damage: false,
        };
        let mut frames = Vec::new();
        let found = search.run(&mut |frame| frames.push(frame.at())).unwrap();
        (Local::new(folder, &disk, found, false), frames)
    }

    fn append(journal: &mut Local, size_bytes: usize) -> Span {
        let mut batch = Builder::new();
        batch.partition(Partition(1));
        batch.put(1, b"key", &vec![7; size_bytes]);
        batch.settled(LaneId(1), std::iter::once(Position(5)));
        let span = journal.append(&mut batch, Durability::Synced, NOW).unwrap();
        journal.reveal();
        span
    }

    /// Waits for the thread that prepares spares.
    fn until_ready(journal: &Local) {
        while !journal.spares.is_stocked() {
            assert!(!journal.spares.is_discouraged(), "is the disk full?");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_spare_finished_after_the_journal_went_on_without_it_is_used() {
        let folder = tempfile::TempDir::new().unwrap();
        let (mut journal, _) = open(folder.path(), Position::START);
        append(&mut journal, 2 << 20);
        // The spares are being made when another segment is needed.
        journal.leave_active();
        append(&mut journal, 1000);
        let grown = journal.active.as_ref().map(|active| active.growing);
        until_ready(&journal);
        journal.leave_active();
        append(&mut journal, 1000);
        let prepared = journal.active.as_ref().map(|active| active.growing);
        assert_eq!((grown, prepared), (Some(true), Some(false)));
    }

    #[test]
    fn a_recycled_segment_never_replays_its_previous_life() {
        let folder = tempfile::TempDir::new().unwrap();
        let (mut journal, _) = open(folder.path(), Position::START);
        // A growing segment, then a prepared one, filled with frames of one size up to the end.
        append(&mut journal, 2 << 20);
        until_ready(&journal);
        let size = 1000;
        let first = append(&mut journal, size).start;
        let used = segment::split(first).0;
        let mut last = first;
        while segment::split(last).0 == used {
            last = append(&mut journal, size << 10).start;
        }
        // Given up, it is used again under another number once the spares before it are used up.
        until_ready(&journal);
        journal.spares.take(0).unwrap();
        journal.trim(Position(last.0 - segment::split(last).1));
        let mut begun = Vec::new();
        loop {
            until_ready(&journal);
            journal.leave_active();
            begun.push(append(&mut journal, size).start);
            let segment = journal
                .active
                .as_ref()
                .map(|active| Arc::clone(&active.segment));
            if segment.is_some_and(|segment| !segment.header.fresh) {
                break;
            }
        }
        // At the same places where the earlier life had frames there are frames now, and earlier ones behind them.
        begun.push(append(&mut journal, size << 10).start);
        let number = segment::split(journal.end).0;
        drop(journal);
        let path = segment::path(folder.path(), number);
        let file = Disk::default()
            .open(&path, FileKind::Segment(number))
            .unwrap();
        let mut rest = vec![0; 1 << 20];
        file.read_exact_at(&mut rest, 32 << 20).unwrap();
        assert!(
            rest.iter().any(|byte| *byte != 0),
            "the earlier life is still in the file"
        );

        let (journal, frames) = open(folder.path(), segment::first_frame(segment::split(last).0));
        assert!(frames.ends_with(&begun), "{frames:?} {begun:?}");
        assert_eq!(journal.end, journal.reader().tail());
        let mut read = Vec::new();
        let visit = &mut |frame: &Frame<'_>| {
            read.push(frame.at());
            ControlFlow::Continue(())
        };
        journal.reader().read(Position::START, visit).unwrap();
        assert_eq!(read, frames);
    }

    #[test]
    fn a_reader_goes_on_behind_what_was_given_up() {
        let folder = tempfile::TempDir::new().unwrap();
        let (mut journal, _) = open(folder.path(), Position::START);
        let first = append(&mut journal, 100).start;
        journal.leave_active();
        let second = append(&mut journal, 100).start;
        journal.trim(second);
        let mut read = Vec::new();
        let visit = &mut |frame: &Frame<'_>| {
            read.push(frame.at());
            ControlFlow::Continue(())
        };
        journal.reader().read(first, visit).unwrap();
        assert_eq!((read, journal.reader().oldest()), (vec![second], second));
    }
}
