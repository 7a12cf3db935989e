//! Server-sent events.
//!
//! Promise: the first is `ready`, the last is `end` and says why; in between are `event`s and, now and then, comments.

use std::convert::Infallible;

use axum::response::sse::{Event as Line, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use http::request::Parts as Head;
use serde_json::json;

use super::{Beat, CLOSING, Feed, Ready, told};
use crate::Shared;
use crate::auth::user_token::authenticate;
use crate::communication::Refusal;

pub(super) fn open(parts: &Shared, head: &Head) -> Result<Response, Refusal> {
    let user = authenticate(parts, &head.headers)?;
    let feed = Feed::open(parts, user)?;
    Ok(Sse::new(lines(feed)).into_response())
}

fn lines(feed: Feed) -> impl Stream<Item = Result<Line, Infallible>> {
    let ready = Line::default()
        .event("ready")
        .data(Ready::text(&feed, None));
    let rest = stream::unfold(Some(feed), async |feed| {
        let mut feed = feed?;
        let line = match feed.next().await {
            Beat::Event(event) => Line::default()
                .event("event")
                .data(String::from_utf8_lossy(&event.json)),
            Beat::SignOfLife => Line::default().comment(""),
            Beat::Ended(why) => return Some((end(told(why)), None)),
            Beat::Closing => return Some((end(CLOSING), None)),
        };
        Some((line, Some(feed)))
    });
    stream::once(async { ready }).chain(rest).map(Ok)
}

fn end((code, message): (&str, &str)) -> Line {
    let data = json!({"code": code, "message": message});
    Line::default().event("end").data(data.to_string())
}
