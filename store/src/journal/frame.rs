//! Frames: how one group-commit batch stands in the journal.
//!
//! ```text
//! header (40 bytes) | bodies | skeleton | zeros up to a multiple of 8
//! ```
//! The skeleton lists what happened; an event's entry there has the length and checksum of its JSON, which lies
//! among the bodies. So a reader decides by the skeleton which bodies to look at. The header binds a frame to its
//! address: what a segment held in an earlier life is never taken for a frame.
//!
//! Promise: reading arbitrary bytes never panics, and accepts nothing but what was written there.
//! Not here: reading the skeleton (`entries`), files (`segment`), what entries mean (`crate::writer`, `super::recover`).

use gridpost_model::subscription::LaneId;
use gridpost_model::{EventSchema, Timestamp, TraceContext};

pub(crate) use super::entries::{Entries, Entry, EventEntry, Malformed};
use crate::{Partition, Position};

pub(crate) const HEADER_BYTES: usize = 40;
/// "GPF1" in the file.
pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"GPF1");
/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// Larger than any batch; a length beyond it is nonsense.
pub(crate) const MAX_FRAME_BYTES: usize = 32 << 20;

pub(super) const PARTITION: u8 = 1;
pub(super) const PUT: u8 = 2;
pub(super) const REMOVE: u8 = 3;
/// An event whose lanes are written in full. Formats 1 and 2; read, and written no more.
pub(super) const EVENT_IN_FULL: u8 = 4;
pub(super) const SETTLED: u8 = 5;
/// An event whose lanes are written as steps from one to the next. Since format 3.
pub(super) const EVENT: u8 = 6;

/// With an event's schema: a trace context follows. Since format 2.
pub(super) const TRACED: u8 = 0x80;
/// With an event's schema: its lanes are those of the event before it in the frame. Since format 3.
pub(super) const SAME_LANES: u8 = 0x40;
/// With an event's schema: the topic that the event is of follows, because its object does not say it. Since format 3.
pub(super) const ROUTED: u8 = 0x20;

/// A frame being written.
#[derive(Debug)]
pub(crate) struct Builder {
    /// The header's place, then the bodies; the skeleton joins them at the end.
    bytes: Vec<u8>,
    skeleton: Vec<u8>,
    /// Where the last list of lanes begins and ends in the skeleton.
    lanes: [usize; 2],
}

/// Where a builder can be taken back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    bytes: usize,
    skeleton: usize,
    lanes: [usize; 2],
}

/// Buffers grown beyond this by one large batch are given back.
const KEPT_BYTES: usize = 1 << 20;

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_BYTES],
            skeleton: Vec::new(),
            lanes: [0; 2],
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.skeleton.is_empty()
    }

    /// How many bytes the frame would take now.
    pub(crate) fn size(&self) -> usize {
        (self.bytes.len() + self.skeleton.len()).next_multiple_of(ALIGNMENT)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            skeleton: self.skeleton.len(),
            lanes: self.lanes,
        }
    }

    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.skeleton.truncate(mark.skeleton);
        self.lanes = mark.lanes;
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
        self.skeleton.clear();
        self.lanes = [0; 2];
        self.bytes.shrink_to(KEPT_BYTES);
        self.skeleton.shrink_to(KEPT_BYTES);
    }

    /// Rows that follow belong to this partition.
    pub(crate) fn partition(&mut self, partition: Partition) {
        self.skeleton.push(PARTITION);
        varint(&mut self.skeleton, u64::from(partition.0));
    }

    pub(crate) fn put(&mut self, table: u16, key: &[u8], row: &[u8]) {
        self.skeleton.push(PUT);
        varint(&mut self.skeleton, u64::from(table));
        chunk(&mut self.skeleton, key);
        chunk(&mut self.skeleton, row);
    }

    pub(crate) fn remove(&mut self, table: u16, key: &[u8]) {
        self.skeleton.push(REMOVE);
        varint(&mut self.skeleton, u64::from(table));
        chunk(&mut self.skeleton, key);
    }

    /// An event whose object says which topic it is of.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn event(
        &mut self,
        schema: EventSchema,
        published: Timestamp,
        trace: Option<TraceContext>,
        lanes: &[LaneId],
        json: &[u8],
    ) -> u64 {
        self.event_of(None, schema, published, trace, lanes, json)
    }

    /// An event of a topic; `None` when its object says which. Returns how far behind the frame's start the event's
    /// address is.
    pub(crate) fn event_of(
        &mut self,
        topic: Option<&str>,
        schema: EventSchema,
        published: Timestamp,
        trace: Option<TraceContext>,
        lanes: &[LaneId],
        json: &[u8],
    ) -> u64 {
        let at = self.bytes.len() as u64;
        self.bytes.extend_from_slice(json);
        self.skeleton.push(EVENT);
        let tag_at = self.skeleton.len();
        let traced = trace.map_or(0, |_| TRACED);
        let routed = topic.map_or(0, |_| ROUTED);
        self.skeleton.push(schema_tag(schema) | traced | routed);
        if let Some(trace) = trace {
            self.skeleton.extend_from_slice(&trace.to_bytes());
        }
        if let Some(topic) = topic {
            chunk(&mut self.skeleton, topic.as_bytes());
        }
        self.skeleton
            .extend_from_slice(&published.ticks().to_le_bytes());
        self.skeleton
            .extend_from_slice(&crc32fast::hash(json).to_le_bytes());
        varint(&mut self.skeleton, json.len() as u64);
        self.lanes(lanes, tag_at);
        at
    }

    /// The events of a batch are mostly wanted by the same lanes, and the lanes of a partition differ in their low bytes.
    fn lanes(&mut self, lanes: &[LaneId], tag_at: usize) {
        let from = self.skeleton.len();
        varint(&mut self.skeleton, lanes.len() as u64);
        let mut before = 0_u64;
        for lane in lanes {
            varint(&mut self.skeleton, step(before, lane.0));
            before = lane.0;
        }
        let [last_from, last_to] = self.lanes;
        if last_from < last_to && self.skeleton[last_from..last_to] == self.skeleton[from..] {
            self.skeleton.truncate(from);
            self.skeleton[tag_at] |= SAME_LANES;
        } else {
            self.lanes = [from, self.skeleton.len()];
        }
    }

    /// `positions` in ascending order.
    pub(crate) fn settled(
        &mut self,
        lane: LaneId,
        positions: impl ExactSizeIterator<Item = Position>,
    ) {
        self.skeleton.push(SETTLED);
        varint(&mut self.skeleton, lane.0);
        varint(&mut self.skeleton, positions.len() as u64);
        let mut before = 0;
        for position in positions {
            varint(&mut self.skeleton, position.0.wrapping_sub(before));
            before = position.0;
        }
    }

    /// The bytes of the frame that will stand at `at`. The builder must be cleared before it is used again.
    pub(crate) fn finish(&mut self, at: Position, synced_before: Position) -> &[u8] {
        let size = self.size();
        let bodies_bytes = self.bytes.len() - HEADER_BYTES;
        let header = Header {
            bodies_bytes,
            skeleton_bytes: self.skeleton.len(),
            skeleton_crc: crc32fast::hash(&self.skeleton),
            at,
            synced_before,
        };
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        self.bytes.extend_from_slice(&self.skeleton);
        self.bytes.resize(size, 0);
        &self.bytes
    }
}

/// What stands before every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    bodies_bytes: usize,
    skeleton_bytes: usize,
    skeleton_crc: u32,
    at: Position,
    /// When this frame was written, everything below was known to be durable.
    pub(crate) synced_before: Position,
}

/// Why bytes are not the frame of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAFrame {
    #[error("nothing was written there")]
    Blank,
    #[error("it is left over from the segment's earlier use")]
    Stale,
    #[error("its header is unreadable")]
    Header,
    #[error("it ends too early")]
    Short,
    #[error("its contents do not match their checksum")]
    Contents,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&length(self.bodies_bytes).to_le_bytes());
        bytes[8..12].copy_from_slice(&length(self.skeleton_bytes).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.skeleton_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.at.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced_before.0.to_le_bytes());
        // 32..36 is reserved and zero.
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of the frame at `at`.
    pub(crate) fn read(bytes: &[u8], at: Position) -> Result<Self, NotAFrame> {
        let bytes: &[u8; HEADER_BYTES] = bytes
            .get(..HEADER_BYTES)
            .and_then(|b| b.try_into().ok())
            .ok_or(if bytes.iter().all(|b| *b == 0) {
                NotAFrame::Blank
            } else {
                NotAFrame::Short
            })?;
        if bytes.iter().all(|b| *b == 0) {
            return Err(NotAFrame::Blank);
        }
        let header = Self {
            bodies_bytes: number32(bytes, 4) as usize,
            skeleton_bytes: number32(bytes, 8) as usize,
            skeleton_crc: number32(bytes, 12),
            at: Position(number64(bytes, 16)),
            synced_before: Position(number64(bytes, 24)),
        };
        let intact = number32(bytes, 0) == MAGIC
            && number32(bytes, 36) == crc32fast::hash(&bytes[..36])
            && header.bodies_bytes + header.skeleton_bytes <= MAX_FRAME_BYTES;
        match intact {
            false => Err(NotAFrame::Header),
            true if header.at != at => Err(NotAFrame::Stale),
            true => Ok(header),
        }
    }

    /// How many bytes the whole frame takes.
    pub(crate) fn frame_bytes(&self) -> usize {
        (HEADER_BYTES + self.bodies_bytes + self.skeleton_bytes).next_multiple_of(ALIGNMENT)
    }
}

/// A frame whose header and skeleton are intact. Bodies are checked when they are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) header: Header,
    bodies: &'a [u8],
    skeleton: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at `at` from the start of `bytes`.
    pub(crate) fn read(bytes: &'a [u8], at: Position) -> Result<Self, NotAFrame> {
        let header = Header::read(bytes, at)?;
        let skeleton_at = HEADER_BYTES + header.bodies_bytes;
        let bodies = bytes
            .get(HEADER_BYTES..skeleton_at)
            .ok_or(NotAFrame::Short)?;
        let skeleton = bytes
            .get(skeleton_at..skeleton_at + header.skeleton_bytes)
            .ok_or(NotAFrame::Short)?;
        if crc32fast::hash(skeleton) != header.skeleton_crc {
            return Err(NotAFrame::Contents);
        }
        Ok(Self {
            header,
            bodies,
            skeleton,
        })
    }

    pub(crate) fn at(&self) -> Position {
        self.header.at
    }

    /// The first position behind it.
    pub(crate) fn end(&self) -> Position {
        Position(self.header.at.0 + self.header.frame_bytes() as u64)
    }

    /// Whether everything in it is what was written.
    pub(crate) fn verify(&self) -> Result<(), NotAFrame> {
        let mut bodies_bytes = 0;
        for entry in self.entries() {
            if let Entry::Event(event) = entry.map_err(|Malformed| NotAFrame::Contents)? {
                bodies_bytes += event.json().ok_or(NotAFrame::Contents)?.len();
            }
        }
        (bodies_bytes == self.bodies.len())
            .then_some(())
            .ok_or(NotAFrame::Contents)
    }

    pub(crate) fn entries(&self) -> Entries<'a> {
        Entries::of(self.header.at, self.bodies, self.skeleton)
    }
}

/// The way from one number to another, short for a short way in either direction.
pub(super) fn step(from: u64, to: u64) -> u64 {
    let way = to.wrapping_sub(from);
    (way << 1) ^ (way.cast_signed() >> 63).cast_unsigned()
}

/// Seven bits a byte, the low ones first; the high bit says that more follow.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn schema_tag(schema: EventSchema) -> u8 {
    match schema {
        EventSchema::EventGrid => 0,
        EventSchema::CloudEvents => 1,
        EventSchema::Custom => 2,
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a batch is bounded far below 4 GiB")
}

pub(super) fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

pub(super) fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Position = Position(4096);

    fn sample() -> Builder {
        let mut builder = Builder::new();
        builder.partition(Partition(7));
        builder.put(20, b"key", b"{}");
        builder.event(
            EventSchema::EventGrid,
            Timestamp::from_seconds(1),
            Some(TraceContext::sampled([3; 16], [4; 8])),
            &[LaneId(1), LaneId(300)],
            b"{\"id\":\"1\"}",
        );
        builder.remove(21, b"other");
        builder.settled(LaneId(1), [Position(10), Position(4000)].into_iter());
        builder
    }

    #[test]
    fn the_topic_of_a_cloud_event_is_read_back_beside_its_trace() {
        for trace in [None, Some(TraceContext::sampled([3; 16], [4; 8]))] {
            let mut builder = Builder::new();
            let (schema, lanes) = (EventSchema::CloudEvents, [LaneId(1)]);
            let topic = Some("/d/topics/t");
            for _ in 0..2 {
                builder.event_of(topic, schema, Timestamp::EPOCH, trace, &lanes, b"{}");
            }
            let bytes = builder.finish(AT, Position(1)).to_vec();
            let frame = Frame::read(&bytes, AT).unwrap();
            let entries: Vec<_> = frame.entries().collect();
            assert_eq!(entries.len(), 2);
            for entry in entries {
                let Ok(Entry::Event(event)) = entry else {
                    panic!("no event")
                };
                assert_eq!((event.topic, event.trace), (topic, trace));
                assert_eq!((event.schema, event.json()), (schema, Some(&b"{}"[..])));
                assert_eq!(event.lanes.as_slice(), lanes);
            }
        }
    }

    #[test]
    fn entries_are_read_back_in_order() {
        let mut builder = sample();
        let bytes = builder.finish(AT, Position(1)).to_vec();
        let frame = Frame::read(&bytes, AT).unwrap();
        frame.verify().unwrap();
        assert_eq!(frame.end(), Position(4096 + bytes.len() as u64));
        let entries: Vec<_> = frame.entries().map(Result::unwrap).collect();
        assert_eq!(entries[0], Entry::Partition(Partition(7)));
        assert_eq!(
            entries[1],
            Entry::Put {
                table: 20,
                key: b"key",
                row: b"{}"
            }
        );
        let Entry::Event(event) = &entries[2] else {
            panic!("{entries:?}")
        };
        assert_eq!(event.position, Position(4096 + HEADER_BYTES as u64));
        assert_eq!(event.json(), Some(&b"{\"id\":\"1\"}"[..]));
        assert_eq!(event.lanes.as_slice(), [LaneId(1), LaneId(300)]);
        assert_eq!(event.trace, Some(TraceContext::sampled([3; 16], [4; 8])));
        assert_eq!(
            entries[3],
            Entry::Remove {
                table: 21,
                key: b"other"
            }
        );
        let positions = vec![Position(10), Position(4000)];
        assert_eq!(
            entries[4],
            Entry::Settled {
                lane: LaneId(1),
                positions
            }
        );
    }

    #[test]
    fn a_rewound_builder_writes_what_stood_before_the_mark() {
        let expected = sample().finish(AT, AT).to_vec();
        let mut builder = sample();
        let mark = builder.mark();
        builder.put(1, b"x", b"y");
        builder.event(EventSchema::EventGrid, Timestamp::EPOCH, None, &[], b"body");
        builder.rewind(mark);
        assert_eq!(builder.finish(AT, AT), expected);
    }

    fn lanes_of(bytes: &[u8]) -> Vec<Vec<LaneId>> {
        let frame = Frame::read(bytes, AT).unwrap();
        frame.verify().unwrap();
        let entries = frame.entries().map(Result::unwrap);
        let lanes = entries.filter_map(|entry| match entry {
            Entry::Event(event) => Some(event.lanes.to_vec()),
            _ => None,
        });
        lanes.collect()
    }

    fn wanted_by(builder: &mut Builder, lanes: &[LaneId]) {
        let (schema, at) = (EventSchema::CloudEvents, Timestamp::EPOCH);
        builder.event(schema, at, None, lanes, b"{}");
    }

    #[test]
    fn lanes_that_repeat_are_written_once_and_near_ones_take_a_byte() {
        let lane = |number: u64| LaneId(65_535 << 48 | number);
        let near: Vec<_> = (1..=500).map(lane).collect();
        let back: Vec<_> = near.iter().rev().copied().collect();
        let far = vec![LaneId(0), LaneId(u64::MAX), LaneId(1 << 63), lane(7)];
        let lists = [near.clone(), near.clone(), back, vec![], vec![], far, near];

        let mut builder = Builder::new();
        let mut sizes = Vec::new();
        for lanes in &lists {
            let before = builder.size();
            wanted_by(&mut builder, lanes);
            sizes.push(builder.size() - before);
        }
        assert_eq!(lanes_of(builder.finish(AT, AT)), lists);
        assert!(sizes[0] < 560 && sizes[2] < 560, "{sizes:?}");
        assert!(sizes[1] < 32 && sizes[4] < 32, "{sizes:?}");
    }

    #[test]
    fn lanes_that_were_taken_back_are_not_referred_to() {
        let mut builder = Builder::new();
        wanted_by(&mut builder, &[LaneId(1)]);
        let mark = builder.mark();
        wanted_by(&mut builder, &[LaneId(2), LaneId(3)]);
        builder.rewind(mark);
        wanted_by(&mut builder, &[LaneId(2), LaneId(3)]);
        let expected = [vec![LaneId(1)], vec![LaneId(2), LaneId(3)]];
        assert_eq!(lanes_of(builder.finish(AT, AT)), expected);

        builder.clear();
        wanted_by(&mut builder, &[LaneId(2), LaneId(3)]);
        assert_eq!(lanes_of(builder.finish(AT, AT)), expected[1..]);
    }

    #[test]
    fn events_of_the_formats_before_are_read() {
        let mut builder = Builder::new();
        let lanes = [LaneId(7 << 48 | 1), LaneId(7 << 48 | 2)];
        for trace in [None, Some(TraceContext::sampled([3; 16], [4; 8]))] {
            builder.bytes.extend_from_slice(b"{}");
            // As format 1 wrote it, and format 2 with a trace context.
            builder.skeleton.push(4);
            builder.skeleton.push(trace.map_or(1, |_| 1 | TRACED));
            let trace = trace.map_or(Vec::new(), |trace| trace.to_bytes().to_vec());
            builder.skeleton.extend(trace);
            builder.skeleton.extend([0; 8]);
            let crc = crc32fast::hash(b"{}").to_le_bytes();
            builder.skeleton.extend(crc);
            builder.skeleton.extend([2, 2]);
            for lane in lanes {
                varint(&mut builder.skeleton, lane.0);
            }
        }
        assert_eq!(lanes_of(builder.finish(AT, AT)), [lanes, lanes]);
    }

    #[test]
    fn a_frame_of_another_address_is_stale() {
        let mut builder = sample();
        let bytes = builder.finish(AT, AT);
        assert_eq!(
            Frame::read(bytes, Position(8192)).unwrap_err(),
            NotAFrame::Stale
        );
        assert_eq!(Frame::read(&[0; 64], AT).unwrap_err(), NotAFrame::Blank);
    }

    #[test]
    fn a_flip_of_any_bit_and_a_cut_at_any_byte_is_noticed() {
        let mut builder = sample();
        let bytes = builder.finish(AT, Position(1)).to_vec();
        let meant = bytes.len() - padding(&bytes);
        for bit in 0..meant * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                Frame::read(&damaged, AT).and_then(|f| f.verify()).is_err(),
                "bit {bit}"
            );
        }
        for cut in 0..meant {
            assert!(
                Frame::read(&bytes[..cut], AT)
                    .and_then(|f| f.verify())
                    .is_err(),
                "cut {cut}"
            );
        }
    }

    fn padding(bytes: &[u8]) -> usize {
        let header = Header::read(bytes, AT).unwrap();
        bytes.len() - HEADER_BYTES - header.bodies_bytes - header.skeleton_bytes
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frame::read(&bytes, AT).and_then(|frame| frame.verify());
        }

        #[test]
        fn an_arbitrary_skeleton_with_true_checksums_never_panics(
            skeleton in proptest::collection::vec(any::<u8>(), 0..300),
            bodies in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut builder = Builder::new();
            builder.bytes.extend_from_slice(&bodies);
            builder.skeleton = skeleton;
            let bytes = builder.finish(AT, AT).to_vec();
            let _ = Frame::read(&bytes, AT).unwrap().verify();
        }
    }
}
