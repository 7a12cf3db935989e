//! Chat as it happens, for users who listen.
//!
//! Promise: a listener is told what concerns its user once that is kept, and nothing after its token ended; events come
//! in the order they were kept. Nobody waits for a slow listener: it is let go, and must list what it missed. While nobody listens,
//! the change of a thread costs what it cost before.
//! Not here: sockets and streams (`api`), what the events say (`events`).

mod hub;
mod presence;

use std::sync::Arc;

use gridpost_grid::tap::Tap;
use gridpost_model::Event;
use tokio::sync::mpsc;

use crate::identity::{BadToken, Scope, User};
use crate::{Comms, Inner};
use hub::{Ear, Took};

pub(crate) use hub::{Hub, Ring};
pub(crate) use presence::{Hint, Telling};

/// Listeners at once, of all resources: a quarter of the connections that the listener takes unless told otherwise, and
/// with all of them behind, a gibibyte of waiting events.
pub const MOST_LISTENERS: usize = 1_024;

/// Listeners of one user at once: the devices and windows of somebody with many, but not a loop that forgets to close.
pub const MOST_OF_ONE_USER: usize = 16;

/// Events that wait for one listener: a busy thread's burst. Whoever is further behind reads faster by listing.
pub const MOST_WAITING: usize = 256;

/// Bytes of them: some thirty of the longest messages, so that listeners who sleep do not fill the memory.
pub const MOST_WAITING_BYTES: usize = 1 << 20;

/// Typing and receipts whose recipients are still to be looked up: far more than a second brings.
const MOST_HINTS: usize = 1_024;

/// Why nobody can listen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHeard {
    /// The token's scopes do not reach so far.
    #[error("the token is not for chat")]
    Forbidden,
    /// The token is one of another user.
    #[error("the token is another user's")]
    AnotherUser,
    /// The user has as many as it may.
    #[error("A user listens at most {MOST_OF_ONE_USER} times at once.")]
    TooManyOfUser,
    /// There are as many as there may be.
    #[error("There are {MOST_LISTENERS} listeners already.")]
    TooMany,
}

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// Something happened.
    Event(Arc<Event>),
    /// It is over.
    End(End),
}

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The token's time is over.
    Expired,
    /// The token was revoked, or its user or resource is gone.
    Revoked,
    /// The listener fell behind; what happened since is to be listed.
    TooSlow,
    /// The store cannot be read. The token may be good.
    Failing,
}

/// Somebody who listens, until it is dropped.
pub struct Listening {
    comms: Comms,
    user: User,
    ear: Arc<Ear>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}

/// Lets the hub hear of what is kept.
pub(crate) fn start(inner: &Arc<Inner>, hints: mpsc::Receiver<Hint>) {
    let task = presence::tell_all(Arc::downgrade(inner), hints);
    (inner.settings.spawn)("typing and receipts", Box::pin(task));
    inner.grid.tap(Arc::clone(&inner.live) as Arc<dyn Tap>);
}

impl Comms {
    /// Listens from now on, for a user whose token was just seen to be good.
    ///
    /// # Errors
    /// The token is not for chat, or too many listen.
    pub fn listen(&self, user: User) -> Result<Listening, NotHeard> {
        may_listen(&user)?;
        let ear = self.0.live.add(&user)?;
        Ok(Listening {
            comms: self.clone(),
            user,
            ear,
        })
    }
}

/// Whether the token of a user is for listening.
///
/// # Errors
/// It is not.
pub fn may_listen(user: &User) -> Result<(), NotHeard> {
    if user.may(Scope::ChatJoinLimited) {
        Ok(())
    } else {
        Err(NotHeard::Forbidden)
    }
}

impl Listening {
    /// Whose it is.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// What happens next.
    pub async fn next(&mut self) -> Heard {
        loop {
            let took = self.ear.take();
            // Asked every time: a revocation counts from its transaction on, however its news travels.
            if let Err(end) = self.check() {
                return Heard::End(end);
            }
            match took {
                Took::Event(event) => return Heard::Event(event),
                Took::FellBehind => return Heard::End(End::TooSlow),
                Took::Nothing => self.wait().await,
            }
        }
    }

    /// Whether the token is good still.
    fn check(&self) -> Result<(), End> {
        match self.comms.check_again(&self.user) {
            Ok(()) => Ok(()),
            Err(BadToken::Expired) => Err(End::Expired),
            Err(BadToken::Unknown | BadToken::Revoked) => Err(End::Revoked),
            // Who cannot be looked up is not told anything either.
            Err(BadToken::NotRead(error)) => {
                tracing::warn!(%error, "a user who listens was let go, because its identity was not read: {error}");
                Err(End::Failing)
            }
        }
    }

    /// Goes on with another token of the same user.
    ///
    /// # Errors
    /// It is another user's, or not for chat.
    pub fn renew(&mut self, user: User) -> Result<(), NotHeard> {
        if user.id != self.user.id {
            return Err(NotHeard::AnotherUser);
        }
        may_listen(&user)?;
        self.user = user;
        Ok(())
    }

    /// Until there is something to look at, or the token ends.
    async fn wait(&self) {
        let clock = &self.comms.0.settings.clock;
        let left = self.user.expires.since(clock.wall());
        tokio::select! {
            () = self.ear.changed() => (),
            () = clock.linger(left) => (),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let inner = &self.comms.0;
        let now = inner.settings.clock.now();
        inner.live.remove(&self.user.id, &self.ear, || {
            inner.departures.note(&self.user, now);
            inner.agenda.note(self.user.resource.partition(), now);
        });
    }
}
