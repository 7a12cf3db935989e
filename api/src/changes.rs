//! Changes, seen through to their end.
//!
//! Promise: a change that was begun ends, with the row that tells of it, also when whoever asked for it has hung up; so
//! many are under way at most, and a server that stops waits for them.
//! Not here: what is changed (`grid`, `comms`), what is written down about it (`audit`).

use std::sync::Arc;

use gridpost_grid::Spawn;
use tokio::sync::{Semaphore, oneshot};

/// How many are under way at most. One may wait more than a minute for somebody's endpoint, and has a body of up to
/// 4 MiB; whoever comes later waits, and stops waiting when it hangs up.
const AT_ONCE: u32 = 1_024;

/// Changes under way. Cheap to clone; all clones are the same ones.
#[derive(Clone)]
pub struct Changes {
    spawn: Spawn,
    places: Arc<Semaphore>,
}

impl Changes {
    /// None yet; `spawn` starts their tasks.
    pub fn new(spawn: Spawn) -> Self {
        Self {
            spawn,
            places: Arc::new(Semaphore::new(AT_ONCE as usize)),
        }
    }

    /// Does something to its end, whether or not anybody waits for it. `None` when it failed on the way.
    pub(crate) async fn see_through<T: Send + 'static>(
        &self,
        change: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let (answer, answered) = oneshot::channel();
        let task = async move {
            // Nobody listening means that the client has gone; what was done stands all the same.
            let _ = answer.send(change.await);
            drop(place);
        };
        (self.spawn)("change", Box::pin(task));
        answered.await.ok()
    }

    /// Waits until none is under way.
    pub async fn ended(&self) {
        // Cannot fail: nobody closes it.
        let _ = self.places.acquire_many(AT_ONCE).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn changes() -> Changes {
        Changes::new(Arc::new(|_, task| {
            tokio::spawn(task);
        }))
    }

    #[tokio::test]
    async fn what_was_begun_ends_without_anybody_and_is_waited_for() {
        let changes = changes();
        let (go, may_go) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let mut asked = Box::pin(changes.see_through(async move {
            may_go.await.unwrap();
            done.send(()).unwrap();
        }));
        assert!((&mut asked).now_or_never().is_none());
        drop(asked);
        tokio::task::yield_now().await;
        assert!(changes.ended().now_or_never().is_none());
        go.send(()).unwrap();
        changes.ended().await;
        is_done.await.unwrap();
    }

    #[tokio::test]
    async fn more_than_there_is_room_for_wait() {
        let changes = changes();
        let many: Vec<_> = (0..AT_ONCE)
            .map(|_| Box::pin(changes.see_through(std::future::pending::<()>())))
            .collect();
        for one in many {
            assert!(one.now_or_never().is_none());
        }
        let begun = changes.see_through(async { unreachable!("there is no place for it") });
        assert!(begun.now_or_never().is_none());
        tokio::task::yield_now().await;
    }
}
