//! `GET /chat/live`: a user's chat as it happens, as a WebSocket or as server-sent events. Ours; the service has none.
//!
//! Promise: what is told is what a webhook would get, and only what concerns the user of the token. Whoever is let go
//! hears why. Nobody who listens holds a server that closes.
//! Not here: who is told of what (`comms::chat::live`), the service's own push (`push`). Documented in docs/chat.md.

mod socket;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use axum::routing::get;
use gridpost_comms::chat::live::{End, Heard, Listening, NotHeard};
use gridpost_comms::identity::User;
use gridpost_model::{Event, Timestamp};
use http::request::Parts as Head;
use http::{StatusCode, header};
use serde::Serialize;

use crate::Shared;
use crate::auth::user_token::{forbidden, unauthorized};
use crate::communication::Refusal;
use crate::routes::Routes;
use socket::WaitingRoom;

/// How often we show that we are there, and look whether the other side is, whatever else is said: below the minute after
/// which proxies give up. Being told something is no answer, so events do not put it off.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// `/chat/live`.
pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/chat/live", get(listen))
        .layer(Extension(WaitingRoom::default()))
}

async fn listen(
    State(parts): State<Shared>,
    Extension(room): Extension<WaitingRoom>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    head: Head,
) -> Result<Response, Refusal> {
    match upgrade {
        Ok(upgrade) => socket::open(&parts, &room, upgrade, &head),
        Err(rejection) if head.headers.contains_key(header::UPGRADE) => {
            Err(Refusal::bad_request(rejection.body_text()))
        }
        Err(_) => stream::open(&parts, &head),
    }
}

/// What a user hears, with the signs of life in between.
pub(super) struct Feed {
    parts: Shared,
    listening: Listening,
    next_sign: Timestamp,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Beat {
    /// Something happened.
    Event(Arc<Event>),
    /// It is time to show that we are there.
    SignOfLife,
    /// There is nothing more to hear.
    Ended(End),
    /// The server closes.
    Closing,
}

/// The code and the words for a server that closes.
const CLOSING: (&str, &str) = ("ServerClosing", "The server is closing.");

/// The code and the words of an end.
const fn told(end: End) -> (&'static str, &'static str) {
    match end {
        End::Expired => ("TokenExpired", "The token has expired."),
        End::Revoked => (
            "TokenRevoked",
            "The token was revoked, or its user is gone.",
        ),
        End::TooSlow => (
            "TooSlow",
            "Events came faster than they were read. List what was missed.",
        ),
        End::Failing => (
            "Failing",
            "The server cannot read its store at this moment. Please try again.",
        ),
    }
}

impl Feed {
    /// Listens from now on.
    pub(super) fn open(parts: &Shared, user: User) -> Result<Self, NotHeard> {
        Ok(Self {
            listening: parts.comms.listen(user)?,
            next_sign: parts.clock.wall() + SIGN_OF_LIFE,
            parts: Arc::clone(parts),
        })
    }

    pub(super) fn user(&self) -> &User {
        self.listening.user()
    }

    /// Goes on with a newer token of the same user.
    pub(super) fn renew(&mut self, user: User) -> Result<(), NotHeard> {
        self.listening.renew(user)
    }

    /// Can be given up at any moment; nothing is lost by it.
    pub(super) async fn next(&mut self) -> Beat {
        let clock = &*self.parts.clock;
        tokio::select! {
            heard = self.listening.next() => match heard {
                Heard::Event(event) => Beat::Event(event),
                Heard::End(end) => Beat::Ended(end),
            },
            () = self.parts.closing.begun() => Beat::Closing,
            () = clock.linger(self.next_sign.since(clock.wall())) => {
                self.next_sign = clock.wall() + SIGN_OF_LIFE;
                Beat::SignOfLife
            }
        }
    }
}

impl From<NotHeard> for Refusal {
    fn from(not_heard: NotHeard) -> Self {
        tracing::debug!("a user was not let listen: {not_heard}");
        match not_heard {
            NotHeard::Forbidden => forbidden(),
            NotHeard::AnotherUser => unauthorized(),
            NotHeard::TooManyOfUser | NotHeard::TooMany => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                not_heard.to_string(),
            ),
        }
    }
}

/// The first thing a listener hears: from now on nothing is missed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    user: &'a str,
    expires_on: Timestamp,
}

impl<'a> Ready<'a> {
    fn text(feed: &'a Feed, r#type: Option<&'static str>) -> String {
        let ready = Self {
            r#type,
            user: feed.user().id.as_str(),
            expires_on: feed.user().expires,
        };
        serde_json::to_string(&ready).unwrap_or_default()
    }
}
