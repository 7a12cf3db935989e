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

    /// The partition of a resource, 1 to 63. What lies below a top-level resource lies in the same partition.
    pub fn of(resource: &ResourceId) -> Self {
        let hash = crc32fast::hash(top_level(resource.key()).as_bytes());
        let spread = hash % u32::from(PARTITIONS - 1);
        Self(1 + u16::try_from(spread).unwrap_or(0))
    }
}

/// The part of an id that names the top-level resource: up to `/providers/{namespace}/{type}/{name}`.
fn top_level(id: &str) -> &str {
    const PROVIDERS: &str = "/providers/";
    let Some(at) = id.find(PROVIDERS) else {
        return id;
    };
    let start = at + PROVIDERS.len();
    let end = id[start..].match_indices('/').nth(2);
    end.map_or(id, |(end, _)| &id[..start + end])
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

    #[test]
    fn what_lies_below_a_resource_lies_in_its_partition() {
        let domain: ResourceId =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/domains/d"
                .parse()
                .unwrap();
        for tail in [
            "topics/t",
            "topics/t/providers/Microsoft.EventGrid/eventSubscriptions/es",
        ] {
            let below = domain.join(tail).unwrap();
            assert_eq!(Partition::of(&below), Partition::of(&domain));
            assert_eq!(top_level(below.key()), domain.key());
        }
        assert_eq!(top_level(domain.key()), domain.key());
    }
}
