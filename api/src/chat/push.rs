//! The push connection behind `startRealtimeNotifications` of the JavaScript chat client.
//!
//! Promise: the unmodified client finds it through `/chat/config/realTimeNotifications` and speaks to this server only.
//! It is told what `GET /chat/live` tells, by the same rules.
//! Not here: who is told of what (`comms::chat::live`), what notifications say (`payload`), the packets (`packet`).
//! Source: `@azure/communication-signaling` 1.0.0-beta.34, whose source maps hold the client's side of the protocol.

mod packet;
mod payload;
mod sessions;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::ws::{Message, Utf8Bytes, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json};
use gridpost_comms::chat::live::{End, may_listen};
use gridpost_comms::identity::User;
use http::request::Parts as Head;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::line::{Farewell, Line, Turn};
use super::live::Feed;
use crate::auth::user_token::{UserCall, unauthorized, user};
use crate::communication::Refusal;
use crate::origin::{Place, base_url};
use crate::routes::Routes;
use crate::{Parts, Shared};
use packet::Packet;
use sessions::Sessions;

/// The header with the user's token.
const TOKEN: &str = "x-skypetoken";

/// Where registrations are made, below the address that the client dialled.
const REGISTRAR: &str = "/chat/push";

/// How long either side may be silent, in seconds: more than twice our sign of life.
const SILENCE_SECONDS: u32 = 85;

/// The largest packet: the answer to a notification has some 300 bytes.
const LARGEST: usize = 64 * 1024;

/// All of it.
pub(super) fn routes() -> Routes {
    let registrations = format!("{REGISTRAR}/v3/registrations");
    Routes::new()
        .route("/chat/config/realTimeNotifications", get(config))
        .route("/v4/a", post(allocate))
        .route("/socket.io/1", get(handshake))
        .route("/socket.io/1/websocket/{session}", get(connect))
        .route(&registrations, post(register))
        .route(&format!("{registrations}/{{id}}"), delete(unregister))
        .layer(Extension(Arc::<Sessions>::default()))
}

/// Where the client finds the rest: here.
async fn config(State(parts): State<Shared>, head: Head, _: UserCall) -> Json<Value> {
    let base = base_url(&parts, &head);
    Json(json!({
        "trouterServiceUrl": base,
        "registrarServiceUrl": format!("{base}{REGISTRAR}"),
        "cloudType": "Public",
    }))
}

fn user_of(parts: &Parts, headers: &HeaderMap) -> Result<User, Refusal> {
    let token = headers.get(TOKEN).and_then(|token| token.to_str().ok());
    user(parts, token.ok_or_else(unauthorized)?)
}

/// Seconds until a token ends.
fn left(parts: &Parts, user: &User) -> u64 {
    user.expires.since(parts.clock.wall()).as_secs()
}

/// Gives a client the address of its connection. Nothing is kept: the connection itself is made next.
async fn allocate(State(parts): State<Shared>, head: Head) -> Result<Json<Value>, Refusal> {
    let user = user_of(&parts, &head.headers)?;
    let base = base_url(&parts, &head);
    let id = parts.chance.uuid();
    let url = format!("{base}/v4/f/{id}/");
    Ok(Json(json!({
        "id": id,
        "ccid": id,
        "url": url,
        "surl": url,
        "curlb": base,
        "socketio": format!("{base}/"),
        "connectparams": {},
        "ttl": left(&parts, &user).to_string(),
    })))
}

/// Lets the client connect once with the session it is given. A browser's WebSocket carries no header, so the token is
/// shown here.
async fn handshake(
    State(parts): State<Shared>,
    Extension(sessions): Extension<Arc<Sessions>>,
    head: Head,
) -> Result<Response, Refusal> {
    let user = user_of(&parts, &head.headers)?;
    may_listen(&user)?;
    let session = sessions.open(user, parts.clock.wall(), &*parts.chance);
    let session = session.ok_or_else(|| {
        let message = "Too many connections are being made at this moment.";
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    })?;
    let text = format!("{session}:{SILENCE_SECONDS}:{SILENCE_SECONDS}:websocket");
    Ok(([(header::CACHE_CONTROL, "no-store")], text).into_response())
}

/// Registrations are taken as said: whoever is connected is told.
async fn register(State(parts): State<Shared>, head: Head) -> Result<StatusCode, Refusal> {
    user_of(&parts, &head.headers).map(|_| StatusCode::ACCEPTED)
}

async fn unregister(
    State(parts): State<Shared>,
    Path(_): Path<String>,
    head: Head,
) -> Result<StatusCode, Refusal> {
    user_of(&parts, &head.headers).map(|_| StatusCode::NO_CONTENT)
}

async fn connect(
    State(parts): State<Shared>,
    Extension(sessions): Extension<Arc<Sessions>>,
    Path(session): Path<String>,
    head: Head,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    let user = sessions.take(&session, parts.clock.wall());
    let feed = Feed::open(&parts, user.ok_or_else(unauthorized)?)?;
    let place = head.extensions.get::<Place>().cloned();
    Ok(upgrade
        .max_message_size(LARGEST)
        .max_frame_size(LARGEST)
        .on_upgrade(async move |socket| {
            let mut line = Line::new(&parts, place, socket);
            let Err(farewell) = Box::pin(talk(&parts, &mut line, feed)).await;
            line.close(last_words(farewell)).await;
        }))
}

async fn talk(parts: &Parts, line: &mut Line, mut feed: Feed) -> Result<Infallible, Farewell> {
    let connected = json!({"dur": "0", "ttl": left(parts, feed.user()).to_string()});
    line.say(packet(packet::CONNECT)).await?;
    line.say(packet(packet::event("trouter.connected", &connected)))
        .await?;
    let mut number = 0_u64;
    loop {
        match line.turn(feed.next()).await? {
            Turn::Event(event) => {
                if let Some(body) = payload::of(&event, &feed.user().id) {
                    number += 1;
                    line.say(packet(notification(number, &body))).await?;
                }
            }
            Turn::Words(words) => match Packet::read(&words) {
                Some(Packet::Event {
                    acknowledge: Some(event),
                }) => line.say(packet(packet::acknowledgement(event))).await?,
                Some(Packet::Event { .. } | Packet::Other) => (),
                Some(Packet::Disconnect) => return Err(Farewell::Gone),
                None => return Err(Farewell::NotUnderstood),
            },
            Turn::SignOfLife => line.say(packet(packet::HEARTBEAT)).await?,
        }
    }
}

fn packet(text: impl Into<Utf8Bytes>) -> Message {
    Message::Text(text.into())
}

/// A notification is a request that the client answers.
fn notification(number: u64, body: &Value) -> String {
    packet::message(&json!({
        "id": number,
        "method": "POST",
        "url": "/v4/f/notification",
        "headers": {},
        "body": body.to_string(),
    }))
}

/// Tells the client why it is over, so that it comes back with another token or to another server. Whoever broke the
/// rules, or is not there, is told nothing.
fn last_words(farewell: Farewell) -> Vec<Message> {
    let last = match farewell {
        Farewell::Ended(End::Expired | End::Revoked) => packet::UNAUTHORIZED,
        Farewell::Ended(End::TooSlow | End::Failing) | Farewell::Closing => packet::DISCONNECT,
        _ => return Vec::new(),
    };
    vec![packet(last), Message::Close(None)]
}
