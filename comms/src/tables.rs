//! The tables of the communication services. Their ids and names stand in the store's list of all tables ever stored.
//!
//! Promise: every row but a number's lives in the partition of the resource it belongs to; numbers live in the
//! directory, because a number has one owner in the whole world.

use gridpost_store::Table;

use crate::chat::create::Creation;
use crate::chat::disconnect::Away;
use crate::chat::due::Due as ChatDue;
use crate::chat::message::{Message as ChatMessage, ReadReceipt};
use crate::chat::thread::{Former, Member, Membership, Thread};
use crate::identity::register::Named;
use crate::identity::rows::{Identity, KeptKey};
use crate::mail::MailResource;
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
/// (immutable resource id, thread) -> thread.
pub(crate) const THREADS: Table<Thread> = Table::new(80, "chat_threads");
/// (immutable resource id, thread, user) -> member.
pub(crate) const MEMBERS: Table<Member> = Table::new(81, "chat_members");
/// (immutable resource id, thread, user) -> who was one.
pub(crate) const FORMER_MEMBERS: Table<Former> = Table::new(82, "chat_former_members");
/// (immutable resource id, user, thread) -> a thread of the user.
pub(crate) const MEMBERSHIPS: Table<Membership> = Table::new(83, "chat_memberships");
/// (immutable resource id, thread, message id) -> message; ids grow with time.
pub(crate) const CHAT_MESSAGES: Table<ChatMessage> = Table::new(84, "chat_messages");
/// (immutable resource id, thread, user) -> up to where it has read.
pub(crate) const READ_RECEIPTS: Table<ReadReceipt> = Table::new(85, "chat_read_receipts");
/// (immutable resource id, user, repeatability id) -> the thread it made.
pub(crate) const CREATIONS: Table<Creation> = Table::new(86, "chat_creations");
/// (moment, name) -> chat work that is due then.
pub(crate) const CHAT_DUE: Table<ChatDue> = Table::new(87, "chat_due");
/// (immutable resource id, user) -> since when nobody listens for it.
pub(crate) const AWAY: Table<Away> = Table::new(88, "chat_away");
/// Resource key -> what belongs to email. In the directory partition.
pub(crate) const MAIL: Table<MailResource> = Table::new(95, "email_resources");

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
            (THREADS.id(), THREADS.name()),
            (MEMBERS.id(), MEMBERS.name()),
            (FORMER_MEMBERS.id(), FORMER_MEMBERS.name()),
            (MEMBERSHIPS.id(), MEMBERSHIPS.name()),
            (CHAT_MESSAGES.id(), CHAT_MESSAGES.name()),
            (READ_RECEIPTS.id(), READ_RECEIPTS.name()),
            (CREATIONS.id(), CREATIONS.name()),
            (CHAT_DUE.id(), CHAT_DUE.name()),
            (AWAY.id(), AWAY.name()),
            (MAIL.id(), MAIL.name()),
        ];
        let listed = schema::TABLES.iter().filter(|table| table.owner == "comms");
        assert!(listed.map(|table| (table.id, table.name)).eq(own));
    }
}
