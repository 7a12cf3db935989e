//! What happened in a thread, told to everybody who is to hear of it.
//!
//! Promise: the events of a change are staged in the transaction that makes it. What would not fit one record with it
//! is owed by a row of the same transaction and staged as soon as that has committed: nothing is told twice, nothing
//! is left out.
//! Not here: what the events look like (`events`).
//! Source: reference communication-events 2 and 3.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use gridpost_model::subscription::LaneId;
use gridpost_model::{Chance, Timestamp};
use gridpost_store::{StoreError, Txn};
use serde::{Deserialize, Serialize};

use crate::Inner;
use crate::agenda::Wake;
use crate::chat::due::{Due, Work};
use crate::chat::events;
use crate::chat::message::Kind;
use crate::chat::person::Person;
use crate::identity::UserId;
use crate::resources::CommunicationService;

/// A change and its events in one transaction, in bytes. A record holds 8 MiB, and the row of what is owed must fit
/// beside them: it is largest for 200 new people with names and metadata of control characters, some 1.6 MB. No event is
/// as large as this. A message of 20 KB to 250 members is below it.
const MOST_BYTES: usize = 6 << 20;

/// Deliveries staged in one transaction. A record holds four times as many.
const MOST_LANES: usize = 1 << 20;

/// One happening, with everything its events say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Announcement {
    pub(crate) thread: String,
    /// When the thread was created.
    pub(crate) created: Timestamp,
    /// Milliseconds since 1970.
    pub(crate) version: u64,
    /// When it happened.
    pub(crate) at: Timestamp,
    /// Who did it.
    pub(crate) actor: UserId,
    /// `transactionId`: one for all events of a happening.
    pub(crate) transaction: String,
    /// Who is told: one event each, besides the one of the thread.
    pub(crate) recipients: Vec<UserId>,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    MessageReceived(Said),
    MessageEdited(Said),
    MessageDeleted(Said),
    ThreadCreated {
        topic: String,
        metadata: BTreeMap<String, String>,
        people: Vec<Person>,
    },
    ThreadDeleted,
    PropertiesUpdated {
        topic: String,
        metadata: BTreeMap<String, String>,
    },
    /// One event for each of them to each recipient.
    ParticipantsAdded(Vec<Person>),
    ParticipantsRemoved(Vec<Person>),
    Typing {
        display_name: Option<String>,
    },
}

/// A message, as its events show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) display_name: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) composed: Timestamp,
}

/// A fresh `transactionId`: 16 random bytes and dotted counters, as in the samples.
pub(crate) fn transaction_id(chance: &dyn Chance) -> String {
    let mut bytes = [0; 16];
    chance.fill(&mut bytes);
    let counter = chance.number() % 10_000_000_000;
    format!(
        "{}.1.1.1.1.{counter}.1.1",
        BASE64_STANDARD_NO_PAD.encode(bytes)
    )
}

/// Stages the events of a happening, from the `from`-th on.
pub(crate) fn announce(
    txn: &mut Txn<'_>,
    inner: &Inner,
    service: &CommunicationService,
    announcement: Announcement,
    from: usize,
    wake: &mut Wake,
) -> Result<(), StoreError> {
    let topic: Arc<str> = service.id.as_str().into();
    let (mut lanes, mut widest) = (0, 0);
    let mut owed = None;
    for (number, notice) in events::notices(&announcement, service.event_shape())
        .enumerate()
        .skip(from)
    {
        let id = inner.settings.chance.uuid();
        let event = events::event(&topic, &announcement, &notice, &id)?;
        let bytes = txn.size_bytes() + event.json.len() + widest * size_of::<LaneId>();
        if MOST_BYTES < bytes || MOST_LANES < lanes {
            owed = Some(number);
            break;
        }
        let wanted_by = inner.grid.stage(txn, &service.id, event);
        lanes += wanted_by;
        widest = widest.max(wanted_by);
    }
    let Some(from) = owed else { return Ok(()) };
    let at = announcement.at;
    let work = Work::Announce {
        resource: service.immutable_id.clone(),
        announcement,
        from,
    };
    Due { at, work }.put(txn, wake)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed([u8; 16]);

    impl Chance for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            let length = bytes.len();
            bytes.copy_from_slice(&self.0[..length]);
        }
    }

    #[test]
    fn section_9_a_transaction_id_has_the_form_of_the_samples() {
        let bytes = [
            0x59, 0x6d, 0x56, 0x63, 0x9c, 0x24, 0xce, 0x4c, 0xa4, 0x54, 0x33, 0x40, 0x03, 0xd9,
            0x0d, 0x64,
        ];
        let id = transaction_id(&Fixed(bytes));
        let (vector, counters) = id.split_once('.').unwrap();
        assert_eq!(vector, "WW1WY5wkzkykVDNAA9kNZA");
        assert_eq!(counters.split('.').count(), 7);
        assert!(transaction_id(&Fixed([0xff; 16])).starts_with("/////////////////////w."));
    }
}
