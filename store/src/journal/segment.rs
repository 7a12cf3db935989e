//! Segments: the files of the local journal.
//!
//! Each begins with a header block, then frames follow one another. The header also says where the segment before
//! ended, so that only the newest segment's end has to be found by looking.
//!
//! Promise: a segment knows where frames begin well enough to find any position by reading little.
//! Not here: which segment is written next (`local`), which one goes (`crate::retention`).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use gridpost_model::Timestamp;
use parking_lot::Mutex;

use super::frame::{self, ALIGNMENT, Frame, NotAFrame, number32, number64};
use crate::Position;
use crate::disk::DiskFile;

/// The size of a segment, and the distance between the positions of two.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;
/// The header has a block of its own, so that no frame shares a sector with it.
pub(crate) const HEADER_BLOCK: u64 = 4096;
/// The format of segments that this program writes, and the newest it reads.
pub(crate) const FORMAT: u32 = 3;

const MAGIC: [u8; 8] = *b"GRIDPOST";
pub(super) const HEADER_BYTES: usize = 64;

/// Where a segment's first frame stands.
pub(crate) fn first_frame(number: u64) -> Position {
    Position(number * SEGMENT_BYTES + HEADER_BLOCK)
}

/// The segment that holds a position, and the place in it.
pub(crate) fn split(position: Position) -> (u64, u64) {
    (position.0 / SEGMENT_BYTES, position.0 % SEGMENT_BYTES)
}

pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.journal"))
}

/// The number in a segment's file name.
pub(crate) fn number_of(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".journal")?;
    (stem.len() == 16)
        .then(|| u64::from_str_radix(stem, 16).ok())
        .flatten()
}

/// What the first block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u64,
    /// The end of the segment before; it also tells which one that was. `START` when there was none.
    pub(crate) previous_end: Position,
    /// Frames of the segment before, from here to its end, were never made durable, and may be missing.
    pub(crate) previous_synced: Position,
    pub(crate) created: Timestamp,
    /// Whether the file held nothing but zeros.
    pub(crate) fresh: bool,
    /// The header could not be read; only the number is true.
    pub(crate) guessed: bool,
}

/// Why a block is not a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Nothing was written there.
    Blank,
    /// A newer version wrote it.
    Newer(u32),
    /// It does not match its checksum.
    Unreadable,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        // The version has its own checksum at a place that no version changes: a newer file is told from a damaged one.
        let crc = crc32fast::hash(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous_end.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous_synced.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.created.ticks().to_le_bytes());
        bytes[48] = u8::from(self.fresh);
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(block: &[u8]) -> Result<Self, BadHeader> {
        if block.iter().all(|byte| *byte == 0) {
            return Err(BadHeader::Blank);
        }
        let bytes = block.get(..HEADER_BYTES).ok_or(BadHeader::Unreadable)?;
        if bytes[..8] != MAGIC || number32(bytes, 12) != crc32fast::hash(&bytes[..12]) {
            return Err(BadHeader::Unreadable);
        }
        let format = number32(bytes, 8);
        if FORMAT < format {
            return Err(BadHeader::Newer(format));
        }
        if number32(bytes, 60) != crc32fast::hash(&bytes[..60]) {
            return Err(BadHeader::Unreadable);
        }
        Ok(Self {
            number: number64(bytes, 16),
            previous_end: Position(number64(bytes, 24)),
            previous_synced: Position(number64(bytes, 32)),
            created: Timestamp::from_ticks(number64(bytes, 40).cast_signed()),
            fresh: bytes[48] == 1,
            guessed: false,
        })
    }
}

/// One segment that holds frames.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) file: DiskFile,
    /// The position behind the last frame that counts.
    end: AtomicU64,
    /// Where some frames begin, ascending; at least one in each stretch of `MARK_BYTES` that was walked.
    marks: Mutex<Vec<u32>>,
}

/// How much has to be walked to find a position, at most, once it was walked before.
const MARK_BYTES: u32 = 64 << 10;

impl Segment {
    pub(crate) fn new(header: SegmentHeader, file: DiskFile, end: Position) -> Self {
        Self {
            header,
            file,
            end: AtomicU64::new(end.0),
            marks: Mutex::default(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    pub(crate) fn start(&self) -> Position {
        first_frame(self.number())
    }

    pub(crate) fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    pub(crate) fn set_end(&self, end: Position) {
        self.end.store(end.0, Ordering::Release);
    }

    /// Remembers that a frame begins here.
    pub(crate) fn mark(&self, at: Position) {
        let offset = u32::try_from(split(at).1).unwrap_or(u32::MAX);
        let mut marks = self.marks.lock();
        let place = marks.partition_point(|mark| *mark <= offset);
        let near = place
            .checked_sub(1)
            .is_some_and(|i| offset - marks[i] < MARK_BYTES);
        if !near {
            marks.insert(place, offset);
        }
    }

    /// The last known beginning of a frame at or before `at`.
    pub(crate) fn mark_before(&self, at: Position) -> Position {
        let offset = u32::try_from(split(at).1).unwrap_or(u32::MAX);
        let marks = self.marks.lock();
        let found = marks.partition_point(|mark| *mark <= offset).checked_sub(1);
        found.map_or(self.start(), |i| {
            Position(self.number() * SEGMENT_BYTES + u64::from(marks[i]))
        })
    }

    /// The beginning of the frame that holds `at`, which lies between start and end.
    pub(crate) fn frame_holding(
        &self,
        at: Position,
    ) -> std::io::Result<Result<Position, NotAFrame>> {
        let mut frame_at = self.mark_before(at);
        let mut bytes = [0; frame::HEADER_BYTES];
        loop {
            let filled = self.file.read_up_to(&mut bytes, split(frame_at).1)?;
            let header = match frame::Header::read(&bytes[..filled], frame_at) {
                Ok(header) => header,
                Err(error) => return Ok(Err(error)),
            };
            let end = Position(frame_at.0 + header.frame_bytes() as u64);
            if at < end {
                return Ok(Ok(frame_at));
            }
            self.mark(frame_at);
            frame_at = end;
        }
    }
}

impl Segment {
    /// The first intact frame that begins behind `after` and before `end`, looked for byte by byte.
    pub(crate) fn next_frame(
        &self,
        after: Position,
        end: Position,
    ) -> std::io::Result<Option<Position>> {
        let mut window = Window::new();
        let mut bytes = vec![0; WINDOW_BYTES];
        let mut at = Position((after.0 + 1).next_multiple_of(ALIGNMENT as u64));
        while at < end {
            let filled = self.file.read_up_to(&mut bytes, split(at).1)?;
            if filled == 0 {
                break;
            }
            for (index, word) in bytes[..filled].chunks(ALIGNMENT).enumerate() {
                if !word.starts_with(&frame::MAGIC.to_le_bytes()) {
                    continue;
                }
                let found = Position(at.0 + (index * ALIGNMENT) as u64);
                let intact = window
                    .frame(&self.file, found)?
                    .and_then(|frame| frame.verify())
                    .is_ok();
                if intact && found < end {
                    return Ok(Some(found));
                }
            }
            at = Position(at.0 + filled.next_multiple_of(ALIGNMENT) as u64);
        }
        Ok(None)
    }
}

/// A stretch of a segment in memory, refilled as frames are taken from it.
#[derive(Debug)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    at: Position,
}

/// How much is read at once: large enough to make the call cheap, small enough to stay in the cache.
const WINDOW_BYTES: usize = 256 << 10;

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            at: Position::START,
        }
    }

    /// The frame at `at`. Reads on when the window does not hold all of it.
    pub(crate) fn frame(
        &mut self,
        file: &DiskFile,
        at: Position,
    ) -> std::io::Result<Result<Frame<'_>, NotAFrame>> {
        let needed = match self.header(file, at)? {
            Ok(header) => header.frame_bytes(),
            Err(error) => return Ok(Err(error)),
        };
        if !self.holds(at, needed) {
            self.fill(file, at, needed.max(WINDOW_BYTES))?;
        }
        Ok(Frame::read(self.from(at), at))
    }

    /// The header of the frame at `at`, whatever follows it.
    pub(crate) fn header(
        &mut self,
        file: &DiskFile,
        at: Position,
    ) -> std::io::Result<Result<frame::Header, NotAFrame>> {
        if !self.holds(at, frame::HEADER_BYTES) {
            self.fill(file, at, WINDOW_BYTES)?;
        }
        Ok(frame::Header::read(self.from(at), at))
    }

    fn holds(&self, at: Position, size: usize) -> bool {
        self.at <= at && at.0 + size as u64 <= self.at.0 + self.bytes.len() as u64
    }

    fn from(&self, at: Position) -> &[u8] {
        let skip = usize::try_from(at.0 - self.at.0).unwrap_or(usize::MAX);
        self.bytes.get(skip..).unwrap_or_default()
    }

    fn fill(&mut self, file: &DiskFile, at: Position, size: usize) -> std::io::Result<()> {
        self.bytes.resize(size, 0);
        let filled = file.read_up_to(&mut self.bytes, split(at).1)?;
        self.bytes.truncate(filled);
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            number: 9,
            previous_end: Position(8 * SEGMENT_BYTES + 77),
            previous_synced: Position(8 * SEGMENT_BYTES + 70),
            created: Timestamp::from_seconds(3),
            fresh: true,
            guessed: false,
        }
    }

    #[test]
    fn a_header_is_read_back_as_it_was_written() {
        assert_eq!(SegmentHeader::decode(&header().encode()), Ok(header()));
        assert_eq!(SegmentHeader::decode(&[0; 4096]), Err(BadHeader::Blank));
        assert_eq!(SegmentHeader::decode(&[]), Err(BadHeader::Blank));
    }

    #[test]
    fn a_flipped_bit_never_makes_a_header_look_newer() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&bytes),
                Err(BadHeader::Unreadable),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_newer_format_is_recognised_whatever_follows_it() {
        let mut bytes = header().encode();
        bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes[16..].fill(0xaa);
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Newer(7)));
    }

    #[test]
    fn file_names_sort_and_read_back() {
        let folder = Path::new("/x");
        assert!(path(folder, 9) < path(folder, 10));
        assert_eq!(number_of(&path(folder, 0xabc)), Some(0xabc));
        assert_eq!(number_of(Path::new("/x/spare-1")), None);
    }
}
