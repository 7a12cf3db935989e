//! Sessions between their handshake, which shows a token, and their socket, which cannot.
//!
//! Promise: a session is unguessable, is taken once, and is good for half a minute.

use std::collections::HashMap;
use std::time::Duration;

use gridpost_comms::identity::User;
use gridpost_model::{Chance, Timestamp};
use parking_lot::Mutex;

/// How long a client may take from the handshake to the socket; it gives up after 10 s itself.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// Sessions that wait for their sockets.
const MOST: usize = 1_024;

/// Sessions that wait for their sockets.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<String, (User, Timestamp)>>);

impl Sessions {
    /// A session for a user; `None` when there are too many.
    pub(super) fn open(&self, user: User, now: Timestamp, chance: &dyn Chance) -> Option<String> {
        let mut sessions = self.0.lock();
        if MOST <= sessions.len() {
            sessions.retain(|_, (_, until)| now < *until);
        }
        if MOST <= sessions.len() {
            return None;
        }
        let mut bytes = [0; 16];
        chance.fill(&mut bytes);
        let name = format!("{:032x}", u128::from_be_bytes(bytes));
        sessions.insert(name.clone(), (user, now + GOOD_FOR));
        Some(name)
    }

    /// The user of a session, which is used up by it.
    pub(super) fn take(&self, name: &str, now: Timestamp) -> Option<User> {
        let (user, until) = self.0.lock().remove(name)?;
        (now < until).then_some(user)
    }
}
