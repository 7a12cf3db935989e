//! The tables of the communication services. Their ids and names stand in the store's list of all tables ever stored.
//!
//! Promise: every row but a number's lives in the partition of the resource it belongs to; numbers live in the
//! directory, because a number has one owner in the whole world.

use gridpost_store::Table;

use crate::identity::register::Named;
use crate::identity::rows::{Identity, KeptKey};
use crate::numbers::Assignment;
use crate::resources::CommunicationService;
use crate::sms::due::Due;
use crate::sms::handsets::Script;
use crate::sms::message::{Message, Remembered};
use crate::sms::opt_out::OptOut;

/// Resource key -> resource.
pub(crate) const SERVICES: Table<CommunicationService> = Table::new(60, "communication_services");
/// Digits -> owner. In the directory partition.
pub(crate) const NUMBERS: Table<Assignment> = Table::new(61, "phone_numbers");
/// Message id -> outgoing message.
pub(crate) const MESSAGES: Table<Message> = Table::new(62, "sms_messages");
/// (immutable resource id, repeatability id) -> the message it made.
pub(crate) const REMEMBERED: Table<Remembered> = Table::new(63, "sms_repeatability");
/// (immutable resource id, sender, recipient) -> opt-out.
pub(crate) const OPT_OUTS: Table<OptOut> = Table::new(64, "sms_opt_outs");
/// (moment, name) -> work that is due then.
pub(crate) const DUE: Table<Due> = Table::new(65, "sms_due");
/// Digits -> script. In the directory partition.
pub(crate) const SCRIPTS: Table<Script> = Table::new(66, "handset_scripts");
/// (immutable resource id, user) -> identity.
pub(crate) const IDENTITIES: Table<Identity> = Table::new(70, "identities");
/// (immutable resource id, name) -> the identity it leads to.
pub(crate) const IDENTITY_NAMES: Table<Named> = Table::new(71, "identity_names");
/// Key id -> key that signs tokens of users. In the directory partition.
pub(crate) const IDENTITY_KEYS: Table<KeptKey> = Table::new(72, "identity_keys");

#[cfg(test)]
mod tests {
    use gridpost_store::schema;

    use super::*;

    #[test]
    fn every_table_is_in_the_list_of_all_tables() {
        let own = [
            (SERVICES.id(), SERVICES.name()),
            (NUMBERS.id(), NUMBERS.name()),
            (MESSAGES.id(), MESSAGES.name()),
            (REMEMBERED.id(), REMEMBERED.name()),
            (OPT_OUTS.id(), OPT_OUTS.name()),
            (DUE.id(), DUE.name()),
            (SCRIPTS.id(), SCRIPTS.name()),
            (IDENTITIES.id(), IDENTITIES.name()),
            (IDENTITY_NAMES.id(), IDENTITY_NAMES.name()),
            (IDENTITY_KEYS.id(), IDENTITY_KEYS.name()),
        ];
        let listed = schema::TABLES.iter().filter(|table| table.owner == "comms");
        assert!(listed.map(|table| (table.id, table.name)).eq(own));
    }
}
