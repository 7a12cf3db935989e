//! Who is in a thread: listed, added, removed; and users who are gone.
//!
//! Promise: adding somebody who is there changes nothing. Whoever is removed hears of it, and reads on what was said
//! until then.
//! Source: reference communication-services 7, communication-events 2.

use gridpost_model::Timestamp;
use gridpost_store::{Scan, StoreError, Txn};

use crate::agenda::Wake;
use crate::chat::announce::What;
use crate::chat::due::{Due, Work};
use crate::chat::error::ChatError;
use crate::chat::message::Content;
use crate::chat::messages::put_message;
use crate::chat::person::{Candidate, InvalidParticipant, Person, Unfit};
use crate::chat::rates::Call;
use crate::chat::rights::Act;
use crate::chat::thread::{
    MOST_MEMBERS, Member, Thread, add_member, members, millis, others, put_thread, remove_member,
    thread_of,
};
use crate::chat::{Chat, PAGE_BYTES, Page, Scene, check_metadata, check_name, page_size};
use crate::identity::UserId;
use crate::tables;

/// The most people named in one call. Source: reference communication-services 7.
const MOST_AT_ONCE: usize = 200;

impl Chat<'_> {
    /// The participants, in order of their ids, but the first `skip`.
    ///
    /// # Errors
    /// The user is not in the thread.
    pub fn participants(
        &self,
        thread: &str,
        skip: usize,
        size: Option<usize>,
    ) -> Result<Page<Member, usize>, ChatError> {
        self.may(Act::TakePart)?;
        let size = page_size(size)?;
        self.as_member(thread)?;
        self.count(Call::ListParticipants, thread)?;
        let scan = Scan::prefix((self.resource(), thread));
        let partition = self.service.partition();
        let rows = self.snapshot().scan(&tables::MEMBERS, partition, scan)?;
        let all = rows.into_iter().map(|(_, member)| member);
        let weigh = |member: &Member| serde_json::to_vec(member).map_or(0, |json| json.len());
        Ok(page_of(all.collect(), skip, size, weigh))
    }

    /// Adds participants; tells whom it could not add.
    ///
    /// # Errors
    /// The token does not reach so far, the user is not in the thread, a value is not acceptable, there would be too
    /// many, or nothing could be kept.
    pub async fn add(
        &self,
        thread: &str,
        named: Vec<Candidate>,
    ) -> Result<Vec<InvalidParticipant>, ChatError> {
        self.may(Act::ChangeParticipants)?;
        if named.is_empty() {
            let message = "participants names at least one.";
            return Err(ChatError::invalid("participants", message));
        }
        check_candidates(&named)?;
        self.count_member(Call::ChangeParticipants, thread)?;
        let id = thread.to_owned();
        self.change(move |scene, user| add(scene, user, &id, named))
            .await
    }

    /// Removes a participant; whoever removes itself leaves.
    ///
    /// # Errors
    /// The token does not reach so far, the user or the participant is not in the thread, or nothing could be kept.
    pub async fn remove(&self, thread: &str, whom: &str) -> Result<(), ChatError> {
        self.may(Act::ChangeParticipants)?;
        let whom: UserId = whom.parse().map_err(|_| no_participant())?;
        self.count_member(Call::ChangeParticipants, thread)?;
        let id = thread.to_owned();
        self.change(move |scene, user| {
            let (thread, _) = thread_of(scene.txn, scene.resource(), &id, user)?;
            let key = (scene.resource(), id.as_str(), whom.as_str());
            let member = scene.txn.get(&tables::MEMBERS, key)?;
            remove(scene, thread, user, member.ok_or_else(no_participant)?)
        })
        .await
    }
}

/// A part of rows that are all at hand. It ends early with the row that makes it too heavy.
pub(crate) fn page_of<T>(
    all: Vec<T>,
    skip: usize,
    size: usize,
    weigh: impl Fn(&T) -> usize,
) -> Page<T, usize> {
    let (count, mut bytes) = (all.len(), 0);
    let fits = |row: &T| {
        let has_room = bytes < PAGE_BYTES;
        bytes += weigh(row);
        has_room
    };
    let rows = all.into_iter().skip(skip).take(size);
    let items: Vec<T> = rows.take_while(fits).collect();
    let end = skip.saturating_add(items.len());
    let next = (end < count).then_some(end);
    Page { items, next }
}

fn no_participant() -> ChatError {
    ChatError::invalid(
        "communicationIdentifier",
        "The participant is not in the chat thread.",
    )
}

pub(crate) fn too_many() -> ChatError {
    let message = format!("A chat thread has at most {MOST_MEMBERS} participants.");
    ChatError::invalid("participants", message)
}

pub(crate) fn check_candidates(named: &[Candidate]) -> Result<(), ChatError> {
    if MOST_AT_ONCE < named.len() {
        let message = format!("At most {MOST_AT_ONCE} participants are named at once.");
        return Err(ChatError::invalid("participants", message));
    }
    for one in named {
        check_name(
            "displayName",
            one.display_name.as_deref().unwrap_or_default(),
        )?;
        check_metadata(&one.metadata)?;
    }
    Ok(())
}

/// Those named who are users of the resource, each once, and those who are not.
pub(crate) fn sort_out(
    scene: &Scene<'_, '_>,
    named: Vec<Candidate>,
) -> Result<(Vec<Person>, Vec<InvalidParticipant>), ChatError> {
    let (mut people, mut invalid) = (Vec::<Person>::new(), Vec::new());
    for one in named {
        match fit(scene, &one.id)? {
            Ok(id) if people.iter().any(|person| person.id == id) => (),
            Ok(id) => people.push(Person {
                id,
                display_name: one.display_name,
                share_history_time: one.share_history_time,
                metadata: one.metadata,
            }),
            Err(why) => invalid.push(InvalidParticipant {
                target: one.id,
                why,
            }),
        }
    }
    Ok((people, invalid))
}

fn fit(scene: &Scene<'_, '_>, id: &str) -> Result<Result<UserId, Unfit>, StoreError> {
    let of_resource = |id: &UserId| id.resource() == scene.resource();
    let Some(id) = id.parse().ok().filter(of_resource) else {
        return Ok(Err(Unfit::Foreign));
    };
    let key = crate::identity::rows::key(&id);
    let known = scene.txn.get(&tables::IDENTITIES, key)?.is_some();
    Ok(if known { Ok(id) } else { Err(Unfit::Unknown) })
}

fn add(
    scene: &mut Scene<'_, '_>,
    user: &UserId,
    id: &str,
    named: Vec<Candidate>,
) -> Result<Vec<InvalidParticipant>, ChatError> {
    let (mut thread, _) = thread_of(scene.txn, scene.resource(), id, user)?;
    let (mut people, invalid) = sort_out(scene, named)?;
    let mut members = members(scene.txn, scene.resource(), id)?;
    people.retain(|person| !members.iter().any(|member| member.person.id == person.id));
    if people.is_empty() {
        return Ok(invalid);
    }
    if MOST_MEMBERS < members.len() + people.len() {
        return Err(too_many());
    }
    for person in &people {
        let member = Member::joining(&thread, person.clone(), scene.now);
        add_member(scene.txn, scene.resource(), &mut thread, &member)?;
        members.push(member);
    }
    let by = user.clone();
    let content = Content::ParticipantsAdded {
        by,
        people: people.clone(),
    };
    put_message(scene, &mut thread, content)?;
    put_thread(scene.txn, scene.resource(), &thread)?;
    let what = What::ParticipantsAdded(people);
    scene.announce(
        &thread,
        user,
        millis(scene.now),
        others(&members, user),
        what,
    )?;
    Ok(invalid)
}

fn remove(
    scene: &mut Scene<'_, '_>,
    mut thread: Thread,
    by: &UserId,
    member: Member,
) -> Result<(), ChatError> {
    // Those who were there when it happened, and so also whoever is removed.
    let present = members(scene.txn, scene.resource(), &thread.id)?;
    let people = vec![member.person.clone()];
    let content = Content::ParticipantsRemoved {
        by: by.clone(),
        people: people.clone(),
    };
    put_message(scene, &mut thread, content)?;
    remove_member(scene.txn, scene.resource(), &mut thread, member)?;
    put_thread(scene.txn, scene.resource(), &thread)?;
    let what = What::ParticipantsRemoved(people);
    scene.announce(&thread, by, millis(scene.now), others(&present, by), what)?;
    Ok(())
}

/// Sees to it that a user who is gone leaves its threads, from the transaction on that removes the user.
pub(crate) fn owe_departure(
    txn: &mut Txn<'_>,
    user: &UserId,
    now: Timestamp,
    wake: &mut Wake,
) -> Result<(), StoreError> {
    let of_user = Scan::prefix((user.resource(), user.as_str())).limit(1);
    if txn.scan(&tables::MEMBERSHIPS, of_user)?.is_empty() {
        return Ok(());
    }
    let work = Work::Leave {
        resource: user.resource().to_owned(),
        user: user.clone(),
    };
    Due { at: now, work }.put(txn, wake)
}

/// Lets a user leave one of its threads; tells whether there was one.
pub(crate) fn leave_one(scene: &mut Scene<'_, '_>, user: &UserId) -> Result<bool, ChatError> {
    let of_user = Scan::prefix((scene.resource(), user.as_str())).limit(1);
    let listed = scene.txn.scan(&tables::MEMBERSHIPS, of_user)?;
    let Some((_, listed)) = listed.into_iter().next() else {
        return Ok(false);
    };
    let (thread, member) = thread_of(scene.txn, scene.resource(), &listed.thread, user)?;
    remove(scene, thread, user, member)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_the_row_that_makes_it_too_heavy() {
        let rows: Vec<usize> = (0..10).collect();
        let page = page_of(rows.clone(), 2, 5, |_| PAGE_BYTES / 2);
        assert_eq!((page.items, page.next), (vec![2, 3], Some(4)));
        let page = page_of(rows, 2, 20, |_| 0);
        assert_eq!((page.items.len(), page.next), (8, None));
    }
}
