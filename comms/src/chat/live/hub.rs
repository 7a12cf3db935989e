//! Who listens, and what waits for each.
//!
//! Promise: what the store's writer tells reaches the listeners it is for and nobody else; a listener that is behind is
//! marked and hears only what waits already, so that it never hears of something after a gap. What only looks like an
//! event of ours costs the writer a look into memory.
//! Not here: typing and receipts, whose recipients have to be looked up (`presence`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gridpost_grid::tap::Tap;
use gridpost_model::Event;
use gridpost_model::event::EventSchema;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc};

use super::presence::Hint;
use super::{
    MOST_HINTS, MOST_LISTENERS, MOST_OF_ONE_USER, MOST_WAITING, MOST_WAITING_BYTES, NotHeard,
};
use crate::EventShape;
use crate::chat::events::{self, Audience};
use crate::identity::{User, UserId};
use crate::registry::Registry;

/// All listeners.
pub(crate) struct Hub {
    by_user: RwLock<HashMap<Box<str>, Vec<Arc<Ear>>>>,
    listeners: AtomicUsize,
    registry: Arc<Registry>,
    hints: mpsc::Sender<Hint>,
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
    /// With the hints that it was given, for whoever looks up whom they are for.
    pub(crate) fn new(registry: Arc<Registry>) -> (Arc<Self>, mpsc::Receiver<Hint>) {
        let (hints, given) = mpsc::channel(MOST_HINTS);
        let hub = Self {
            by_user: RwLock::default(),
            listeners: AtomicUsize::new(0),
            registry,
            hints,
        };
        (Arc::new(hub), given)
    }

    /// Passes a hint on, unless there are too many.
    pub(super) fn give(&self, hint: Hint) {
        if self.hints.try_send(hint).is_err() {
            tracing::debug!("a hint of somebody typing or reading was dropped");
        }
    }

    /// Whether an event is of the resource of that immutable id, rather than one that only looks so.
    fn is_of(&self, resource: &str, event: &Event) -> bool {
        let service = self.registry.service_with(resource);
        service.is_some_and(|service| service.id.as_str() == &*event.topic)
    }

    /// Whether the same is told in today's words, too.
    fn has_twin(&self, event: &Event, recipient: &str) -> bool {
        let shape = |user: UserId| Some(self.registry.service_with(user.resource())?.event_shape());
        events::is_of_2020(event)
            && recipient.parse().ok().and_then(shape) == Some(EventShape::Current)
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
        let Some(of_user) = by_user.get(user) else {
            return;
        };
        // Before it takes up room: somebody who is added to a large thread hears of hundreds.
        if self.has_twin(event, user) {
            return;
        }
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
        if event.schema != EventSchema::EventGrid {
            return;
        }
        match events::audience(event) {
            Some(Audience::User(recipient)) => self.tell(recipient, event),
            Some(Audience::Thread { thread, actor }) if self.is_of(actor.resource(), event) => {
                self.give(Hint::typing(thread, actor, event));
            }
            Some(Audience::Thread { .. }) | None => (),
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

    const RESOURCE: &str = "1f1e2d3c-0000-4000-8000-00000000abcd";
    const BOB: &str =
        "8:acs:1f1e2d3c-0000-4000-8000-00000000abcd_00000005-3e0d-e5aa-0e04-343a0d00037c";

    fn typing(topic: &str) -> Arc<Event> {
        let new = NewEvent {
            id: "1",
            topic: &topic.into(),
            subject: &format!("thread/19:x/sender/{BOB}"),
            event_type: "Microsoft.Communication.ChatTypingIndicatorReceivedInThread",
            event_time: "2026-11-22T00:00:00Z",
            data_version: "1.0",
            data: &(),
        };
        Arc::new(Event::event_grid(&new, Timestamp::EPOCH).unwrap())
    }

    #[test]
    fn only_typing_in_threads_of_ours_makes_work_and_so_much_of_it_and_no_more() {
        const DEV: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Communication/communicationServices/dev";
        let registry = Arc::new(Registry::default());
        let mut service = crate::samples::service(EventShape::Current, DEV);
        service.immutable_id = RESOURCE.into();
        let topic = service.id.as_str().to_owned();
        registry.put_service(Arc::new(service));
        let (hub, mut given) = Hub::new(registry);
        hub.committed(&typing("/a/strangers/topic"));
        assert!(given.try_recv().is_err());
        (0..=MOST_HINTS).for_each(|_| hub.committed(&typing(&topic)));
        let taken = std::iter::from_fn(|| given.try_recv().ok());
        assert_eq!(taken.count(), MOST_HINTS);
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
