//! HTTP/2 towards one destination, without a task of its own.
//!
//! Promise: everything the protocol needs done beside a request is done by whoever polls the connection.
//! Not here: when a connection is opened and reused (`connection`), who chooses the protocol (`tls`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::Response as Head;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::Failure;
use super::connection::{Body, Stream, protocol};

/// What an answer may have in flight towards us. Answers are short, and longer ones are cut at 64 KiB.
const WINDOW_BYTES: u32 = 64 << 10;
/// As much of an answer's head as over HTTP/1.1.
const HEAD_BYTES: u32 = 32 << 10;

/// A connection that carries one request at a time.
pub(super) struct Http2 {
    sender: http2::SendRequest<Body>,
    driver: Driver,
}

/// What moves the connection.
pub(super) struct Driver {
    requests: Pin<Box<http2::Connection<TokioIo<Stream>, Body, Chores>>>,
    chores: Chores,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
    over: bool,
}

/// Work that the protocol begins by itself, not taken up yet.
#[derive(Clone, Default)]
struct Chores(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Chores {
    fn execute(&self, chore: F) {
        self.0.lock().push(Box::pin(chore));
    }
}

impl Http2 {
    pub(super) async fn open(stream: Stream) -> Result<Self, Failure> {
        let chores = Chores::default();
        let (sender, requests) = http2::Builder::new(chores.clone())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| protocol(&error))?;
        let driver = Driver {
            requests: Box::pin(requests),
            chores,
            running: FuturesUnordered::new(),
            over: false,
        };
        Ok(Self { sender, driver })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) fn driver(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// Queues a request. The answer comes while the driver is polled.
    pub(super) fn send(
        &mut self,
        request: http::Request<Body>,
    ) -> Result<
        (
            impl Future<Output = hyper::Result<Head<Incoming>>> + use<>,
            &mut Driver,
        ),
        Failure,
    > {
        let head = self.sender.send_request(absolute(request)?);
        Ok((head, &mut self.driver))
    }
}

impl Driver {
    /// Ready once the connection has ended, from whichever side.
    pub(super) fn poll_drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.over && self.requests.as_mut().poll(context).is_ready() {
                self.over = true;
            }
            self.running.extend(self.chores.0.lock().drain(..));
            match self.running.poll_next_unpin(context) {
                // Whatever ended may have begun something else.
                Poll::Ready(Some(())) => (),
                Poll::Ready(None) if self.over => return Poll::Ready(()),
                Poll::Ready(None) | Poll::Pending if self.chores.0.lock().is_empty() => {
                    return Poll::Pending;
                }
                Poll::Ready(None) | Poll::Pending => (),
            }
        }
    }
}

/// HTTP/2 names the host in the target, not in a header of its own. Source: RFC 9113, section 8.3.1.
fn absolute(mut request: http::Request<Body>) -> Result<http::Request<Body>, Failure> {
    let broken = |error: http::Error| Failure::Protocol(error.to_string());
    let host = request.headers_mut().remove(HOST);
    let host = host.as_ref().map_or(&b""[..], |host| host.as_bytes());
    let authority = Authority::try_from(host).map_err(|error| broken(error.into()))?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(authority);
    *request.uri_mut() = parts
        .try_into()
        .map_err(|error: http::uri::InvalidUriParts| broken(error.into()))?;
    Ok(request)
}
