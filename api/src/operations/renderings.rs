//! One page, shared by all who ask for it at once.
//!
//! Promise: a page was begun after it was asked for, and no more than a few are kept for readers who do not take them:
//! while there are as many, everybody is given the newest of them. Nothing is rendered twice at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// Pages that may be unread at once. A page of a thousand event subscriptions has some megabytes, and anybody may ask.
const UNREAD: usize = 4;

/// Makes pages.
pub(super) struct Renderings {
    begun: AtomicU64,
    newest: Mutex<Weak<Rendering>>,
    room: Arc<Semaphore>,
}

struct Rendering {
    number: u64,
    text: String,
    _room: Option<OwnedSemaphorePermit>,
}

/// One reader's hold on a page.
struct Hold(Arc<Rendering>);

impl AsRef<[u8]> for Hold {
    fn as_ref(&self) -> &[u8] {
        self.0.text.as_bytes()
    }
}

impl Default for Renderings {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            newest: Mutex::default(),
            room: Arc::new(Semaphore::new(UNREAD)),
        }
    }
}

impl Renderings {
    /// A page: one that was begun since this was called, or a new one.
    pub(super) async fn page(&self, render: impl FnOnce() -> String) -> Bytes {
        let asked = self.begun.load(Ordering::SeqCst);
        let mut newest = self.newest.lock().await;
        let made = newest.upgrade();
        let is_fresh = made.as_ref().is_some_and(|page| page.number > asked);
        let room = Arc::clone(&self.room).try_acquire_owned().ok();
        match made {
            Some(page) if is_fresh || room.is_none() => Bytes::from_owner(Hold(page)),
            _ => {
                let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
                let page = Arc::new(Rendering {
                    number,
                    text: render(),
                    _room: room,
                });
                *newest = Arc::downgrade(&page);
                Bytes::from_owner(Hold(page))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn page(renderings: &Renderings, text: &str) -> Bytes {
        renderings
            .page(|| text.to_owned())
            .now_or_never()
            .expect("nobody else renders")
    }

    #[test]
    fn whoever_asks_is_given_a_page_of_now() {
        let renderings = Renderings::default();
        let first = page(&renderings, "1");
        assert_eq!(page(&renderings, "2"), "2");
        assert_eq!(first, "1");
    }

    #[test]
    fn pages_that_nobody_reads_are_few_and_shared() {
        let renderings = Renderings::default();
        let mut unread: Vec<_> = ["1", "2", "3", "4"]
            .map(|text| page(&renderings, text))
            .into();
        for text in ["5", "6"] {
            unread.push(page(&renderings, text));
            assert_eq!(unread.last().unwrap(), "4");
        }
        drop(unread.remove(0));
        assert_eq!(page(&renderings, "7"), "7");
    }

    #[test]
    fn those_who_ask_while_one_is_rendered_share_the_next() {
        let renderings = Renderings::default();
        let busy = renderings.newest.try_lock().unwrap();
        let mut first = Box::pin(renderings.page(|| "1".to_owned()));
        let mut second = Box::pin(renderings.page(|| "2".to_owned()));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        drop(busy);
        let first = first.now_or_never().unwrap();
        assert_eq!(second.now_or_never().unwrap(), first);
    }
}
