//! WebSockets.
//!
//! Promise: nothing is told before a token was shown, in the `Authorization` header or in the first message (a browser
//! can set no header); a token never stands in the address. A newer token of the same user, sent at any time, goes on
//! where the older ends. Whoever does not read is let go.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use gridpost_comms::chat::live::{End, NotHeard};
use gridpost_comms::identity::User;
use http::request::Parts as Head;
use http::{StatusCode, header};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::line::{Farewell, Line, Turn};
use super::{CLOSING, Feed, Ready, told};
use crate::auth::user_token::{authenticate, user};
use crate::communication::Refusal;
use crate::origin::Place;
use crate::{Parts, Shared};

/// The largest message: a token has some 1,000 bytes.
const LARGEST: usize = 16 * 1024;

/// How long a socket may stay without a token: a page sends it at once.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);

/// Sockets without a token: they cost a file each, and anybody can open them.
const UNPROVEN: usize = 128;

/// Room for those who have not shown a token yet.
#[derive(Clone)]
pub(super) struct WaitingRoom(Arc<Semaphore>);

impl Default for WaitingRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNPROVEN)))
    }
}

pub(super) fn open(
    parts: &Shared,
    room: &WaitingRoom,
    upgrade: WebSocketUpgrade,
    head: &Head,
) -> Result<Response, Refusal> {
    let entry = if head.headers.contains_key(header::AUTHORIZATION) {
        let user = authenticate(parts, &head.headers)?;
        Entry::Proven(Box::new(Feed::open(parts, user)?))
    } else {
        let place = Arc::clone(&room.0).try_acquire_owned();
        Entry::Unproven(place.map_err(|_| too_many())?)
    };
    let place = head.extensions.get::<Place>().cloned();
    let parts = Arc::clone(parts);
    Ok(upgrade
        .max_message_size(LARGEST)
        .max_frame_size(LARGEST)
        .on_upgrade(async move |socket| {
            let line = Line::new(&parts, place, socket);
            Box::pin(converse(&parts, line, entry)).await;
        }))
}

fn too_many() -> Refusal {
    Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "TooManyRequests",
        "Too many sockets have not sent a token yet.",
    )
}

enum Entry {
    Proven(Box<Feed>),
    Unproven(OwnedSemaphorePermit),
}

async fn converse(parts: &Shared, mut line: Line, entry: Entry) {
    let (feed, room) = match entry {
        Entry::Proven(feed) => (Ok(*feed), None),
        Entry::Unproven(room) => (admit(parts, &mut line).await, Some(room)),
    };
    // Whoever showed no token takes up room until it is gone.
    let (farewell, _room) = match feed {
        Ok(feed) => {
            drop(room);
            let Err(farewell) = talk(parts, &mut line, feed).await;
            (farewell, None)
        }
        Err(farewell) => (farewell, room),
    };
    line.close(last_words(farewell)).await;
}

/// Waits for the token.
async fn admit(parts: &Shared, line: &mut Line) -> Result<Feed, Farewell> {
    let first = line.words(TOKEN_WITHIN).await?;
    let user = user_of(parts, &first)?;
    Feed::open(parts, user).map_err(refused)
}

/// What clients send.
#[derive(Deserialize)]
struct TokenIn {
    token: String,
}

fn user_of(parts: &Parts, words: &str) -> Result<User, Farewell> {
    let said: TokenIn = serde_json::from_str(words).map_err(|_| Farewell::NotUnderstood)?;
    user(parts, &said.token).map_err(|refusal| match refusal.status() {
        StatusCode::UNAUTHORIZED => Farewell::Unauthorized,
        _ => Farewell::Ended(End::Failing),
    })
}

fn refused(why: NotHeard) -> Farewell {
    tracing::debug!("a user was not let listen: {why}");
    Farewell::NotHeard(why)
}

/// Tells what happens until it is over.
async fn talk(parts: &Parts, line: &mut Line, mut feed: Feed) -> Result<Infallible, Farewell> {
    line.say(ready(&feed)).await?;
    loop {
        match line.turn(feed.next()).await? {
            Turn::Event(event) => {
                let event = String::from_utf8_lossy(&event.json);
                let told = format!(r#"{{"type":"event","event":{event}}}"#);
                line.say(Message::Text(told.into())).await?;
            }
            Turn::Words(words) => {
                feed.renew(user_of(parts, &words)?).map_err(refused)?;
                line.say(ready(&feed)).await?;
            }
            Turn::SignOfLife => line.say(Message::Ping(Bytes::new())).await?,
        }
    }
}

fn ready(feed: &Feed) -> Message {
    Message::Text(Ready::text(feed, Some("ready")).into())
}

/// The close frame. Codes from 4000 to 4999 are for applications (RFC 6455, 7.4.2).
fn last_words(farewell: Farewell) -> Vec<Message> {
    let (code, reason) = match farewell {
        Farewell::Closing => (1001, CLOSING.0),
        Farewell::Ended(end @ End::TooSlow) => (4008, told(end).0),
        Farewell::Ended(end @ End::Failing) => (1011, told(end).0),
        Farewell::Ended(end @ (End::Expired | End::Revoked)) => (4001, told(end).0),
        Farewell::Unauthorized | Farewell::NotHeard(NotHeard::AnotherUser) => {
            (4001, "Unauthorized")
        }
        Farewell::NotHeard(NotHeard::Forbidden) => (4003, "Forbidden"),
        Farewell::NotHeard(NotHeard::TooManyOfUser | NotHeard::TooMany) => {
            (4029, "TooManyRequests")
        }
        Farewell::NotUnderstood => (1008, "NotUnderstood"),
        Farewell::Silent => (1008, "Silent"),
        Farewell::Gone => return Vec::new(),
    };
    vec![Message::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }))]
}
