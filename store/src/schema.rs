//! Every table ever stored, retired ones included.
//!
//! Promise: a number means one table for ever. A table that is not needed any more stays here as retired, so that its
//! number is not given again and a store that still holds it can be read.

/// One table.
#[derive(Clone, Copy, Debug)]
pub struct TableRecord {
    /// What is stored: 1 to 19 `store`, 20 to 59 `grid`, 60 to 119 `comms`, 120 to 139 who may do what.
    pub id: u16,
    /// Its name in messages.
    pub name: &'static str,
    /// The crate that reads and writes it.
    pub owner: &'static str,
    /// The first version that stored it.
    pub since: &'static str,
}

/// The tables, by number.
pub const TABLES: &[TableRecord] = &[
    // For the store's own tests; no store in use has it.
    TableRecord {
        id: 1,
        name: "rows",
        owner: "store",
        since: "0.1.0",
    },
    TableRecord {
        id: 20,
        name: "topics",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 21,
        name: "system_topics",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 22,
        name: "event_subscriptions",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 23,
        name: "lane_numbers",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 24,
        name: "resource_groups",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 25,
        name: "principals",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 26,
        name: "domains",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 27,
        name: "domain_topics",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 28,
        name: "credentials",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 40,
        name: "waiting",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 41,
        name: "dead_letters",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 42,
        name: "replays",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 45,
        name: "dead_letter_blobs",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 60,
        name: "communication_services",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 61,
        name: "phone_numbers",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 62,
        name: "sms_messages",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 63,
        name: "sms_repeatability",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 64,
        name: "sms_opt_outs",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 65,
        name: "sms_due",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 66,
        name: "handset_scripts",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 70,
        name: "identities",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 71,
        name: "identity_names",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 72,
        name: "identity_keys",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 80,
        name: "chat_threads",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 81,
        name: "chat_members",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 82,
        name: "chat_former_members",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 83,
        name: "chat_memberships",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 84,
        name: "chat_messages",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 85,
        name: "chat_read_receipts",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 86,
        name: "chat_creations",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 87,
        name: "chat_due",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 88,
        name: "chat_away",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 95,
        name: "email_resources",
        owner: "comms",
        since: "0.1.0",
    },
    TableRecord {
        id: 120,
        name: "role_assignments",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 121,
        name: "audit",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 122,
        name: "audit_looks",
        owner: "grid",
        since: "0.1.0",
    },
    TableRecord {
        id: 123,
        name: "audit_refusals",
        owner: "grid",
        since: "0.1.0",
    },
];

/// Whether a table is listed under this number and name.
pub(crate) const fn lists(id: u16, name: &str) -> bool {
    let mut index = 0;
    while index < TABLES.len() {
        let table = &TABLES[index];
        if table.id == id {
            return same(table.name.as_bytes(), name.as_bytes());
        }
        index += 1;
    }
    false
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    one.len() == other.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_given_once() {
        assert!(TABLES.windows(2).all(|pair| pair[0].id < pair[1].id));
        let names: std::collections::HashSet<_> = TABLES.iter().map(|table| table.name).collect();
        assert_eq!(names.len(), TABLES.len());
    }

    #[test]
    fn a_table_is_listed_by_number_and_name() {
        assert!(lists(20, "topics"));
        assert!(!lists(20, "topic") && !lists(20, "topicss") && !lists(999, "topics"));
    }
}
