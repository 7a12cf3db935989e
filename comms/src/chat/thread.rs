//! Threads and their members, as rows.
//!
//! Promise: a member's row and the row that lists the thread under the member are written and removed together, so
//! either is found from the other by key; who left stands in a table of its own, so that telling everybody costs what
//! the present members cost.
//! Not here: what was said (`message`), what changes threads (`create`, `properties`, `participants`).

use std::collections::BTreeMap;

use gridpost_model::{Chance, Timestamp};
use gridpost_store::{Scan, StoreError, Txn};
use serde::{Deserialize, Serialize};

use crate::chat::error::{ChatError, Lack};
use crate::chat::person::Person;
use crate::identity::UserId;
use crate::tables;

/// The most members of a thread. Source: reference communication-services 7.
pub const MOST_MEMBERS: usize = 250;

/// The most members of a thread in which receipts and typing are told. Source: the same.
pub const MOST_FOR_PRESENCE: usize = 20;

/// A chat thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// `id`: `19:<32 hex digits>@thread.v2`.
    pub id: String,
    /// `topic`.
    pub topic: String,
    /// `metadata`.
    pub metadata: BTreeMap<String, String>,
    /// `retentionPolicy`.
    pub retention: Retention,
    /// `createdOn`, in whole milliseconds.
    pub created: Timestamp,
    /// `createdByCommunicationIdentifier`.
    pub created_by: UserId,
    /// `lastMessageReceivedOn`: when somebody last said something.
    pub last_received: Option<Timestamp>,
    /// How many members there are.
    pub members: usize,
    /// The sequence number of the newest message.
    pub sequence: u64,
    /// The id of the newest message: milliseconds since 1970, and later than the one before it.
    pub newest: u64,
}

/// When a thread goes by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retention {
    /// Never.
    #[default]
    Unlimited,
    /// `threadCreationDate`: so many days after it was created.
    Days(u32),
}

impl Retention {
    /// When a thread created then goes.
    pub(crate) fn ends(self, created: Timestamp) -> Option<Timestamp> {
        let Self::Days(days) = self else { return None };
        Some(created + std::time::Duration::from_secs(u64::from(days) * 86_400))
    }
}

impl Thread {
    /// A fresh identifier.
    pub(crate) fn fresh_id(chance: &dyn Chance) -> String {
        format!("19:{}@thread.v2", chance.uuid().replace('-', ""))
    }

    /// Takes the next message id: the moment in milliseconds, or one more than the newest.
    pub(crate) fn next_message(&mut self, now: Timestamp) -> (u64, u64) {
        self.newest = millis(now).max(self.newest + 1);
        self.sequence += 1;
        (self.newest, self.sequence)
    }
}

/// Milliseconds since 1970; 0 before.
pub(crate) fn millis(moment: Timestamp) -> u64 {
    u64::try_from(moment.ticks().div_euclid(10_000)).unwrap_or(0)
}

/// The moment of a count of milliseconds.
pub(crate) fn of_millis(millis: u64) -> Timestamp {
    let ticks = i64::try_from(millis)
        .unwrap_or(i64::MAX)
        .saturating_mul(10_000);
    Timestamp::from_ticks(ticks).min(Timestamp::FAR_FUTURE)
}

/// Somebody in a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub person: Person,
    /// Since when.
    pub added: Timestamp,
    /// The first message id that could be given since. Ids may run ahead of the clock, so the moment does not tell.
    pub(crate) first: u64,
}

impl Member {
    /// Somebody who comes into a thread now.
    pub(crate) fn joining(thread: &Thread, person: Person, now: Timestamp) -> Self {
        Self {
            person,
            added: now,
            first: millis(now).max(thread.newest + 1),
        }
    }

    /// The first message id this member sees.
    pub(crate) fn sees_from(&self) -> u64 {
        self.person.share_history_time.map_or(self.first, millis)
    }
}

/// Somebody who was in a thread, and still reads what was said until then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Former {
    pub(crate) member: Member,
    /// The last message id it sees: the one that tells of its removal.
    pub(crate) last: u64,
}

/// What lists a thread under its member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub(crate) thread: String,
}

/// A thread in a transaction.
pub(crate) fn thread(txn: &Txn<'_>, resource: &str, id: &str) -> Result<Thread, ChatError> {
    let found = txn.get(&tables::THREADS, (resource, id))?;
    found.ok_or(ChatError::NoThread)
}

/// A thread, when the user is a member of it.
pub(crate) fn thread_of(
    txn: &Txn<'_>,
    resource: &str,
    id: &str,
    user: &UserId,
) -> Result<(Thread, Member), ChatError> {
    let thread = thread(txn, resource, id)?;
    let member = txn.get(&tables::MEMBERS, (resource, id, user.as_str()))?;
    Ok((
        thread,
        member.ok_or(ChatError::Forbidden(Lack::Membership))?,
    ))
}

pub(crate) fn put_thread(
    txn: &mut Txn<'_>,
    resource: &str,
    thread: &Thread,
) -> Result<(), StoreError> {
    txn.put(&tables::THREADS, (resource, thread.id.as_str()), thread)
}

/// The members, in order of their ids.
pub(crate) fn members(
    txn: &Txn<'_>,
    resource: &str,
    thread: &str,
) -> Result<Vec<Member>, StoreError> {
    let rows = txn.scan(&tables::MEMBERS, Scan::prefix((resource, thread)))?;
    Ok(rows.into_iter().map(|(_, member)| member).collect())
}

/// Who is told what one of the members did: all others.
pub(crate) fn others(members: &[Member], actor: &UserId) -> Vec<UserId> {
    let ids = members.iter().map(|member| &member.person.id);
    ids.filter(|id| *id != actor).cloned().collect()
}

pub(crate) fn add_member(
    txn: &mut Txn<'_>,
    resource: &str,
    thread: &mut Thread,
    member: &Member,
) -> Result<(), StoreError> {
    let user = member.person.id.as_str();
    let listed = Membership {
        thread: thread.id.clone(),
    };
    txn.put(
        &tables::MEMBERS,
        (resource, thread.id.as_str(), user),
        member,
    )?;
    txn.put(
        &tables::MEMBERSHIPS,
        (resource, user, thread.id.as_str()),
        &listed,
    )?;
    txn.remove(
        &tables::FORMER_MEMBERS,
        (resource, thread.id.as_str(), user),
    )?;
    thread.members += 1;
    Ok(())
}

/// Takes a member out, after the message that tells of it. What it read is forgotten; how far it may read on is
/// remembered.
pub(crate) fn remove_member(
    txn: &mut Txn<'_>,
    resource: &str,
    thread: &mut Thread,
    member: Member,
) -> Result<(), StoreError> {
    let id = member.person.id.clone();
    unlist_member(txn, resource, &thread.id, &id)?;
    let former = Former {
        member,
        last: thread.newest,
    };
    let key = (resource, thread.id.as_str(), id.as_str());
    txn.put(&tables::FORMER_MEMBERS, key, &former)?;
    thread.members = thread.members.saturating_sub(1);
    Ok(())
}

/// Removes the rows of a member, as when its thread goes.
pub(crate) fn unlist_member(
    txn: &mut Txn<'_>,
    resource: &str,
    thread: &str,
    user: &UserId,
) -> Result<(), StoreError> {
    txn.remove(&tables::MEMBERS, (resource, thread, user.as_str()))?;
    txn.remove(&tables::MEMBERSHIPS, (resource, user.as_str(), thread))?;
    txn.remove(&tables::READ_RECEIPTS, (resource, thread, user.as_str()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Thread {
        Thread {
            id: "19:46df844a4c064bfaa2b3b30e385d1018@thread.v2".into(),
            topic: "topic".into(),
            metadata: BTreeMap::new(),
            retention: Retention::Unlimited,
            created: Timestamp::EPOCH,
            created_by:
                "8:acs:fac4607d-d2d0-40e5-84df-6f32ebd1251a_00000005-3e0d-e5aa-0e04-343a0d00037c"
                    .parse()
                    .unwrap(),
            last_received: None,
            members: 0,
            sequence: 0,
            newest: 0,
        }
    }

    #[test]
    fn section_4_message_ids_are_milliseconds_and_never_collide() {
        let mut thread = sample();
        let now: Timestamp = "2020-09-18T00:38:27.1675Z".parse().unwrap();
        assert_eq!(thread.next_message(now), (1_600_389_507_167, 1));
        assert_eq!(thread.next_message(now), (1_600_389_507_168, 2));
        let later = now + std::time::Duration::from_secs(1);
        assert_eq!(thread.next_message(later), (1_600_389_508_167, 3));
        assert_eq!(
            of_millis(1_600_389_507_167).to_string(),
            "2020-09-18T00:38:27.167Z"
        );
    }

    #[test]
    fn retention_counts_from_the_creation() {
        let created = Timestamp::EPOCH;
        assert_eq!(Retention::Unlimited.ends(created), None);
        assert_eq!(
            Retention::Days(30).ends(created),
            Some(Timestamp::from_seconds(30 * 86_400))
        );
    }
}
