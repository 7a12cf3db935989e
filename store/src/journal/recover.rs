//! Finding out what the journal holds after the process or the machine ended.
//!
//! Promise: every batch that was answered as durable is found, or opening is refused; what follows the last intact
//! batch and was never known to be durable is discarded and reported.
//! Not here: what batches mean (`crate::store` applies them), reading while the store runs (`local`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{Frame, NotAFrame};
use super::segment::{
    self, BadHeader, FORMAT, HEADER_BLOCK, SEGMENT_BYTES, Segment, SegmentHeader, Window,
};
use crate::disk::{self, Disk};
use crate::{FileKind, OpenError, Position};

/// What the journal holds.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Oldest first, each with its end.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Files without content that counts.
    pub(super) leftovers: Vec<PathBuf>,
    /// The highest number that any file carries.
    pub(super) last_number: u64,
    pub(crate) tail: Position,
    pub(crate) discarded_bytes: u64,
    pub(crate) notes: Vec<String>,
}

impl Recovered {
    fn discard(&mut self, at: Position, size_bytes: u64, what: NotAFrame) {
        if size_bytes == 0 {
            return;
        }
        self.discarded_bytes += size_bytes;
        self.notes.push(format!(
            "discarded {size_bytes} bytes at {} that were never known to be durable: {what}",
            at.0
        ));
    }
}

/// Where and how to look.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) disk: &'a Disk,
    /// Batches before are not needed.
    pub(crate) checkpoint: Position,
    pub(crate) accept_damage: bool,
}

impl Search<'_> {
    /// Finds the segments and visits every intact batch from the checkpoint on, in order.
    pub(crate) fn run(&self, visit: &mut dyn FnMut(&Frame<'_>)) -> Result<Recovered, OpenError> {
        let mut found = Recovered::default();
        let (candidates, leftovers) = self.candidates(&mut found)?;
        found.leftovers = leftovers;
        found.last_number = found.last_number.max(self.checkpoint.0 / SEGMENT_BYTES);
        self.link(candidates, &mut found)?;
        self.walk(&mut found, visit)?;
        Ok(found)
    }

    /// Every file that was begun as a segment, by number, and every other.
    #[expect(
        clippy::type_complexity,
        reason = "two lists, named where they are made and used once"
    )]
    fn candidates(
        &self,
        found: &mut Recovered,
    ) -> Result<(BTreeMap<u64, Arc<Segment>>, Vec<PathBuf>), OpenError> {
        let mut candidates = BTreeMap::new();
        let mut leftovers = Vec::new();
        let mut spares = BTreeMap::new();
        let entries = fs::read_dir(self.folder).map_err(|e| self.file("could not list", e))?;
        for entry in entries {
            let path = entry.map_err(|e| self.file("could not list", e))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "unfinished")
            {
                let _ = fs::remove_file(&path);
            }
            let Some(number) = segment::number_of(&path) else {
                continue;
            };
            found.last_number = found.last_number.max(number);
            match self.candidate(&path, number, found)? {
                Candidate::Begun(segment) => {
                    candidates.insert(number, Arc::new(segment));
                    continue;
                }
                Candidate::Spare(segment) => drop(spares.insert(number, segment)),
                Candidate::Leftover => (),
            }
            leftovers.push(path);
        }
        // They are used in the order of their numbers, so only one can have been begun: looking into it takes a read
        // of the whole file.
        let begun = candidates.last_key_value().map_or(0, |(number, _)| *number);
        if let Some((_, spare)) = spares.range(begun..).next() {
            let path = segment::path(self.folder, spare.number());
            discard_whole(spare, found).map_err(|e| file_error("could not read", &path, e))?;
        }
        Ok((candidates, leftovers))
    }

    fn candidate(
        &self,
        path: &Path,
        number: u64,
        found: &mut Recovered,
    ) -> Result<Candidate, OpenError> {
        let failed = |e| file_error("could not read", path, e);
        let file = self
            .disk
            .open(path, FileKind::Segment(number))
            .map_err(failed)?;
        let mut block = [0; HEADER_BLOCK as usize];
        let filled = file.read_up_to(&mut block, 0).map_err(failed)?;
        let header = SegmentHeader::decode(&block[..filled]);
        if let Err(BadHeader::Newer(format)) = header {
            let file = path.to_owned();
            return Err(OpenError::NewerFormat {
                file,
                found: format,
                supported: FORMAT,
            });
        }
        let start = segment::first_frame(number);
        if let Ok(header) = header
            && header.number == number
        {
            return Ok(Candidate::Begun(Segment::new(header, file, start)));
        }
        // Not begun as far as its header says. A header that was lost before it became durable looks like this too,
        // but then nothing behind it was ever known to be durable.
        let torn = matches!(header, Err(BadHeader::Unreadable));
        let blank = matches!(header, Err(BadHeader::Blank));
        let header = SegmentHeader {
            number,
            previous_end: Position::START,
            previous_synced: Position::START,
            created: gridpost_model::Timestamp::EPOCH,
            fresh: false,
            guessed: true,
        };
        let segment = Segment::new(header, file, start);
        let looked_at = if torn {
            segment_end(number)
        } else {
            Position(start.0 + 1)
        };
        let evidence = self.first_evidence(&segment, looked_at, torn);
        if let Some(at) = evidence.map_err(failed)? {
            let what = format!("the header of segment {number} is unreadable");
            self.damage(at, what, found)?;
            return Ok(Candidate::Begun(segment));
        }
        let mut window = Window::new();
        let first = window.frame(&segment.file, start).map_err(failed)?;
        match first.err() {
            Some(NotAFrame::Blank) if blank => return Ok(Candidate::Spare(segment)),
            Some(NotAFrame::Blank | NotAFrame::Stale) if !torn => (),
            _ => discard_whole(&segment, found).map_err(failed)?,
        }
        Ok(Candidate::Leftover)
    }

    /// A frame that shows that its segment was in use.
    fn first_evidence(
        &self,
        segment: &Segment,
        end: Position,
        any_frame: bool,
    ) -> io::Result<Option<Position>> {
        let mut window = Window::new();
        let mut at = Some(segment.start());
        if window.frame(&segment.file, segment.start())?.is_err() {
            at = segment.next_frame(segment.start(), end)?;
        }
        while let Some(frame_at) = at {
            let Ok(frame) = window.frame(&segment.file, frame_at)? else {
                break;
            };
            if any_frame || segment.start() < frame.header.synced_before {
                return Ok(Some(frame_at));
            }
            let next = frame.end();
            let follows = window.frame(&segment.file, next)?.is_ok();
            at = follows.then_some(next);
        }
        Ok(None)
    }

    /// Follows the headers from the newest segment back. What no header names was abandoned after a failure.
    fn link(
        &self,
        mut candidates: BTreeMap<u64, Arc<Segment>>,
        found: &mut Recovered,
    ) -> Result<(), OpenError> {
        let mut next = candidates.pop_last();
        let mut newer: Option<Arc<Segment>> = None;
        while let Some((number, segment)) = next {
            match &newer {
                Some(newer) if newer.header.guessed => segment.set_end(segment_end(number)),
                Some(newer) => segment.set_end(newer.header.previous_end),
                None => (),
            }
            let before = segment.header.previous_end;
            let (previous, _) = segment::split(before);
            if segment.header.guessed {
                // What it followed is not known; that was accepted.
                next = candidates.pop_last();
            } else if before == Position::START {
                next = None;
            } else {
                next = candidates
                    .remove(&previous)
                    .map(|segment| (previous, segment));
                if next.is_none() && self.checkpoint < before {
                    let what =
                        format!("segment {previous}, which segment {number} follows, is missing");
                    self.damage(
                        self.checkpoint.max(segment::first_frame(previous)),
                        what,
                        found,
                    )?;
                    next = candidates.pop_last();
                }
            }
            found.segments.push(Arc::clone(&segment));
            newer = Some(segment);
        }
        found.segments.reverse();
        let abandoned = candidates
            .keys()
            .map(|number| segment::path(self.folder, *number));
        found.leftovers.extend(abandoned);
        Ok(())
    }

    /// Visits the batches from the checkpoint on, and finds the end.
    fn walk(
        &self,
        found: &mut Recovered,
        visit: &mut dyn FnMut(&Frame<'_>),
    ) -> Result<(), OpenError> {
        let segments = found.segments.clone();
        found.tail = self.checkpoint;
        for (index, segment) in segments.iter().enumerate() {
            let newer = segments.get(index + 1);
            if newer.is_some_and(|_| segment.end() <= self.checkpoint) {
                continue;
            }
            let end = match newer {
                Some(newer) if !newer.header.guessed => Ending::Known {
                    end: segment.end(),
                    synced: newer.header.previous_synced,
                },
                _ => Ending::Unknown,
            };
            let reached = self.walk_segment(segment, end, found, visit)?;
            segment.set_end(reached);
            found.tail = found.tail.max(reached);
        }
        self.check_reach(found)
    }

    fn walk_segment(
        &self,
        segment: &Segment,
        ending: Ending,
        found: &mut Recovered,
        visit: &mut dyn FnMut(&Frame<'_>),
    ) -> Result<Position, OpenError> {
        let path = segment::path(self.folder, segment.number());
        let failed = |e| file_error("could not read", &path, e);
        let mut window = Window::new();
        let mut at = segment.start();
        if segment::split(self.checkpoint).0 == segment.number() {
            let held = segment.number() * SEGMENT_BYTES + segment.file.len().map_err(failed)?;
            if held < self.checkpoint.0 {
                return Ok(Position(held));
            }
            at = at.max(self.checkpoint);
        }
        loop {
            if matches!(ending, Ending::Known { end, .. } if end <= at) {
                return Ok(at);
            }
            let frame = window.frame(&segment.file, at).map_err(failed)?;
            match frame.and_then(|frame| frame.verify().map(|()| frame)) {
                Ok(frame) => {
                    visit(&frame);
                    segment.mark(at);
                    at = frame.end();
                }
                Err(what) => match self
                    .judge(segment, at, what, ending, found)
                    .map_err(failed)?
                {
                    Verdict::EndsHere => return Ok(at),
                    Verdict::Damaged(what, next) => {
                        self.damage(at, what, found)?;
                        match next {
                            Some(next) => at = next,
                            None => return Ok(at),
                        }
                    }
                },
            }
        }
    }

    /// Something at `at` is not a frame: is this the end, or damage?
    fn judge(
        &self,
        segment: &Segment,
        at: Position,
        what: NotAFrame,
        ending: Ending,
        found: &mut Recovered,
    ) -> io::Result<Verdict> {
        let limit = match ending {
            Ending::Known { end, .. } => end,
            Ending::Unknown => segment_end(segment.number()),
        };
        // In a file that held nothing but zeros, whatever is there was meant to be a record.
        let written = if segment.header.fresh {
            last_written(segment, at)?
        } else {
            at
        };
        if segment.header.fresh && written == at && matches!(ending, Ending::Unknown) {
            return Ok(Verdict::EndsHere);
        }
        let later = intact_frames(segment, at, limit)?;
        let durable = match ending {
            Ending::Known { synced, .. } => at < synced,
            Ending::Unknown => later.iter().any(|frame| at < frame.synced_before),
        };
        if durable {
            let next = later.first().map(|frame| frame.start);
            let follows = match next {
                Some(next) => format!("intact records follow at {}", next.0),
                None => "nothing intact follows in its segment".to_owned(),
            };
            return Ok(Verdict::Damaged(format!("{what}; {follows}"), next));
        }
        let mut behind = later.last().map_or(at, |frame| frame.end).max(written);
        if let Ok(header) = Window::new().header(&segment.file, at)? {
            behind = behind.max(Position(at.0 + header.frame_bytes() as u64));
        }
        found.discard(at, behind.0 - at.0, what);
        Ok(Verdict::EndsHere)
    }

    /// Tables never know more than the journal, unless part of the journal is gone.
    fn check_reach(&self, found: &mut Recovered) -> Result<(), OpenError> {
        let reached = found
            .segments
            .last()
            .map_or(Position::START, |segment| segment.end());
        if reached < self.checkpoint {
            let what = format!(
                "the journal ends at {}, before the last checkpoint",
                reached.0
            );
            self.damage(self.checkpoint, what, found)?;
        }
        Ok(())
    }

    fn damage(&self, at: Position, what: String, found: &mut Recovered) -> Result<(), OpenError> {
        if !self.accept_damage {
            return Err(OpenError::Damaged { at, what });
        }
        found
            .notes
            .push(format!("accepted damage at {}: {what}", at.0));
        Ok(())
    }

    fn file(&self, doing: &'static str, source: io::Error) -> OpenError {
        file_error(doing, self.folder, source)
    }
}

/// What a file of the journal's folder turned out to be.
enum Candidate {
    Begun(Segment),
    /// Its first blocks hold nothing but zeros.
    Spare(Segment),
    /// Nothing in it counts.
    Leftover,
}

/// What is known about the end of a segment.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// The segment that follows says where it ended, and how far it was durable then.
    Known { end: Position, synced: Position },
    /// It is the newest.
    Unknown,
}

enum Verdict {
    EndsHere,
    /// Go on at the next intact frame, if there is one.
    Damaged(String, Option<Position>),
}

/// A frame found by looking for it.
struct Found {
    start: Position,
    end: Position,
    synced_before: Position,
}

/// Every intact frame that begins behind `after` and before `limit`.
fn intact_frames(segment: &Segment, after: Position, limit: Position) -> io::Result<Vec<Found>> {
    let mut window = Window::new();
    let mut frames = Vec::new();
    let mut next = segment.next_frame(after, limit)?;
    while let Some(start) = next {
        let frame = window.frame(&segment.file, start)?;
        next = match frame.and_then(|frame| frame.verify().map(|()| frame)) {
            Ok(frame) => {
                let synced_before = frame.header.synced_before;
                frames.push(Found {
                    start,
                    end: frame.end(),
                    synced_before,
                });
                Some(frame.end()).filter(|end| *end < limit)
            }
            Err(_) => segment.next_frame(start, limit)?,
        };
    }
    Ok(frames)
}

/// Behind the last byte that is not zero.
fn last_written(segment: &Segment, from: Position) -> io::Result<Position> {
    let mut bytes = vec![0; 1 << 20];
    let zeros = vec![0; bytes.len()];
    let end = segment_end(segment.number());
    let mut at = from;
    let mut last = from;
    while at < end {
        let filled = segment.file.read_up_to(&mut bytes, segment::split(at).1)?;
        // Comparing takes a tenth of the time that looking at each byte takes, and nearly all are zeros.
        if bytes[..filled] != zeros[..filled]
            && let Some(index) = bytes[..filled].iter().rposition(|byte| *byte != 0)
        {
            last = Position(at.0 + index as u64 + 1);
        }
        if filled < bytes.len() {
            break;
        }
        at = Position(at.0 + filled as u64);
    }
    Ok(last)
}

/// Reports a segment of which nothing counts, as far as it was written to.
fn discard_whole(segment: &Segment, found: &mut Recovered) -> io::Result<()> {
    let begin = Position(segment.number() * SEGMENT_BYTES);
    let written = last_written(segment, begin)?;
    found.discard(begin, written.0 - begin.0, NotAFrame::Header);
    Ok(())
}

fn segment_end(number: u64) -> Position {
    Position((number + 1) * SEGMENT_BYTES)
}

fn file_error(doing: &'static str, file: &Path, source: io::Error) -> OpenError {
    OpenError::File {
        doing,
        file: file.to_owned(),
        source,
    }
}

/// Makes what was found durable, so that everything from here on may rely on it.
pub(crate) fn sync_newest(folder: &Path, found: &Recovered) -> Result<(), OpenError> {
    let Some(newest) = found.segments.last() else {
        return Ok(());
    };
    let path = segment::path(folder, newest.number());
    newest
        .file
        .sync()
        .map_err(|e| file_error("could not sync", &path, e))?;
    disk::sync_folder(folder).map_err(|e| file_error("could not sync", folder, e))
}
