//! Every table ever stored, retired ones included.
//!
//! Promise: a number means one table for ever. A table that is not needed any more stays here as retired, so that its
//! number is not given again and a store that still holds it can be read.

/// One table.
#[derive(Clone, Copy, Debug)]
pub struct TableRecord {
    /// What is stored: 1 to 19 `store`, 20 to 59 `grid`, 60 to 119 `comms`, 120 to 139 `api` and `server`.
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_given_once() {
        assert!(TABLES.windows(2).all(|pair| pair[0].id < pair[1].id));
        let names: std::collections::HashSet<_> = TABLES.iter().map(|table| table.name).collect();
        assert_eq!(names.len(), TABLES.len());
    }
}
