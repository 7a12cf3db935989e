//! Two users and a thread between them, made with the calls that any client makes: where the bench and the crash test
//! talk.
//!
//! Not here: how fast that is (`bench::chat`), whether all of it is kept (`crash::talk`).

use anyhow::Context as _;
use gridpost_model::Timestamp;
use http::Method;
use serde_json::{Value, json};

use crate::client::Client;

const IDENTITY_VERSION: &str = "2023-10-01";
const CHAT_VERSION: &str = "2025-03-15";

/// The types of the events that a message raises: one for each other member, and one for the thread.
pub(crate) const OF_A_MESSAGE: [&str; 2] = [
    "Microsoft.Communication.ChatMessageReceived",
    "Microsoft.Communication.ChatMessageReceivedInThread",
];

/// A thread of two members.
pub(crate) struct Conversation {
    /// The token of the one who made the thread.
    pub(crate) token: String,
    /// The token of the other.
    pub(crate) other_token: String,
    /// The thread's id, as it stands in a path.
    thread: String,
}

impl Conversation {
    /// Makes the users and the thread. Their tokens hold for a day.
    pub(crate) async fn begin(client: &Client, now: Timestamp) -> anyhow::Result<Self> {
        let keys = client
            .connection_string()
            .await
            .map_err(|failure| failure.error)?;
        let (_, token) = somebody(client, &keys, now).await?;
        let (other, other_token) = somebody(client, &keys, now).await?;
        let identifier = json!({ "rawId": other, "communicationUser": { "id": other } });
        let wanted = json!({
            "topic": "between two",
            "participants": [{ "communicationIdentifier": identifier, "displayName": "Bob" }],
        });
        let path = format!("/chat/threads?api-version={CHAT_VERSION}");
        let made = client
            .as_user(&token, Method::POST, &path, Some(&wanted))
            .await
            .map_err(|failure| failure.error)?;
        let thread = text(&made["chatThread"]["id"])?;
        Ok(Self {
            token,
            other_token,
            thread: thread.replace(':', "%3A").replace('@', "%40"),
        })
    }

    /// Where messages are sent to.
    pub(crate) fn messages(&self) -> String {
        let thread = &self.thread;
        format!("/chat/threads/{thread}/messages?api-version={CHAT_VERSION}")
    }

    /// Where the newest messages are, that many a page.
    pub(crate) fn newest(&self, page_size: usize) -> String {
        format!("{}&maxPageSize={page_size}", self.messages())
    }
}

async fn somebody(client: &Client, keys: &str, now: Timestamp) -> anyhow::Result<(String, String)> {
    let path = format!("/identities?api-version={IDENTITY_VERSION}");
    let wanted = json!({ "createTokenWithScopes": ["chat"] });
    let made = client
        .signed(keys, &now.http_date(), &path, &wanted)
        .await
        .map_err(|failure| failure.error)?;
    Ok((
        text(&made["identity"]["id"])?,
        text(&made["accessToken"]["token"])?,
    ))
}

/// The path of the page behind this one; `None` behind the last.
pub(crate) fn next_page(page: &Value) -> Option<String> {
    let (_, address) = page["nextLink"].as_str()?.split_once("://")?;
    Some(address[address.find('/')?..].to_owned())
}

fn text(value: &Value) -> anyhow::Result<String> {
    let text = value.as_str().context("an answer lacks a text")?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_at_the_path_of_its_link() {
        let page = json!({ "value": [], "nextLink": "http://127.0.0.1:8480/chat/threads/t/messages?continueAt=7" });
        assert_eq!(
            next_page(&page).as_deref(),
            Some("/chat/threads/t/messages?continueAt=7")
        );
        assert_eq!(next_page(&json!({ "value": [] })), None);
    }
}
