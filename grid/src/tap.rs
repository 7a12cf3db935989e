//! The service above, told of events the moment they are kept.
//!
//! Promise: from when it is open, a tap hears of every event after it is durable, in the order of the journal, whatever
//! became of the task that published it. When nobody listens behind it, it costs one question for a whole batch.
//! Not here: what operators watch (`tail`), what is sent to subscriptions (`lane`).

use std::sync::{Arc, OnceLock};

use gridpost_model::Event;
use gridpost_store::Appended;

use crate::Grid;

/// Who is told. It is called on the store's writer: it must be quick, and must not wait for a write.
pub trait Tap: Send + Sync + 'static {
    /// Whether somebody may be listening.
    fn is_open(&self) -> bool;

    /// An event was kept, and those who published it are not answered yet.
    fn committed(&self, event: &Arc<Event>);
}

/// Where a tap is put.
#[derive(Default)]
pub(crate) struct Taps(OnceLock<Arc<dyn Tap>>);

impl Taps {
    pub(crate) fn tell(&self, events: &[Appended]) {
        let Some(tap) = self.0.get().filter(|tap| tap.is_open()) else {
            return;
        };
        for appended in events {
            tap.committed(&appended.event);
        }
    }
}

impl Grid {
    /// Puts the tap in place, for as long as the router lives. There is one; a second is not told of anything.
    pub fn tap(&self, tap: Arc<dyn Tap>) {
        let _ = self.0.delivery.shared().taps.0.set(tap);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use gridpost_store::Position;
    use smallvec::SmallVec;

    use super::*;

    #[derive(Default)]
    struct Counting {
        is_open: AtomicBool,
        told: AtomicUsize,
    }

    impl Tap for Counting {
        fn is_open(&self) -> bool {
            self.is_open.load(Ordering::Relaxed)
        }

        fn committed(&self, _: &Arc<Event>) {
            self.told.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_an_open_tap_is_told() {
        let appended = Appended {
            position: Position::START,
            next: Position::START,
            lanes: SmallVec::new(),
            event: Arc::new(crate::testing::event("x", "s")),
        };
        let events = [appended.clone(), appended];
        let (taps, tap) = (Taps::default(), Arc::new(Counting::default()));
        taps.tell(&events);
        let _ = taps.0.set(Arc::clone(&tap) as _);
        taps.tell(&events);
        assert_eq!(tap.told.load(Ordering::Relaxed), 0);
        tap.is_open.store(true, Ordering::Relaxed);
        taps.tell(&events);
        assert_eq!(tap.told.load(Ordering::Relaxed), 2);
    }
}
