//! Subscriptions and the messages that wait for the browser.
//!
//! Promise: a message waits until the browser acknowledged it, and comes again at the next connection. A newer one with the
//! same topic replaces it (RFC 8030, section 5.4).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::Sender;

/// A browser that is off has this many messages waiting; no test has more.
const MAX_WAITING: usize = 16;

/// One message, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: Option<String>,
    /// By which the browser acknowledges it.
    pub(crate) version: String,
    pub(crate) data: Vec<u8>,
}

/// A message with the channel it is for.
pub(crate) type Addressed = (String, Message);

/// All subscriptions of the one browser.
#[derive(Default)]
pub(crate) struct Channels(Mutex<State>);

#[derive(Default)]
struct State {
    channels: HashMap<String, Channel>,
    browser: Option<Sender<Addressed>>,
    versions: u64,
}

#[derive(Default)]
struct Channel {
    key: Option<Vec<u8>>,
    waiting: Vec<Message>,
}

impl Channels {
    /// The browser subscribed; `key` is the only one that may push.
    pub(crate) fn register(&self, channel: &str, key: Option<Vec<u8>>) {
        let waiting = Vec::new();
        let new = Channel { key, waiting };
        self.state().channels.insert(channel.to_owned(), new);
    }

    /// The browser does not want any more.
    pub(crate) fn unregister(&self, channel: &str) {
        self.state().channels.remove(channel);
    }

    /// The key of a subscription, if there is the subscription; it may have none.
    #[expect(
        clippy::option_option,
        reason = "no subscription, and one without a key, are different answers"
    )]
    pub(crate) fn key(&self, channel: &str) -> Option<Option<Vec<u8>>> {
        Some(self.state().channels.get(channel)?.key.clone())
    }

    /// Keeps a message and sends it on if the browser is there. The name that it got; none if too many wait.
    pub(crate) fn put(
        &self,
        channel: &str,
        message: impl FnOnce(String) -> Message,
    ) -> Option<String> {
        let mut state = self.state();
        let version = (state.versions + 1).to_string();
        let message = message(version.clone());
        let waiting = &mut state.channels.get_mut(channel)?.waiting;
        waiting.retain(|older| older.topic.is_none() || older.topic != message.topic);
        if waiting.len() >= MAX_WAITING {
            return None;
        }
        waiting.push(message.clone());
        state.versions += 1;
        if let Some(browser) = &state.browser {
            // If its connection is slow or gone, the message waits here for the next one.
            let _ = browser.try_send((channel.to_owned(), message));
        }
        Some(version)
    }

    /// The browser said that it has this one.
    pub(crate) fn acknowledge(&self, channel: &str, version: &str) {
        if let Some(channel) = self.state().channels.get_mut(channel) {
            channel.waiting.retain(|it| it.version != version);
        }
    }

    /// The browser is there: messages go to `browser` from now on. What waits already is returned.
    pub(crate) fn attach(&self, browser: Sender<Addressed>) -> Vec<Addressed> {
        let mut state = self.state();
        state.browser = Some(browser);
        let of = |(name, channel): (&String, &Channel)| {
            let messages = channel.waiting.iter();
            messages
                .map(|message| (name.clone(), message.clone()))
                .collect::<Vec<_>>()
        };
        state.channels.iter().flat_map(of).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::*;

    fn message(topic: Option<&str>, text: &str) -> impl FnOnce(String) -> Message {
        move |version| Message {
            topic: topic.map(str::to_owned),
            version,
            data: text.into(),
        }
    }

    fn waiting(channels: &Channels) -> Vec<String> {
        let texts = channels.attach(channel(1).0).into_iter();
        texts
            .map(|(_, message)| String::from_utf8(message.data).unwrap())
            .collect()
    }

    #[test]
    fn section_5_4_a_newer_message_replaces_the_older_of_its_topic() {
        let channels = Channels::default();
        channels.register("a", None);
        channels.put("a", message(Some("one"), "older")).unwrap();
        channels.put("a", message(Some("two"), "other")).unwrap();
        channels.put("a", message(None, "plain")).unwrap();
        channels.put("a", message(None, "plain")).unwrap();
        channels.put("a", message(Some("one"), "newer")).unwrap();
        assert_eq!(waiting(&channels), ["other", "plain", "plain", "newer"]);
    }

    #[test]
    fn a_message_waits_until_the_browser_has_it() {
        let channels = Channels::default();
        channels.register("a", None);
        let version = channels.put("a", message(None, "hello")).unwrap();
        let (browser, mut arrived) = channel(1);
        assert_eq!(channels.attach(browser).len(), 1);
        channels.acknowledge("a", &version);
        let version = channels.put("a", message(None, "again")).unwrap();
        assert_eq!(arrived.try_recv().unwrap().1.version, version);
        assert_eq!(waiting(&channels), ["again"]);
    }

    #[test]
    fn nothing_is_kept_for_nobody_or_without_end() {
        let channels = Channels::default();
        assert_eq!(channels.put("a", message(None, "")), None);
        channels.register("a", None);
        for _ in 0..MAX_WAITING {
            channels.put("a", message(None, "")).unwrap();
        }
        assert_eq!(channels.put("a", message(None, "")), None);
        channels.unregister("a");
        assert_eq!(channels.key("a"), None);
    }
}
