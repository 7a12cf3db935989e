//! The entries of a frame, as they are read back.
//!
//! Promise: an entry that is not whole, or of a kind that no format knows, ends the list and is reported as such; nothing
//! panics.
//! Not here: how entries are written, and the frame around them (`frame`).

use gridpost_model::subscription::LaneId;
use gridpost_model::{EventSchema, Timestamp, TraceContext};
use smallvec::SmallVec;

use super::frame::{
    EVENT, EVENT_IN_FULL, HEADER_BYTES, PARTITION, PUT, REMOVE, ROUTED, SAME_LANES, SETTLED, TRACED,
};
use crate::{Partition, Position};

/// One thing that happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    Partition(Partition),
    Put {
        table: u16,
        key: &'a [u8],
        row: &'a [u8],
    },
    Remove {
        table: u16,
        key: &'a [u8],
    },
    Event(EventEntry<'a>),
    Settled {
        lane: LaneId,
        positions: Vec<Position>,
    },
}

/// An event, its body not yet looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventEntry<'a> {
    pub(crate) position: Position,
    pub(crate) schema: EventSchema,
    pub(crate) published: Timestamp,
    pub(crate) trace: Option<TraceContext>,
    /// The topic it is of, when its object does not say it.
    pub(crate) topic: Option<&'a str>,
    pub(crate) lanes: SmallVec<[LaneId; 4]>,
    crc: u32,
    json: &'a [u8],
}

impl<'a> EventEntry<'a> {
    /// The object as it was written; `None` when it is not any more.
    pub(crate) fn json(&self) -> Option<&'a [u8]> {
        (crc32fast::hash(self.json) == self.crc).then_some(self.json)
    }
}

/// The skeleton is not a list of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The entries of a frame, in order.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    at: Position,
    bodies: &'a [u8],
    body_at: usize,
    rest: &'a [u8],
    /// The last list of lanes.
    lanes: SmallVec<[LaneId; 4]>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.read();
        if entry.is_none() {
            self.rest = &[];
        }
        Some(entry.ok_or(Malformed))
    }
}

impl<'a> Entries<'a> {
    /// The entries of a frame at that address.
    pub(super) fn of(at: Position, bodies: &'a [u8], skeleton: &'a [u8]) -> Self {
        Self {
            at,
            bodies,
            body_at: 0,
            rest: skeleton,
            lanes: SmallVec::new(),
        }
    }

    fn read(&mut self) -> Option<Entry<'a>> {
        Some(match self.bytes::<1>()?[0] {
            PARTITION => Entry::Partition(Partition(self.small()?)),
            PUT => Entry::Put {
                table: self.small()?,
                key: self.chunk()?,
                row: self.chunk()?,
            },
            REMOVE => Entry::Remove {
                table: self.small()?,
                key: self.chunk()?,
            },
            EVENT => Entry::Event(self.event(Lanes::InSteps)?),
            EVENT_IN_FULL => Entry::Event(self.event(Lanes::InFull)?),
            SETTLED => self.settled()?,
            _ => return None,
        })
    }

    fn event(&mut self, written: Lanes) -> Option<EventEntry<'a>> {
        let [tag] = self.bytes()?;
        let (tag, same_lanes, routed) = match written {
            Lanes::InSteps => (
                tag & !SAME_LANES & !ROUTED,
                tag & SAME_LANES != 0,
                tag & ROUTED != 0,
            ),
            Lanes::InFull => (tag, false, false),
        };
        let schema = schema_of(tag & !TRACED)?;
        let trace = match tag & TRACED {
            0 => None,
            _ => Some(TraceContext::from_bytes(self.bytes()?)),
        };
        let topic = match routed {
            true => Some(std::str::from_utf8(self.chunk()?).ok()?),
            false => None,
        };
        let published = Timestamp::from_ticks(i64::from_le_bytes(self.bytes()?));
        let crc = u32::from_le_bytes(self.bytes()?);
        let json_bytes = usize::try_from(self.varint()?).ok()?;
        if !same_lanes {
            self.read_lanes(written)?;
        }
        let lanes = self.lanes.clone();
        let json = self
            .bodies
            .get(self.body_at..self.body_at.checked_add(json_bytes)?)?;
        let position = Position(self.at.0 + (HEADER_BYTES + self.body_at) as u64);
        self.body_at += json_bytes;
        Some(EventEntry {
            position,
            schema,
            published,
            trace,
            topic,
            lanes,
            crc,
            json,
        })
    }

    fn read_lanes(&mut self, written: Lanes) -> Option<()> {
        self.lanes.clear();
        let mut before = 0;
        for _ in 0..self.varint()? {
            let number = self.varint()?;
            before = match written {
                Lanes::InFull => number,
                Lanes::InSteps => stepped(before, number),
            };
            self.lanes.push(LaneId(before));
        }
        Some(())
    }

    fn settled(&mut self) -> Option<Entry<'a>> {
        let lane = LaneId(self.varint()?);
        let mut positions = Vec::new();
        let mut before = 0_u64;
        for _ in 0..self.varint()? {
            before = before.wrapping_add(self.varint()?);
            positions.push(Position(before));
        }
        Some(Entry::Settled { lane, positions })
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn chunk(&mut self) -> Option<&'a [u8]> {
        let size = usize::try_from(self.varint()?).ok()?;
        let (chunk, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(chunk)
    }

    fn small(&mut self) -> Option<u16> {
        self.varint()?.try_into().ok()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes::<1>()?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

/// How the lanes of an event are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lanes {
    InFull,
    InSteps,
}

/// Where a step leads.
fn stepped(from: u64, step: u64) -> u64 {
    from.wrapping_add((step >> 1) ^ (step & 1).wrapping_neg())
}

fn schema_of(tag: u8) -> Option<EventSchema> {
    match tag {
        0 => Some(EventSchema::EventGrid),
        1 => Some(EventSchema::CloudEvents),
        2 => Some(EventSchema::Custom),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::frame::{step, varint};

    proptest! {
        #[test]
        fn any_number_survives_its_short_form(value: u64) {
            let mut bytes = Vec::new();
            varint(&mut bytes, value);
            let mut entries = Entries::of(Position::START, &[], &bytes);
            prop_assert_eq!(entries.varint(), Some(value));
        }

        #[test]
        fn any_step_leads_where_it_should(from: u64, to: u64) {
            prop_assert_eq!(stepped(from, step(from, to)), to);
        }
    }
}
