//! A socket with somebody at its other end.
//!
//! Promise: whoever does not read, or does not answer, is let go; nobody holds a server that closes. The connection
//! keeps its place among those that may be open for as long as the socket is there.
//! Not here: what is said (`live::socket`, `push`), what a user hears (`live`).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::{FutureExt as _, Sink, SinkExt as _, Stream, StreamExt as _};
use gridpost_comms::chat::live::{End, NotHeard};
use gridpost_model::{Clock, Event};

use super::live::Beat;
use crate::Parts;
use crate::closing::Closing;
use crate::origin::Place;

/// How long one message may take to be read by the other side's system.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// How long somebody who was told that it is over may take to leave.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);

/// The same when the server closes.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// A socket and its place.
pub(super) struct Line<S = WebSocket> {
    socket: S,
    /// Whether the other side said anything since our last sign of life.
    answered: bool,
    clock: Arc<dyn Clock>,
    closing: Closing,
    _place: Option<Place>,
}

/// What comes next in a conversation.
#[derive(Debug)]
pub(super) enum Turn {
    /// Something happened.
    Event(Arc<Event>),
    /// The other side said something.
    Words(Utf8Bytes),
    /// It is time to show that we are there, and to see whether the other side is.
    SignOfLife,
}

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The user hears nothing more.
    Ended(End),
    /// The server closes.
    Closing,
    /// The user cannot listen now.
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

impl Line {
    /// The line that a request becomes, with the place that its connection has.
    pub(super) fn new(parts: &Parts, place: Option<Place>, socket: WebSocket) -> Self {
        Self {
            socket,
            answered: true,
            clock: Arc::clone(&parts.clock),
            closing: parts.closing.clone(),
            _place: place,
        }
    }
}

impl<S> Line<S>
where
    S: Stream<Item = Result<Message, axum::Error>> + Sink<Message> + Unpin,
{
    /// Says something to somebody who reads.
    ///
    /// # Errors
    /// Nobody reads it, or not yet and the server closes.
    pub(super) async fn say(&mut self, message: Message) -> Result<(), Farewell> {
        let clock = &*self.clock;
        tokio::select! {
            biased;
            said = self.socket.send(message) => said.map_err(|_| Farewell::Gone),
            () = clock.linger(TAKEN_WITHIN) => Err(Farewell::Gone),
            () = self.closing.begun() => Err(Farewell::Gone),
        }
    }

    /// The next words of the other side, if it says them in time.
    ///
    /// # Errors
    /// It does not, or the server closes.
    pub(super) async fn words(&mut self, within: Duration) -> Result<Utf8Bytes, Farewell> {
        let deadline = self.clock.linger(within);
        let words = async {
            loop {
                if let Some(words) = understood(self.socket.next().await)? {
                    return Ok(words);
                }
            }
        };
        tokio::select! {
            words = words => words,
            () = deadline => Err(Farewell::Silent),
            () = self.closing.begun() => Err(Farewell::Closing),
        }
    }

    /// What comes next, from either side.
    ///
    /// # Errors
    /// It is over.
    pub(super) async fn turn(
        &mut self,
        beat: impl Future<Output = Beat>,
    ) -> Result<Turn, Farewell> {
        let mut beat = pin!(beat);
        loop {
            tokio::select! {
                received = self.socket.next() => {
                    self.answered = true;
                    if let Some(words) = understood(received)? {
                        return Ok(Turn::Words(words));
                    }
                }
                beat = &mut beat => return match beat {
                    Beat::Event(event) => Ok(Turn::Event(event)),
                    Beat::SignOfLife if self.answered => {
                        self.answered = false;
                        Ok(Turn::SignOfLife)
                    }
                    // What answers the last one may have come while we were speaking.
                    Beat::SignOfLife => match self.socket.next().now_or_never() {
                        Some(received) => {
                            let words = understood(received)?;
                            Ok(words.map_or(Turn::SignOfLife, Turn::Words))
                        }
                        None => Err(Farewell::Silent),
                    },
                    Beat::Ended(end) => Err(Farewell::Ended(end)),
                    Beat::Closing => Err(Farewell::Closing),
                },
            }
        }
    }

    /// Says the last words, if there are any, and waits a moment for the other side to have heard them.
    pub(super) async fn close(mut self, last_words: Vec<Message>) {
        if last_words.is_empty() {
            return;
        }
        let clock = &*self.clock;
        let patience = async {
            tokio::select! {
                () = clock.linger(LEAVES_WITHIN) => return,
                () = self.closing.begun() => (),
            }
            clock.linger(LAST_WORDS_WITHIN).await;
        };
        let heard = async {
            for words in last_words {
                if self.socket.send(words).await.is_err() {
                    return;
                }
            }
            while let Some(Ok(_)) = self.socket.next().await {}
        };
        tokio::select! {
            () = heard => (),
            () = patience => (),
        }
    }
}

/// The words in what was received. What keeps a connection alive has none.
fn understood(
    received: Option<Result<Message, axum::Error>>,
) -> Result<Option<Utf8Bytes>, Farewell> {
    match received {
        Some(Ok(Message::Text(words))) => Ok(Some(words)),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Binary(_))) => Err(Farewell::NotUnderstood),
        Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Farewell::Gone),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use gridpost_model::Timestamp;
    use gridpost_sim::VirtualClock;

    use super::*;

    /// A socket whose other side said these things, and takes what it is told unless it is deaf.
    #[derive(Default)]
    struct Fake {
        received: VecDeque<Message>,
        sent: Vec<Message>,
        is_deaf: bool,
    }

    impl Stream for Fake {
        type Item = Result<Message, axum::Error>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            let received = self.received.pop_front();
            received.map_or(Poll::Pending, |message| Poll::Ready(Some(Ok(message))))
        }
    }

    impl Sink<Message> for Fake {
        type Error = axum::Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
            if self.is_deaf {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            }
        }

        fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
            self.sent.push(message);
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
            Poll::Ready(Ok(()))
        }
    }

    fn line() -> (Line<Fake>, VirtualClock) {
        let clock = VirtualClock::at(Timestamp::EPOCH);
        let line = Line {
            socket: Fake::default(),
            answered: true,
            clock: Arc::new(clock.clone()),
            closing: Closing::default(),
            _place: None,
        };
        (line, clock)
    }

    async fn sign_of_life() -> Beat {
        Beat::SignOfLife
    }

    #[test]
    fn whoever_says_nothing_between_two_signs_of_life_is_silent() {
        let (mut line, _) = line();
        let first = line.turn(sign_of_life()).now_or_never().unwrap();
        assert!(matches!(first, Ok(Turn::SignOfLife)), "{first:?}");
        let second = line.turn(sign_of_life()).now_or_never().unwrap();
        assert_eq!(second.unwrap_err(), Farewell::Silent);
    }

    #[test]
    fn anything_said_is_an_answer() {
        let (mut line, _) = line();
        for said in [
            Message::Pong(Bytes::new()),
            Message::Ping(Bytes::new()),
            Message::Text("x".into()),
        ] {
            line.turn(sign_of_life()).now_or_never().unwrap().unwrap();
            line.socket.received.push_back(said);
            let _ = line.turn(std::future::pending()).now_or_never();
        }
        let last = line.turn(sign_of_life()).now_or_never().unwrap();
        assert!(matches!(last, Ok(Turn::SignOfLife)), "{last:?}");
    }

    #[test]
    fn an_answer_that_came_while_we_spoke_is_heard() {
        // Whether the answer or the moment is looked at first is left to chance.
        for _ in 0..64 {
            let (mut line, _) = line();
            line.turn(sign_of_life()).now_or_never().unwrap().unwrap();
            line.socket.received.push_back(Message::Pong(Bytes::new()));
            let next = line.turn(sign_of_life()).now_or_never().unwrap();
            assert!(matches!(next, Ok(Turn::SignOfLife)), "{next:?}");
        }
    }

    #[test]
    fn whoever_does_not_read_is_let_go() {
        let (mut line, clock) = line();
        line.socket.is_deaf = true;
        let mut said = Box::pin(line.say(Message::Text("x".into())));
        assert_eq!((&mut said).now_or_never(), None);
        clock.turn_to(clock.now() + TAKEN_WITHIN);
        assert_eq!(said.now_or_never(), Some(Err(Farewell::Gone)));
    }

    #[test]
    fn a_farewell_waits_for_nobody_for_long_and_for_a_moment_when_the_server_closes() {
        for (closes, within) in [(false, LEAVES_WITHIN), (true, LAST_WORDS_WITHIN)] {
            let (line, clock) = line();
            if closes {
                line.closing.begin();
            }
            let mut closed = Box::pin(line.close(vec![Message::Close(None)]));
            assert_eq!((&mut closed).now_or_never(), None);
            clock.turn_to(clock.now() + within);
            assert_eq!(closed.now_or_never(), Some(()), "{closes}");
        }
    }
}
