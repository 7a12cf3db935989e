//! What is tried with journals that were cut, torn and scribbled over: panics where recovery breaks its promise.
//!
//! Promise: any input returns. The seeds are tried in every test run.
//! Not here: the fuzzer that makes the inputs (`fuzz`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use gridpost_model::subscription::LaneId;
use gridpost_model::{EventSchema, Timestamp};

use super::frame::{Builder, Entry, Frame};
use super::local::Local;
use super::recover::{Recovered, Search};
use super::segment::{self, HEADER_BLOCK, HEADER_BYTES, SEGMENT_BYTES, SegmentHeader};
use super::{Durability, Journal as _};
use crate::disk::Disk;
use crate::{Fault, Faults, FileKind, OpenError, Operation, Partition, Position};

/// How many batches one journal gets: enough for several segments, few enough to try many journals.
const STEPS: usize = 16;
/// Longer than any frame of ours, and than the bytes of an input.
const SCRIBBLE_BYTES: usize = 512;

/// The first byte says whether the rest are files as they come, or how a journal is written and then damaged. The folder
/// must be there; what is in it is removed.
pub fn journal(folder: &Path, input: &[u8]) {
    empty(folder);
    let mut script = Script(input);
    if script.byte() & 1 == 0 {
        foreign(folder, script);
    } else {
        own(folder, script);
    }
}

/// Files that nobody of us wrote, perhaps with headers as ours.
fn foreign(folder: &Path, mut script: Script<'_>) {
    for number in 1..=2 {
        let kind = script.byte();
        let header = SegmentHeader {
            number,
            previous_end: Position(script.short() * u64::from(kind >> 4)),
            previous_synced: Position(script.short()),
            created: Timestamp::EPOCH,
            fresh: kind & 1 == 0,
            guessed: false,
        };
        let mut bytes = header.encode().to_vec();
        bytes.resize(HEADER_BLOCK as usize, 0);
        if kind & 2 == 0 {
            bytes.clear();
        }
        let size = usize::try_from(script.short()).unwrap_or(0) % SCRIBBLE_BYTES;
        bytes.extend_from_slice(script.take(size));
        fs::write(segment::path(folder, number), bytes).expect("a segment is written");
    }
    let checkpoint = Position(u64::from(script.byte()) * 1024 * 1024);
    for accept_damage in [false, true] {
        if let Ok((found, seen)) = recovered(folder, checkpoint, accept_damage) {
            goes_on(folder, checkpoint, found, &seen, accept_damage);
        }
    }
}

/// A journal as the writer makes it, with failures of the disk, and then damage.
fn own(folder: &Path, mut script: Script<'_>) {
    let Story { written, failed } = write(folder, &mut script);
    let durable = written.iter().filter(|batch| batch.durable);
    let at = usize::from(script.byte());
    let checkpoint = durable
        .clone()
        .nth(at)
        .map_or(Position::START, |batch| batch.at);

    let (whole, seen) = recovered(folder, checkpoint, false).expect("nothing is damaged yet");
    let kept = seen
        .iter()
        .filter(|(_, contents)| !failed.contains(contents));
    let expected = written.iter().filter(|one| checkpoint <= one.at);
    assert!(
        kept.copied().eq(expected.map(Batch::seen)),
        "{seen:?} {written:?}"
    );
    drop(whole);

    let damage = damage(folder, &mut script);
    let must_be_there: Vec<Seen> = durable
        .filter(|one| checkpoint <= one.at && damage.leaves(one.end))
        .map(Batch::seen)
        .collect();
    let strict = recovered(folder, checkpoint, false);
    let lenient = recovered(folder, checkpoint, true);
    let (_, seen) = lenient.expect("damage was accepted");
    let all: Vec<Seen> = written.iter().map(Batch::seen).collect();
    let kept = seen
        .iter()
        .filter(|(_, contents)| !failed.contains(contents));
    assert!(holds_in_order(&all, kept), "{seen:?} {written:?}");
    assert!(
        holds_in_order(&seen, &must_be_there),
        "{seen:?} {written:?} {damage:?}"
    );

    let only_what_nobody_relies_on = written
        .iter()
        .filter(|one| one.durable)
        .all(|one| damage.misses(one.at, one.end))
        && !damage.of_header;
    match strict {
        Ok((found, strictly)) => {
            assert_eq!(strictly, seen, "nothing had to be accepted");
            let lost = written.iter().filter(|one| one.durable);
            let lost = lost.filter(|one| checkpoint <= one.at && !seen.contains(&one.seen()));
            let reported = found.discarded_bytes > 0 && !found.notes.is_empty();
            assert!(
                lost.count() == 0 || reported || damage.leaves_no_trace,
                "lost without a word: {written:?} {damage:?}"
            );
            goes_on(folder, checkpoint, found, &seen, false);
        }
        Err(OpenError::Damaged { .. }) => {
            assert!(
                !only_what_nobody_relies_on,
                "refused for nothing: {written:?} {damage:?}"
            );
        }
        Err(error) => panic!("{error}"),
    }
}

/// What recovery showed of a batch: where it stands, and a checksum of what it holds.
type Seen = (Position, u32);

/// Whether all of them are there, and in their order.
fn holds_in_order<'a>(whole: &[Seen], part: impl IntoIterator<Item = &'a Seen>) -> bool {
    let mut whole = whole.iter();
    part.into_iter().all(|one| whole.any(|other| other == one))
}

fn recovered(
    folder: &Path,
    checkpoint: Position,
    accept_damage: bool,
) -> Result<(Recovered, Vec<Seen>), OpenError> {
    let mut seen = Vec::new();
    let search = Search {
        folder,
        disk: &Disk::default(),
        checkpoint,
        accept_damage,
    };
    let found = search.run(&mut |frame| seen.push((frame.at(), contents(frame))))?;
    Ok((found, seen))
}

/// A checksum of everything in a frame but its place.
fn contents(frame: &Frame<'_>) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    for entry in frame.entries() {
        let entry = entry.expect("a frame that is shown was verified");
        match entry {
            Entry::Event(event) => {
                hash.update(event.json().expect("a frame that is shown was verified"));
                hash.update(format!("{:?}", event.lanes).as_bytes());
            }
            other => hash.update(format!("{other:?}").as_bytes()),
        }
    }
    hash.finalize()
}

/// The journal that was found can be written on, and is found again with what was written.
fn goes_on(
    folder: &Path,
    checkpoint: Position,
    found: Recovered,
    seen: &[Seen],
    accept_damage: bool,
) {
    let mut journal = Local::new(folder, &Disk::default(), found, accept_damage);
    let mut batch = Builder::new();
    batch.put(1, b"one", b"more");
    let span = journal.append(&mut batch, Durability::Synced, Timestamp::EPOCH);
    let span = span.expect("the disk is well");
    drop(journal);
    let (found, again) = recovered(folder, checkpoint, accept_damage)
        .unwrap_or_else(|error| panic!("what was found is not found again: {error}"));
    let ((last, _), before) = again.split_last().expect("one was written just now");
    assert_eq!((*last, before), (span.start, seen), "{found:?}");
}

/// What the writer did and knows.
#[derive(Default)]
struct Story {
    written: Vec<Batch>,
    /// The contents of batches that the writer was told are not there.
    failed: Vec<u32>,
}

/// One batch of which the writer was told that it is there.
#[derive(Debug)]
struct Batch {
    at: Position,
    end: Position,
    contents: u32,
    /// It survives the end of the machine.
    durable: bool,
}

impl Batch {
    fn seen(&self) -> Seen {
        (self.at, self.contents)
    }
}

/// Writes a journal and says what is in it.
fn write(folder: &Path, script: &mut Script<'_>) -> Story {
    let weather = Arc::new(Weather::default());
    let disk = Disk::new(Some(Arc::clone(&weather) as Arc<dyn Faults>));
    let mut journal = Local::new(folder, &disk, Recovered::default(), false);
    let mut story = Story::default();
    // The batches from here on are in a file that can still be synced.
    let mut open_from = 0;
    for number in 0..usize::from(script.byte()) % STEPS {
        let (step, size) = (script.byte(), usize::from(script.byte()));
        let synced = match step % 8 {
            6 => journal.sync().map(|()| true),
            7 => {
                journal.leave_active();
                Ok(true)
            }
            kind => {
                let durability = match kind {
                    0 | 3 => Durability::Written,
                    _ => Durability::Synced,
                };
                let mood = match kind {
                    3 | 4 => step >> 3,
                    5 => Weather::SYNC,
                    _ => 0,
                };
                weather.next.store(mood, Ordering::Relaxed);
                let contents = contents_of(step, size, number);
                let mut batch = batch(step, size, number);
                let outcome = journal.append(&mut batch, durability, Timestamp::EPOCH);
                weather.next.store(0, Ordering::Relaxed);
                match &outcome {
                    Ok(span) => story.written.push(Batch {
                        at: span.start,
                        end: span.end,
                        contents,
                        durable: false,
                    }),
                    Err(_) => story.failed.push(contents),
                }
                outcome.map(|_| durability == Durability::Synced)
            }
        };
        match synced {
            Ok(true) => story.written[open_from..]
                .iter_mut()
                .for_each(|one| one.durable = true),
            Ok(false) => (),
            Err(_) => open_from = story.written.len(),
        }
        journal.reveal();
    }
    story
}

fn contents_of(step: u8, size: usize, number: usize) -> u32 {
    let mut batch = batch(step, size, number);
    let bytes = batch.finish(Position::START, Position::START);
    contents(&Frame::read(bytes, Position::START).expect("it was made just now"))
}

fn batch(step: u8, size: usize, number: usize) -> Builder {
    let mut batch = Builder::new();
    batch.partition(Partition(u16::from(step % 4)));
    batch.put(1, &number.to_be_bytes(), &vec![step; size]);
    if step & 0x10 == 0 {
        let json = vec![b'x'; size];
        let lanes = [LaneId(1), LaneId(300)];
        batch.event(
            EventSchema::EventGrid,
            Timestamp::EPOCH,
            None,
            &lanes,
            &json,
        );
    }
    batch
}

/// The disk's mood at the next operation: 0 is fair, `SYNC` fails a sync, any other tears a write after so many bytes.
#[derive(Default)]
struct Weather {
    next: AtomicU8,
}

impl Weather {
    const SYNC: u8 = u8::MAX;
}

impl Faults for Weather {
    fn strike(&self, _: FileKind, operation: Operation) -> Option<Fault> {
        let mood = self.next.load(Ordering::Relaxed);
        let struck = match operation {
            Operation::Write { size_bytes } => {
                (1..Self::SYNC).contains(&mood) && size_bytes < HEADER_BLOCK as usize
            }
            Operation::Sync => mood == Self::SYNC,
            Operation::Create => false,
        };
        struck.then(|| Fault {
            written_bytes: usize::from(mood) * 16,
            error: io::ErrorKind::Other.into(),
        })
    }
}

/// What was changed in the files.
#[derive(Debug, Default)]
struct Damage {
    /// Stretches of the journal.
    stretches: Vec<(Position, Position)>,
    /// A segment's header is among it.
    of_header: bool,
    /// Bytes were cut off or became zero: as if nothing had been written.
    leaves_no_trace: bool,
}

impl Damage {
    /// Whether nothing before `end` was changed.
    fn leaves(&self, end: Position) -> bool {
        self.stretches.iter().all(|(start, _)| end <= *start)
    }

    fn misses(&self, at: Position, end: Position) -> bool {
        self.stretches
            .iter()
            .all(|(start, stop)| *stop <= at || end <= *start)
    }
}

fn damage(folder: &Path, script: &mut Script<'_>) -> Damage {
    let mut damage = Damage::default();
    let files = files(folder);
    for _ in 0..=script.byte() % 2 {
        if files.is_empty() {
            break;
        }
        let (number, path) = &files[usize::from(script.byte()) % files.len()];
        let mut bytes = fs::read(path).expect("a segment is there");
        let before = bytes.clone();
        hurt(&mut bytes, script);
        damage.note(*number, &before, &bytes);
        fs::write(path, bytes).expect("a segment is written");
    }
    damage
}

fn hurt(bytes: &mut Vec<u8>, script: &mut Script<'_>) {
    let kind = script.byte();
    let mut at = usize::try_from(script.short()).unwrap_or(0);
    if kind & 0x80 == 0 {
        at += HEADER_BLOCK as usize;
    }
    if bytes.is_empty() {
        return;
    }
    at %= bytes.len();
    let size = usize::from(script.byte()).min(bytes.len() - at);
    match kind % 5 {
        0 => bytes[at] ^= script.byte(),
        1 => bytes.truncate(at),
        2 => bytes[at..at + size].fill(0),
        3 => {
            let new = script.take(SCRIBBLE_BYTES);
            bytes.resize(bytes.len().max(at + new.len()), 0);
            bytes[at..at + new.len()].copy_from_slice(new);
        }
        _ => {
            let from = usize::try_from(script.short()).unwrap_or(0) % bytes.len();
            let moved = bytes[from..(from + size).min(bytes.len())].to_vec();
            bytes.resize(bytes.len().max(at + moved.len()), 0);
            bytes[at..at + moved.len()].copy_from_slice(&moved);
        }
    }
}

impl Damage {
    fn note(&mut self, number: u64, before: &[u8], after: &[u8]) {
        let longer = before.len().max(after.len());
        let differs = |at: &usize| before.get(*at) != after.get(*at);
        let (Some(first), Some(last)) =
            ((0..longer).find(differs), (0..longer).rev().find(differs))
        else {
            return;
        };
        let position = |at: usize| Position(number * SEGMENT_BYTES + at as u64);
        self.stretches.push((position(first), position(last + 1)));
        let of_header = first < HEADER_BLOCK as usize;
        self.of_header |= of_header;
        // Nobody looks at what fills up the header's block.
        let of_records = first.max(HEADER_BLOCK as usize)..(last + 1).min(after.len());
        let changed = after.get(of_records).unwrap_or_default();
        self.leaves_no_trace |= after.len() < before.len()
            || HEADER_BYTES <= first && changed.iter().all(|byte| *byte == 0);
    }
}

fn files(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((segment::number_of(&path)?, path))
        })
        .collect();
    files.sort();
    files
}

fn empty(folder: &Path) {
    for (_, path) in files(folder) {
        fs::remove_file(path).expect("a segment is removed");
    }
}

/// The bytes of an input, taken from the front; zeros follow.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn short(&mut self) -> u64 {
        u64::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_break_no_promise() {
        let folder = tempfile::TempDir::new().unwrap();
        seeds::each("journal", |seed| journal(folder.path(), seed));
    }
}
