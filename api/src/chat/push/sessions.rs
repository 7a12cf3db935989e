//! Sessions between their handshake, which shows a token, and their socket, which cannot.
//!
//! Promise: a session is unguessable, is taken once, and is good for half a minute. A user who makes one after the other
//! takes room from itself only.

use std::collections::VecDeque;
use std::time::Duration;

use gridpost_comms::chat::live::MOST_OF_ONE_USER;
use gridpost_comms::identity::User;
use gridpost_model::{Chance, Timestamp};
use parking_lot::Mutex;

/// How long a client may take from the handshake to the socket; it gives up after 10 s itself.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// How many there are at most: as many as may listen.
const MOST: usize = gridpost_comms::chat::live::MOST_LISTENERS;

/// Those that wait for their sockets, oldest first.
#[derive(Default)]
pub(super) struct Sessions(Mutex<VecDeque<Session>>);

struct Session {
    name: String,
    user: User,
    until: Timestamp,
}

impl Sessions {
    /// A session for a user, whose oldest goes when it has as many as it may; `None` when there are too many in all.
    pub(super) fn open(&self, user: User, now: Timestamp, chance: &dyn Chance) -> Option<String> {
        let mut waiting = self.0.lock();
        waiting.retain(|session| now < session.until);
        let is_of_user = |session: &Session| session.user.id == user.id;
        if MOST_OF_ONE_USER <= waiting.iter().filter(|one| is_of_user(one)).count()
            && let Some(oldest) = waiting.iter().position(is_of_user)
        {
            waiting.remove(oldest);
        }
        if MOST <= waiting.len() {
            return None;
        }
        let mut bytes = [0; 16];
        chance.fill(&mut bytes);
        let name = format!("{:032x}", u128::from_be_bytes(bytes));
        waiting.push_back(Session {
            name: name.clone(),
            user,
            until: now + GOOD_FOR,
        });
        Some(name)
    }

    /// The user of a session, which is used up by it.
    pub(super) fn take(&self, name: &str, now: Timestamp) -> Option<User> {
        let mut waiting = self.0.lock();
        let at = waiting.iter().position(|session| session.name == name)?;
        let session = waiting.remove(at)?;
        (now < session.until).then_some(session.user)
    }
}
