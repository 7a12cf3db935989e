//! Where things are: addresses in the journal, and partitions of everything.
//!
//! Promise: a position is given once and only grows; a resource's partition never changes.

use gridpost_model::ResourceId;
use serde::{Deserialize, Serialize};

/// An address in the endless journal: the segment's number times its size, plus the offset inside it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before everything that was ever written.
    pub const START: Self = Self(0);
}

/// The unit of serial writing: a transaction reads and changes one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u16);

/// How many partitions there are, the directory included. Fixed for all time: rows are stored by it.
pub const PARTITIONS: u16 = 64;

impl Partition {
    /// Resource groups, principals, and what else belongs to no single resource.
    pub const DIRECTORY: Self = Self(0);

    /// The partition of a top-level resource, 1 to 63.
    pub fn of(resource: &ResourceId) -> Self {
        let hash = crc32fast::hash(resource.key().as_bytes());
        let spread = hash % u32::from(PARTITIONS - 1);
        Self(1 + u16::try_from(spread).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_of_a_resource_is_pinned_for_all_time() {
        let id: ResourceId = "/subscriptions/s/resourceGroups/g".parse().unwrap();
        let shouted: ResourceId = "/SUBSCRIPTIONS/S/RESOURCEGROUPS/G".parse().unwrap();
        assert_eq!(Partition::of(&id), Partition::of(&shouted));
        assert_eq!(Partition::of(&id), Partition(35));
    }
}
