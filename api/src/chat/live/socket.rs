//! WebSockets.
//!
//! Promise: nothing is told before a token was shown, in the `Authorization` header or in the first message (a browser
//! can set no header); a token never stands in the address. A newer token of the same user, sent at any time, goes on
//! where the older ends. Whoever does not read is let go.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use gridpost_comms::chat::live::NotHeard;
use gridpost_comms::identity::User;
use http::request::Parts as Head;
use http::{StatusCode, header};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Beat, Feed, Over, Ready};
use crate::auth::user_token::authenticate;
use crate::communication::Refusal;
use crate::origin::Place;
use crate::{Parts, Shared};

/// The largest message: a token has some 1,000 bytes.
const LARGEST: usize = 16 * 1024;

/// How long a socket may stay without a token: a page sends it at once.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);

/// Sockets without a token: they cost a file each, and anybody can open them.
const UNPROVEN: usize = 128;

/// How long one message may take to be read by the other side's system.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// The same for the last words of a server that closes.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// Room for those who have not shown a token yet.
#[derive(Clone)]
pub(super) struct WaitingRoom(Arc<Semaphore>);

impl Default for WaitingRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNPROVEN)))
    }
}

/// The other side is not there, or does not read.
#[derive(Clone, Copy, Debug)]
pub(in crate::chat) struct Gone;

impl From<Gone> for Farewell {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// How a conversation ends.
#[derive(Clone, Copy, Debug)]
enum Farewell {
    Over(Over),
    NotHeard(NotHeard),
    /// The token is not good.
    Unauthorized,
    /// The other side said something that means nothing here.
    NotUnderstood,
    /// The other side did not say what it had to, or does not answer.
    Silent,
    /// There is nobody to say it to.
    Gone,
}

impl Farewell {
    /// The code and the words of the close frame. 4000 to 4999 are for applications (RFC 6455, 7.4.2).
    const fn frame(self) -> Option<(u16, &'static str)> {
        Some(match self {
            Self::Over(Over::Closing) => (1001, Over::Closing.code()),
            Self::Over(Over::TooSlow) => (4008, Over::TooSlow.code()),
            Self::Over(over) => (4001, over.code()),
            Self::Unauthorized => (4001, "Unauthorized"),
            Self::NotHeard(NotHeard::Forbidden) => (4003, "Forbidden"),
            Self::NotHeard(_) => (4029, "TooManyRequests"),
            Self::NotUnderstood => (1008, "NotUnderstood"),
            Self::Silent => (1008, "Silent"),
            Self::Gone => return None,
        })
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
    let parts = Arc::clone(parts);
    let place = head.extensions.get::<Place>().cloned();
    Ok(upgrade
        .max_message_size(LARGEST)
        .max_frame_size(LARGEST)
        .on_upgrade(async move |mut socket| {
            let farewell = Box::pin(converse(&parts, &mut socket, entry)).await;
            close(&parts, socket, farewell).await;
            drop(place);
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

async fn converse(parts: &Shared, socket: &mut WebSocket, entry: Entry) -> Farewell {
    let feed = match entry {
        Entry::Proven(feed) => Ok(*feed),
        Entry::Unproven(_place) => admit(parts, socket).await,
    };
    match feed {
        Ok(feed) => {
            let Err(farewell) = talk(parts, socket, feed).await;
            farewell
        }
        Err(farewell) => farewell,
    }
}

/// Waits for the token.
async fn admit(parts: &Shared, socket: &mut WebSocket) -> Result<Feed, Farewell> {
    let deadline = parts.clock.doze_until(parts.clock.now() + TOKEN_WITHIN);
    let first = tokio::select! {
        first = first_words(socket) => first?,
        () = deadline => return Err(Farewell::Silent),
        () = parts.closing.begun() => return Err(Farewell::Over(Over::Closing)),
    };
    let user = user_of(parts, &first)?;
    Feed::open(parts, user).map_err(Farewell::NotHeard)
}

async fn first_words(socket: &mut WebSocket) -> Result<String, Farewell> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(Ok(Message::Binary(_))) => return Err(Farewell::NotUnderstood),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => (),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Farewell::Gone),
        }
    }
}

/// What clients send.
#[derive(Deserialize)]
struct TokenIn {
    token: String,
}

fn user_of(parts: &Parts, words: &str) -> Result<User, Farewell> {
    let said: TokenIn = serde_json::from_str(words).map_err(|_| Farewell::NotUnderstood)?;
    let user = parts.comms.user_of(&said.token);
    user.map_err(|_| Farewell::Unauthorized)
}

/// Tells what happens until it is over.
async fn talk(
    parts: &Shared,
    socket: &mut WebSocket,
    mut feed: Feed,
) -> Result<Infallible, Farewell> {
    let mut answered = true;
    say(parts, socket, ready(&feed)).await?;
    loop {
        tokio::select! {
            beat = feed.next() => match beat {
                Beat::Event(event) => {
                    let event = String::from_utf8_lossy(&event.json);
                    say(parts, socket, text(format!(r#"{{"type":"event","event":{event}}}"#))).await?;
                }
                Beat::SignOfLife if answered => {
                    answered = false;
                    say(parts, socket, Message::Ping(bytes::Bytes::new())).await?;
                }
                Beat::SignOfLife => return Err(Farewell::Silent),
                Beat::Over(over) => return Err(Farewell::Over(over)),
            },
            received = socket.recv() => {
                answered = true;
                match received {
                    Some(Ok(Message::Text(words))) => {
                        if !feed.renew(user_of(parts, &words)?) {
                            return Err(Farewell::Unauthorized);
                        }
                        say(parts, socket, ready(&feed)).await?;
                    }
                    Some(Ok(Message::Binary(_))) => return Err(Farewell::NotUnderstood),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => (),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Farewell::Gone),
                }
            }
        }
    }
}

fn ready(feed: &Feed) -> Message {
    text(Ready::text(feed, Some("ready")))
}

fn text(text: String) -> Message {
    Message::Text(text.into())
}

/// Says something to somebody who reads.
///
/// # Errors
/// Nobody reads it, or not yet and the server closes.
pub(in crate::chat) async fn say(
    parts: &Parts,
    socket: &mut WebSocket,
    message: Message,
) -> Result<(), Gone> {
    let clock = &*parts.clock;
    tokio::select! {
        biased;
        said = socket.send(message) => said.map_err(|_| Gone),
        () = clock.doze_until(clock.now() + TAKEN_WITHIN) => Err(Gone),
        () = parts.closing.begun() => Err(Gone),
    }
}

/// Says why it is over, and waits a moment for the other side to have heard it.
async fn close(parts: &Parts, mut socket: WebSocket, farewell: Farewell) {
    let Some((code, reason)) = farewell.frame() else {
        return;
    };
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let heard = async {
        let last = Message::Close(Some(frame));
        if socket.send(last).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let patience = async {
        let clock = &*parts.clock;
        tokio::select! {
            () = clock.doze_until(clock.now() + TAKEN_WITHIN) => return,
            () = parts.closing.begun() => (),
        }
        clock.doze_until(clock.now() + LAST_WORDS_WITHIN).await;
    };
    tokio::select! {
        () = heard => (),
        () = patience => (),
    }
}
