//! Creating threads.
//!
//! Promise: a creation repeated under the same id within a day answers with the thread it made the first time, unless
//! its creator is in it no more.
//! Source: reference communication-services 4 and 7.

use std::collections::BTreeMap;
use std::time::Duration;

use gridpost_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::chat::announce::What;
use crate::chat::due::{Due, Work};
use crate::chat::error::ChatError;
use crate::chat::message::Content;
use crate::chat::messages::put_message;
use crate::chat::participants::{check_candidates, sort_out};
use crate::chat::person::{Candidate, InvalidParticipant, Person};
use crate::chat::rates::Call;
use crate::chat::rights::Act;
use crate::chat::thread::{
    self, Member, Retention, Thread, add_member, millis, of_millis, others, put_thread, thread_of,
};
use crate::chat::{Chat, Scene, check_metadata, check_topic};
use crate::identity::UserId;
use crate::tables;

/// How long a creation is remembered. The service says at least 24 hours for its other calls.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// The longest repeatability id: a GUID with room for other habits.
const LONGEST_REQUEST_ID: usize = 64;

/// A thread that is to be.
#[derive(Clone, Debug)]
pub struct NewThread {
    /// `topic`.
    pub topic: String,
    /// `participants`. Whoever creates the thread is one without being named.
    pub participants: Vec<Candidate>,
    /// `metadata`.
    pub metadata: BTreeMap<String, String>,
    /// `retentionPolicy`.
    pub retention: Retention,
    /// `repeatability-request-id`.
    pub request_id: Option<String>,
}

/// A thread that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The thread.
    pub thread: Thread,
    /// `invalidParticipants`: who was named and is not in it.
    pub invalid: Vec<InvalidParticipant>,
}

/// A creation that may be repeated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Creation {
    thread: String,
    invalid: Vec<InvalidParticipant>,
    at: Timestamp,
}

impl Chat<'_> {
    /// Creates a thread with its participants.
    ///
    /// # Errors
    /// The token does not reach so far, a value is not acceptable, or nothing could be kept.
    pub async fn create(&self, new: NewThread) -> Result<Created, ChatError> {
        self.may(Act::CreateThread)?;
        check_topic(&new.topic)?;
        check_metadata(&new.metadata)?;
        check_retention(new.retention)?;
        check_candidates(&new.participants)?;
        check_request_id(new.request_id.as_deref())?;
        self.count(Call::CreateThread, "")?;
        self.change(move |scene, user| create(scene, user, new))
            .await
    }
}

fn create(
    scene: &mut Scene<'_, '_>,
    user: &UserId,
    mut new: NewThread,
) -> Result<Created, ChatError> {
    let request = new.request_id.take().map(|id| id.to_ascii_lowercase());
    if let Some(request) = &request
        && let Some(again) = repeated(scene, user, request)?
    {
        return Ok(again);
    }
    let (people, invalid) = with_creator(scene, user, new.participants)?;
    let created = of_millis(millis(scene.now));
    let mut thread = Thread {
        id: Thread::fresh_id(&*scene.inner.settings.chance),
        topic: new.topic,
        metadata: new.metadata,
        retention: new.retention,
        created,
        created_by: user.clone(),
        last_received: None,
        members: 0,
        sequence: 0,
        newest: 0,
    };
    settle(scene, &mut thread, &people)?;
    if let Some(request) = request {
        remember(scene, user, request, &thread, &invalid)?;
    }
    Ok(Created { thread, invalid })
}

/// Writes a thread with its people and its first messages, and tells of it.
fn settle(
    scene: &mut Scene<'_, '_>,
    thread: &mut Thread,
    people: &[Person],
) -> Result<(), ChatError> {
    let mut members = Vec::with_capacity(people.len());
    for person in people {
        let member = Member::joining(thread, person.clone(), thread.created);
        add_member(scene.txn, scene.resource(), thread, &member)?;
        members.push(member);
    }
    let by = thread.created_by.clone();
    let topic = thread.topic.clone();
    put_message(
        scene,
        thread,
        Content::TopicUpdated {
            by: by.clone(),
            topic,
        },
    )?;
    let people = people.to_vec();
    let added = Content::ParticipantsAdded {
        by: by.clone(),
        people: people.clone(),
    };
    put_message(scene, thread, added)?;
    put_thread(scene.txn, scene.resource(), thread)?;
    owe_retention(scene, thread)?;
    let what = What::ThreadCreated {
        topic: thread.topic.clone(),
        metadata: thread.metadata.clone(),
        people,
    };
    let version = millis(thread.created);
    scene.announce(thread, &by, version, others(&members, &by), what)?;
    Ok(())
}

/// Sees to it that a thread is looked at when its time is over.
pub(crate) fn owe_retention(scene: &mut Scene<'_, '_>, thread: &Thread) -> Result<(), ChatError> {
    let Some(at) = thread.retention.ends(thread.created) else {
        return Ok(());
    };
    let work = Work::Retention {
        resource: scene.resource().to_owned(),
        thread: thread.id.clone(),
    };
    Ok(Due { at, work }.put(scene.txn, scene.wake)?)
}

/// The people a thread begins with: those named who fit, each once, and its creator.
fn with_creator(
    scene: &Scene<'_, '_>,
    user: &UserId,
    named: Vec<Candidate>,
) -> Result<(Vec<Person>, Vec<InvalidParticipant>), ChatError> {
    let (mut people, invalid) = sort_out(scene, named)?;
    if !people.iter().any(|person| person.id == *user) {
        people.insert(0, Person::bare(user.clone()));
    }
    if thread::MOST_MEMBERS < people.len() {
        return Err(super::participants::too_many());
    }
    Ok((people, invalid))
}

fn repeated(
    scene: &Scene<'_, '_>,
    user: &UserId,
    request: &str,
) -> Result<Option<Created>, ChatError> {
    let key = (scene.resource(), user.as_str(), request);
    let found = scene.txn.get(&tables::CREATIONS, key)?;
    let Some(creation) = found.filter(|found| scene.now.since(found.at) < MEMORY) else {
        return Ok(None);
    };
    // A thread deleted since is gone; the answer that made it is not given again.
    let (thread, _) = thread_of(scene.txn, scene.resource(), &creation.thread, user)?;
    Ok(Some(Created {
        thread,
        invalid: creation.invalid,
    }))
}

fn remember(
    scene: &mut Scene<'_, '_>,
    user: &UserId,
    request: String,
    thread: &Thread,
    invalid: &[InvalidParticipant],
) -> Result<(), ChatError> {
    let row = Creation {
        thread: thread.id.clone(),
        invalid: invalid.to_vec(),
        at: scene.now,
    };
    let key = (scene.resource(), user.as_str(), request.as_str());
    scene.txn.put(&tables::CREATIONS, key, &row)?;
    let at = scene.now + MEMORY;
    let work = Work::Forget {
        resource: scene.resource().to_owned(),
        user: user.clone(),
        request,
    };
    Ok(Due { at, work }.put(scene.txn, scene.wake)?)
}

pub(crate) fn check_retention(retention: Retention) -> Result<(), ChatError> {
    match retention {
        Retention::Days(days) if !(30..=90).contains(&days) => {
            let message = "deleteThreadAfterDays is 30 to 90.";
            Err(ChatError::invalid(
                "retentionPolicy.deleteThreadAfterDays",
                message,
            ))
        }
        Retention::Days(_) | Retention::Unlimited => Ok(()),
    }
}

fn check_request_id(id: Option<&str>) -> Result<(), ChatError> {
    let Some(id) = id else { return Ok(()) };
    let printable = id.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && (1..=LONGEST_REQUEST_ID).contains(&id.len()) {
        return Ok(());
    }
    let message = "repeatability-request-id has 1 to 64 printable ASCII characters.";
    Err(ChatError::invalid("repeatability-request-id", message))
}
