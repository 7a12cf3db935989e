//! What was said in the thread, what its senders were told, and which events told of it.
//!
//! Promise: a message without one of its events, an event without its message, and a second event for one of them are
//! each found, whether or not the sender was answered.
//! Not here: everything else that is published (`ledger`).

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Context as _;
use http::Method;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::ledger::{EXAMPLES, repeated};
use crate::client::Client;
use crate::conversation::{Conversation, OF_A_MESSAGE, next_page};

/// The most that a page has.
const PAGE: usize = 200;

/// The part of the ledger that is about chat.
#[derive(Default)]
pub(super) struct Talk(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// What the senders were told is kept: the text by the id of its message.
    acknowledged: HashMap<String, String>,
    /// Every event that arrived, by the message it names.
    told: HashMap<String, Vec<Told>>,
}

/// One arrival of one event.
struct Told {
    kind: String,
    event: String,
    text: String,
    life: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatReport {
    /// Messages in the thread at the end.
    pub messages: usize,
    /// Messages that their senders were told are kept.
    pub acknowledged: usize,
    /// What of that is not in the thread, or says something else there.
    pub lost: usize,
    /// Messages in the thread of which one of the two events did not arrive.
    pub messages_without_events: usize,
    /// Messages that are named by an event, but not in the thread, or not so.
    pub events_without_message: usize,
    /// Messages of which there were two events of one type, and not one twice.
    pub told_twice: usize,
    /// Some of all these, by id.
    pub examples: Vec<String>,
    /// Arrivals of an event beyond the first.
    pub duplicates: usize,
    /// Arrivals of an event beyond the first within one life of the server; there must be none.
    pub duplicates_without_kill: usize,
}

impl ChatReport {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.lost == 0
            && self.messages_without_events == 0
            && self.events_without_message == 0
            && self.told_twice == 0
            && self.duplicates_without_kill == 0
    }
}

/// Whether an event tells of chat.
pub(super) fn is_of_chat(event: &Value) -> bool {
    let kind = event["eventType"].as_str().unwrap_or_default();
    kind.starts_with("Microsoft.Communication.Chat")
}

impl Talk {
    /// A sender was told that this message is kept.
    pub(super) fn acknowledge(&self, message: String, text: String) {
        self.0.lock().acknowledged.insert(message, text);
    }

    /// An event arrived, sent in that life.
    pub(super) fn arrive(&self, event: &Value, life: u32) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = Told {
            kind: text(&event["eventType"]),
            event: text(&event["id"]),
            text: text(&event["data"]["messageBody"]),
            life,
        };
        let message = text(&event["data"]["messageId"]);
        self.0.lock().told.entry(message).or_default().push(told);
    }

    /// Holds everything that was heard against the texts in the thread, by the ids of their messages.
    pub(super) fn report(&self, thread: &BTreeMap<String, String>) -> ChatReport {
        let book = self.0.lock();
        let none = Vec::new();
        let of = |message: &str| book.told.get(message).unwrap_or(&none);
        let lost = names(&book.acknowledged, |message, text| {
            thread.get(message) != Some(text)
        });
        let without_events = names(thread, |message, _| {
            OF_A_MESSAGE
                .iter()
                .any(|kind| events(of(message), kind) == 0)
        });
        let told_twice = names(&book.told, |_, told| {
            OF_A_MESSAGE.iter().any(|kind| 1 < events(told, kind))
        });
        let without_message = names(&book.told, |message, told| {
            let text = thread.get(message);
            told.iter().any(|one| Some(&one.text) != text)
        });
        let (mut duplicates, mut duplicates_without_kill) = (0, 0);
        for told in book.told.values() {
            let mut lives: HashMap<&str, Vec<u32>> = HashMap::new();
            for one in told {
                lives.entry(&one.event).or_default().push(one.life);
            }
            duplicates += told.len() - lives.len();
            duplicates_without_kill += lives.values().map(|lives| repeated(lives)).sum::<usize>();
        }
        ChatReport {
            messages: thread.len(),
            acknowledged: book.acknowledged.len(),
            lost: lost.len(),
            messages_without_events: without_events.len(),
            events_without_message: without_message.len(),
            told_twice: told_twice.len(),
            examples: [lost, without_events, without_message, told_twice]
                .into_iter()
                .flatten()
                .take(EXAMPLES)
                .cloned()
                .collect(),
            duplicates,
            duplicates_without_kill,
        }
    }
}

fn names<'a, T>(
    book: impl IntoIterator<Item = (&'a String, &'a T)>,
    is: impl Fn(&str, &T) -> bool,
) -> Vec<&'a String>
where
    T: 'a,
{
    let wanted = book.into_iter().filter(|(name, entry)| is(name, entry));
    wanted.map(|(name, _)| name).collect()
}

/// How many different events of that type there are.
fn events(told: &[Told], kind: &str) -> usize {
    let of_kind = told.iter().filter(|one| one.kind == kind);
    of_kind.map(|one| &one.event).collect::<HashSet<_>>().len()
}

/// Everything that was said in the thread: the texts by the ids of their messages.
pub(super) async fn said(
    client: &Client,
    conversation: &Conversation,
) -> anyhow::Result<BTreeMap<String, String>> {
    let (mut said, mut next) = (BTreeMap::new(), Some(conversation.newest(PAGE)));
    while let Some(path) = next {
        let page = client
            .as_user(&conversation.token, Method::GET, &path, None)
            .await
            .map_err(|failure| failure.error)?;
        let messages = page["value"].as_array().context("a page has no messages")?;
        for message in messages.iter().filter(|message| message["type"] == "text") {
            let text = message["content"]["message"].as_str().unwrap_or_default();
            let id = message["id"].as_str().context("a message has no id")?;
            said.insert(id.to_owned(), text.to_owned());
        }
        next = next_page(&page);
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, id: &str, message: &str, text: &str) -> Value {
        json!({ "eventType": kind, "id": id, "data": { "messageId": message, "messageBody": text } })
    }

    fn thread(messages: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(id, text): &(&str, &str)| ((*id).to_owned(), (*text).to_owned());
        messages.iter().map(owned).collect()
    }

    #[test]
    fn a_message_with_both_of_its_events_is_clean_even_when_a_kill_repeats_one() {
        let talk = Talk::default();
        talk.acknowledge("1".to_owned(), "hello".to_owned());
        talk.arrive(&event(OF_A_MESSAGE[0], "a", "1", "hello"), 0);
        talk.arrive(&event(OF_A_MESSAGE[1], "b", "1", "hello"), 0);
        talk.arrive(&event(OF_A_MESSAGE[0], "a", "1", "hello"), 1);
        let report = talk.report(&thread(&[("1", "hello")]));
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.duplicates, 1);
        talk.arrive(&event(OF_A_MESSAGE[0], "a", "1", "hello"), 1);
        let report = talk.report(&thread(&[("1", "hello")]));
        assert_eq!(report.duplicates_without_kill, 1);
    }

    #[test]
    fn each_broken_promise_is_found() {
        let talk = Talk::default();
        talk.acknowledge("1".to_owned(), "lost".to_owned());
        // Nobody was answered about the second message, and one of its events is missing.
        talk.arrive(&event(OF_A_MESSAGE[0], "a", "2", "half"), 0);
        talk.arrive(&event(OF_A_MESSAGE[0], "b", "3", "no message"), 0);
        talk.arrive(&event(OF_A_MESSAGE[0], "c", "4", "twice"), 0);
        talk.arrive(&event(OF_A_MESSAGE[0], "d", "4", "twice"), 1);
        talk.arrive(&event(OF_A_MESSAGE[1], "e", "4", "twice"), 1);
        let report = talk.report(&thread(&[("2", "half"), ("4", "twice")]));
        assert_eq!(
            report,
            ChatReport {
                messages: 2,
                acknowledged: 1,
                lost: 1,
                messages_without_events: 1,
                events_without_message: 1,
                told_twice: 1,
                examples: ["1", "2", "3", "4"].map(str::to_owned).into(),
                duplicates: 0,
                duplicates_without_kill: 0,
            }
        );
        assert!(!report.is_clean());
    }

    #[test]
    fn an_event_that_says_something_else_is_one_without_its_message() {
        let talk = Talk::default();
        talk.arrive(&event(OF_A_MESSAGE[0], "a", "1", "other"), 0);
        let report = talk.report(&thread(&[("1", "hello")]));
        assert_eq!(report.events_without_message, 1);
    }
}
