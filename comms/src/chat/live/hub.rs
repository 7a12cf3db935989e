//! Who listens, and what waits for each.
//!
//! Promise: what the store's writer tells reaches the listeners it is for and nobody else; a listener that is behind is
//! marked and told nothing more, so that it never hears of something after a gap.
//! Not here: typing and receipts, whose recipients have to be looked up (`presence`).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use gridpost_grid::tap::Tap;
use gridpost_model::Event;
use gridpost_model::event::EventSchema;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::{
    MOST_LISTENERS, MOST_OF_ONE_USER, MOST_WAITING, MOST_WAITING_BYTES, NotHeard, presence,
};
use crate::Inner;
use crate::identity::{User, UserId};

/// What every event of chat begins with.
const CHAT: &str = "Microsoft.Communication.Chat";

/// All listeners.
#[derive(Default)]
pub(crate) struct Hub {
    by_user: RwLock<HashMap<Box<str>, Vec<Arc<Ear>>>>,
    listeners: AtomicUsize,
    home: OnceLock<Weak<Inner>>,
}

/// One listener.
pub(crate) struct Ear {
    /// The resource id of its user's resource. Events of others only look as if they were ours.
    topic: Box<str>,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Arc<Event>>,
    size_bytes: usize,
    fell_behind: bool,
}

/// What was there for a listener.
pub(crate) enum Took {
    /// The oldest event.
    Event(Arc<Event>),
    /// Nothing, and nothing will come: there was too much.
    FellBehind,
    /// Nothing yet.
    Nothing,
}

impl Hub {
    /// Tells where the tables are in which recipients are looked up.
    pub(crate) fn settle_in(&self, inner: &Arc<Inner>) {
        let _ = self.home.set(Arc::downgrade(inner));
    }

    pub(super) fn home(&self) -> Option<Arc<Inner>> {
        self.home.get().and_then(Weak::upgrade)
    }

    /// Whether anybody listens. One atomic load.
    pub(super) fn is_listened(&self) -> bool {
        0 < self.listeners.load(Ordering::Acquire)
    }

    pub(super) fn add(&self, user: &User) -> Result<Arc<Ear>, NotHeard> {
        let mut by_user = self.by_user.write();
        if MOST_LISTENERS <= self.listeners.load(Ordering::Acquire) {
            return Err(NotHeard::TooMany);
        }
        let of_user = by_user.entry(user.id.as_str().into()).or_default();
        if MOST_OF_ONE_USER <= of_user.len() {
            return Err(NotHeard::TooManyOfUser);
        }
        let ear = Arc::new(Ear {
            topic: user.resource.id.as_str().into(),
            waiting: Mutex::default(),
            changed: Notify::new(),
        });
        of_user.push(Arc::clone(&ear));
        self.listeners.fetch_add(1, Ordering::AcqRel);
        Ok(ear)
    }

    /// Lets a listener go. When it was its user's last, does this before anybody can see it.
    pub(super) fn remove(&self, user: &UserId, ear: &Arc<Ear>, when_last: impl FnOnce()) {
        let mut by_user = self.by_user.write();
        let Some(of_user) = by_user.get_mut(user.as_str()) else {
            return;
        };
        let before = of_user.len();
        of_user.retain(|one| !Arc::ptr_eq(one, ear));
        self.listeners
            .fetch_sub(before - of_user.len(), Ordering::AcqRel);
        if of_user.is_empty() {
            by_user.remove(user.as_str());
            when_last();
        }
    }

    /// Whether anybody listens for the user.
    pub(crate) fn is_listening(&self, user: &UserId) -> bool {
        self.by_user.read().contains_key(user.as_str())
    }

    /// Tells a user, wherever it listens.
    pub(super) fn tell(&self, user: &str, event: &Arc<Event>) {
        let by_user = self.by_user.read();
        let of_user = by_user.get(user).map_or(&[][..], Vec::as_slice);
        for ear in of_user.iter().filter(|ear| *ear.topic == *event.topic) {
            ear.offer(event);
        }
    }

    /// Lets a user's listeners see whether their tokens are good still.
    fn look_again(&self, user: &UserId) {
        if let Some(of_user) = self.by_user.read().get(user.as_str()) {
            of_user.iter().for_each(|ear| ear.changed.notify_one());
        }
    }

    /// The same for all.
    pub(crate) fn all_look_again(&self) {
        let by_user = self.by_user.read();
        let all = by_user.values().flatten();
        all.for_each(|ear| ear.changed.notify_one());
    }
}

/// Part of what a transaction returns that ends tokens: when it is dropped, whoever listens with one looks again.
///
/// A caller that hung up never sees its `Committed` value, but the store drops it after the commit all the same.
pub(crate) struct Ring {
    hub: Arc<Hub>,
    user: UserId,
}

impl Ring {
    pub(crate) fn new(hub: &Arc<Hub>, user: &UserId) -> Self {
        Self {
            hub: Arc::clone(hub),
            user: user.clone(),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.hub.look_again(&self.user);
    }
}

impl Tap for Hub {
    fn is_open(&self) -> bool {
        self.is_listened()
    }

    fn committed(&self, event: &Arc<Event>) {
        // A CloudEvent names its own source, so one that a stranger published could name a resource of ours.
        if event.schema != EventSchema::EventGrid || !event.event_type.starts_with(CHAT) {
            return;
        }
        if let Some((_, recipient)) = event.subject.rsplit_once("/recipient/") {
            self.tell(recipient, event);
        } else {
            presence::tell_typing(self, event);
        }
    }
}

impl Ear {
    fn offer(&self, event: &Arc<Event>) {
        let mut waiting = self.waiting.lock();
        if waiting.fell_behind {
            return;
        }
        let size_bytes = waiting.size_bytes + event.json.len();
        if waiting.events.len() < MOST_WAITING && size_bytes <= MOST_WAITING_BYTES {
            waiting.size_bytes = size_bytes;
            waiting.events.push_back(Arc::clone(event));
        } else {
            waiting.fell_behind = true;
        }
        drop(waiting);
        self.changed.notify_one();
    }

    pub(super) fn take(&self) -> Took {
        let mut waiting = self.waiting.lock();
        match waiting.events.pop_front() {
            Some(event) => {
                waiting.size_bytes -= event.json.len();
                Took::Event(event)
            }
            None if waiting.fell_behind => Took::FellBehind,
            None => Took::Nothing,
        }
    }

    /// Until there is something to look at. A change made since the last look is not missed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::Timestamp;
    use gridpost_model::event::NewEvent;

    use super::*;

    fn ear() -> Ear {
        Ear {
            topic: "/r".into(),
            waiting: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn event(number: usize) -> Arc<Event> {
        let new = NewEvent {
            id: &number.to_string(),
            topic: &"/r".into(),
            subject: "s",
            event_type: "t",
            event_time: "2026-11-22T00:00:00Z",
            data_version: "1.0",
            data: &(),
        };
        Arc::new(Event::event_grid(&new, Timestamp::EPOCH).unwrap())
    }

    #[test]
    fn whoever_falls_behind_hears_what_waited_and_nothing_after_the_gap() {
        let ear = ear();
        (0..MOST_WAITING).for_each(|number| ear.offer(&event(number)));
        assert!(matches!(ear.take(), Took::Event(first) if &*first.id == "0"));
        ear.offer(&event(MOST_WAITING));
        ear.offer(&event(MOST_WAITING + 1));
        assert!(matches!(ear.take(), Took::Event(second) if &*second.id == "1"));
        ear.offer(&event(MOST_WAITING + 2));
        let rest: Vec<_> = std::iter::from_fn(|| match ear.take() {
            Took::Event(event) => Some(event.id.to_string()),
            Took::FellBehind | Took::Nothing => None,
        })
        .collect();
        assert_eq!(rest.len(), MOST_WAITING - 1);
        assert_eq!(rest.last(), Some(&MOST_WAITING.to_string()));
        assert!(matches!(ear.take(), Took::FellBehind));
    }
}
