//! The news that the server is about to stop, for requests that wait for something that may never come.
//!
//! Promise: whoever waits with it is let go as soon as the drain begins, so that streams and long polls do not hold it.

use tokio::sync::watch;

/// Tells that the server is about to stop. Cheap to clone; all clones tell the same.
#[derive(Clone, Debug)]
pub struct Closing(watch::Sender<bool>);

impl Default for Closing {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Closing {
    /// The drain begins.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Ends when the drain begins; at once when it has.
    pub async fn begun(&self) {
        // Cannot fail: the sender is here.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn whoever_waits_is_told_and_whoever_comes_later_too() {
        let closing = Closing::default();
        let mut waiting = Box::pin(closing.begun());
        assert_eq!((&mut waiting).now_or_never(), None);
        closing.clone().begin();
        assert_eq!(waiting.now_or_never(), Some(()));
        assert_eq!(closing.begun().now_or_never(), Some(()));
    }
}
