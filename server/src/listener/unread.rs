//! Answers that their readers have not taken yet.
//!
//! Promise: what a client has left lying for a whole turn is noticed, over HTTP/2 too, where a client may take one
//! answer and leave a hundred; and what all clients together have not taken is bounded.
//! Not here: how long a turn is, and what becomes of such a client (`super`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_api::operations::Shared;
use http::{StatusCode, header};
use hyper::body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all answers together may hold while they are not taken: some sixty of the largest. In KiB.
const ROOM: usize = 256 * 1024;

/// Answers up to here need no room: what a connection may ask at once bounds them.
const SMALL: u64 = 16 * 1024;

/// The room that the unread answers of all connections share.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM)))
    }
}

impl Room {
    /// Takes what an answer needs. The answer is `None` when there is no room.
    fn take(&self, response: &Response) -> Option<Option<OwnedSemaphorePermit>> {
        let size = response.body().size_hint().exact().unwrap_or_default();
        if size <= SMALL || response.extensions().get::<Shared>().is_some() {
            return Some(None);
        }
        let kib = u32::try_from(size.div_ceil(1024)).ok()?;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(kib).ok()?;
        Some(Some(permit))
    }
}

/// What one connection has not taken, by the turn in which it was given.
pub(super) struct Unread {
    turns: Mutex<Turns>,
    room: Room,
}

/// Each ticket given out during a turn is one more reference to it.
#[derive(Default)]
struct Turns {
    this: Arc<()>,
    last: Arc<()>,
}

impl Unread {
    /// Nothing is unread yet.
    pub(super) fn new(room: Room) -> Self {
        Self {
            turns: Mutex::default(),
            room,
        }
    }

    /// Begins the next turn. Tells whether something given in the turn before this one is still not taken.
    pub(super) fn is_stuck_after_turn(&self) -> bool {
        let mut turns = self.turns.lock();
        if Arc::strong_count(&turns.last) > 1 {
            return true;
        }
        turns.last = std::mem::take(&mut turns.this);
        false
    }

    /// Gives an answer to the client, and watches whether it is taken.
    pub(super) fn give(self: &Arc<Self>, response: Response) -> Response {
        if response.body().is_end_stream() {
            return response;
        }
        let Some(room) = self.room.take(&response) else {
            return no_room();
        };
        response.map(|body| {
            Body::new(Watched {
                body,
                ticket: Some(Arc::new(self.ticket(room))),
                rest: Bytes::new(),
                unread: Arc::clone(self),
            })
        })
    }

    fn ticket(&self, room: Option<OwnedSemaphorePermit>) -> Ticket {
        Ticket {
            _turn: Arc::clone(&self.turns.lock().this),
            _room: room,
        }
    }
}

fn no_room() -> Response {
    let text = "Too many answers wait for clients that do not take them. Ask again later.\n";
    let retry = [(header::RETRY_AFTER, "5")];
    (StatusCode::SERVICE_UNAVAILABLE, retry, text).into_response()
}

/// Over HTTP/1.1 the connection takes a part when it has room for it, so parts are small: a frame of HTTP/2.
const PIECE_BYTES: usize = 16 * 1024;

/// Lives as long as something is not taken.
struct Ticket {
    _turn: Arc<()>,
    _room: Option<OwnedSemaphorePermit>,
}

/// The body of an answer.
struct Watched {
    body: Body,
    /// There while it is the client who has to take something; not while the client waits for us.
    ticket: Option<Arc<Ticket>>,
    /// What was given and not handed on yet.
    rest: Bytes,
    unread: Arc<Unread>,
}

/// Part of a body, until it is written to the connection.
struct Piece {
    bytes: Bytes,
    _ticket: Option<Arc<Ticket>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let polled = Pin::new(&mut self.body).poll_frame(context);
            let Poll::Ready(Some(Ok(frame))) = polled else {
                self.ticket = None;
                return polled;
            };
            if self.ticket.is_none() {
                self.ticket = Some(Arc::new(self.unread.ticket(None)));
            }
            match frame.into_data() {
                Ok(bytes) => self.rest = bytes,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let size = self.rest.len().min(PIECE_BYTES);
        let piece = Piece {
            bytes: self.rest.split_to(size),
            _ticket: self.ticket.clone(),
        };
        if self.rest.is_empty() {
            // The next part is another one to take.
            self.ticket = Some(Arc::new(self.unread.ticket(None)));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn unread(kib: usize) -> Arc<Unread> {
        Arc::new(Unread::new(Room(Arc::new(Semaphore::new(kib)))))
    }

    #[tokio::test]
    async fn an_answer_is_stuck_when_it_lies_there_for_a_whole_turn() {
        let unread = unread(0);
        let response = unread.give("text".into_response());
        assert!(!unread.is_stuck_after_turn(), "the turn it was given in");
        assert!(unread.is_stuck_after_turn(), "the one after");
        drop(response);
        assert!(!unread.is_stuck_after_turn());
    }

    #[tokio::test]
    async fn an_answer_that_was_handed_on_counts_until_it_is_written() {
        let unread = unread(0);
        let bytes = unread.give("text".into_response()).into_body();
        let bytes = bytes.collect().await.unwrap().to_bytes();
        assert_eq!(bytes, "text");
        let part = bytes.slice(3..);
        drop(bytes);
        assert!(!unread.is_stuck_after_turn());
        assert!(unread.is_stuck_after_turn());
        drop(part);
        assert!(!unread.is_stuck_after_turn());
    }

    #[tokio::test]
    async fn a_client_that_waits_for_us_is_not_stuck() {
        let unread = unread(0);
        let silent = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut body = unread
            .give(Body::from_stream(silent).into_response())
            .into_body();
        assert!(futures_util::poll!(body.frame()).is_pending());
        for _ in 0..3 {
            assert!(!unread.is_stuck_after_turn());
        }
    }

    #[tokio::test]
    async fn what_all_have_not_taken_is_bounded_but_for_what_they_share() {
        let unread = unread(40);
        let page = || Bytes::from(vec![b'x'; 20 * 1024]).into_response();
        let first = unread.give(page());
        let second = unread.give(page());
        let refused = unread.give(page());
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "5");
        assert_eq!(
            unread.give("small".into_response()).status(),
            StatusCode::OK
        );
        let mut shared = page();
        shared.extensions_mut().insert(Shared);
        assert_eq!(unread.give(shared).status(), StatusCode::OK);
        // The room is free when the last piece is written.
        let mut body = first.into_body();
        let piece = body.frame().await;
        drop(body);
        let refused = unread.give(page());
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(piece);
        assert_eq!(unread.give(page()).status(), StatusCode::OK);
        drop(second);
    }
}
