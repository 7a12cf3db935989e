//! The one port: HTTP/1.1, HTTP/2 and TLS, told apart by the first byte.
//!
//! Promise: a client that is slow to begin, slow in its handshake, slow with its headers or slow to take its answers is
//! let go; connections are bounded; after `close` nothing new is taken, and what was begun is finished within the time
//! given.
//! Not here: what is answered (`api`).

mod unread;

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use gridpost_api::origin::{Caller, Place, Scheme};
use http::{Request, header};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::config;
use crate::real::{Supervisor, nap};
use unread::{Room, Unread};

/// The first byte of a TLS handshake record. No HTTP request begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// As long as the operating system's queue of connections may be; it cuts this to its own bound.
const BACKLOG: u32 = 4096;

/// What one HTTP/2 connection may ask at once: the fewest that RFC 9113, 5.1.2, recommends. They saturate a core, and an
/// answer that its client does not take stays in memory.
const MAX_STREAMS: u32 = 100;

/// What one HTTP/2 stream may have given to its connection that is not sent yet: four frames of the usual size.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// What one HTTP/1.1 connection may have in hand: the head of a request, or the part of an answer that is being sent,
/// which over TLS is a copy. All connections together stay within half a gigabyte.
const MAX_BUFFER_BYTES: usize = 128 * 1024;

/// How long nothing is said about connections that cannot be accepted, once it was said.
const QUIET: Duration = Duration::from_secs(60);

/// A port that was taken, on which nothing is answered yet.
pub struct Port {
    socket: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes the port. From here on clients can connect; they are answered once `serve` is called.
    ///
    /// # Errors
    /// The address is taken, or not ours.
    pub fn take(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = bind(address).with_context(|| match address.port() {
            0 => format!("cannot listen on {address}"),
            port => format!(
                "cannot listen on {address}; is another server using port {port}? (--listen {}:0 takes a free one)",
                address.ip()
            ),
        })?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address, with the port that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers whoever connects. `surfaces` must always be ready: it is not asked whether it is.
    pub fn serve<S: Surfaces>(
        self,
        surfaces: S,
        tls: Arc<rustls::ServerConfig>,
        settings: &config::Listener,
        supervisor: &Supervisor,
    ) -> Listener {
        let (closing, closed) = watch::channel(false);
        let line = Line {
            surfaces,
            tls: TlsAcceptor::from(tls),
            http: protocol(settings.header_timeout()),
            begin_within: settings.handshake_timeout() + settings.header_timeout(),
            take_within: settings.header_timeout(),
            room: Room::default(),
            handshake_within: settings.handshake_timeout(),
            closed,
        };
        // A permit travels with its connection: all are back when all connections have ended.
        let permits = Arc::new(Semaphore::new(settings.max_connections));
        let accepting = accept(
            self.socket,
            Arc::new(line),
            Arc::clone(&permits),
            supervisor.clone(),
        );
        supervisor.spawn("listener", Box::pin(accepting));
        Listener {
            closing,
            permits,
            max_connections: settings.max_connections,
        }
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    }?;
    // A restarted server takes its port again although the connections of its previous life are still ending.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn protocol(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .max_buf_size(MAX_BUFFER_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(MAX_UNSENT_BYTES)
        .keep_alive_interval(header_timeout);
    http
}

/// A port that is being answered.
pub struct Listener {
    closing: watch::Sender<bool>,
    permits: Arc<Semaphore>,
    max_connections: usize,
}

impl Listener {
    /// Stops accepting, lets requests in progress finish for that long, and tells whether all did.
    pub async fn close(&self, within: Duration) -> bool {
        self.closing.send_replace(true);
        let all = u32::try_from(self.max_connections).unwrap_or(u32::MAX);
        tokio::time::timeout(within, self.permits.acquire_many(all))
            .await
            .is_ok()
    }

    /// Connections being served now.
    pub fn connections(&self) -> usize {
        self.max_connections
            .saturating_sub(self.permits.available_permits())
    }
}

/// What answers requests, from every connection at once.
pub trait Surfaces:
    Service<Request<Body>, Response = Response, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Surfaces for S where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What every connection needs.
struct Line<S> {
    surfaces: S,
    tls: TlsAcceptor,
    http: auto::Builder<TokioExecutor>,
    /// From connecting to the first request.
    begin_within: Duration,
    handshake_within: Duration,
    /// For an answer to be taken. Whoever takes half as long is never cut.
    take_within: Duration,
    /// What unread answers may hold.
    room: Room,
    closed: watch::Receiver<bool>,
}

async fn accept<S: Surfaces>(
    socket: TcpListener,
    line: Arc<Line<S>>,
    permits: Arc<Semaphore>,
    supervisor: Supervisor,
) {
    let mut closed = line.closed.clone();
    let mut warned: Option<BoxFuture<'static, ()>> = None;
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (socket.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            next = next => next,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        match (accepted, permit) {
            (Ok((stream, peer)), Ok(permit)) => {
                let line = Arc::clone(&line);
                supervisor.spawn(
                    "connection",
                    Box::pin(async move { line.answer(stream, peer.ip(), permit).await }),
                );
            }
            (Err(error), _) if is_peers_fault(&error) => (),
            (Err(error), _) => {
                // Out of files or memory: those being served free some; trying at once would only burn the processor.
                if warned
                    .as_mut()
                    .is_none_or(|quiet| quiet.now_or_never().is_some())
                {
                    tracing::warn!(%error, "cannot accept connections just now: {error}");
                    warned = Some(Box::pin(nap(QUIET)));
                }
                nap(Duration::from_millis(50)).await;
            }
            (_, Err(_)) => return,
        }
    }
}

fn is_peers_fault(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

impl<S: Surfaces> Line<S> {
    async fn answer(&self, stream: TcpStream, address: IpAddr, permit: OwnedSemaphorePermit) {
        // Answers are written whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        // What the system has to send counts too: it gives up a client that takes nothing of it.
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(self.take_within));
        let mut closed = self.closed.clone();
        let secure = tokio::select! {
            first = tokio::time::timeout(self.handshake_within, first_byte(&stream)) => match first {
                Ok(Some(first)) => first == TLS_HANDSHAKE,
                _ => return,
            },
            _ = closed.wait_for(|closed| *closed) => return,
        };
        let caller = |scheme| Caller { address, scheme };
        let place = Place(Arc::new(permit));
        if !secure {
            return self.converse(stream, caller(Scheme::Http), place).await;
        }
        match tokio::time::timeout(self.handshake_within, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => self.converse(stream, caller(Scheme::Https), place).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed: {error}"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn converse<I>(&self, stream: I, caller: Caller, place: Place)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let begun = Arc::new(AtomicBool::new(false));
        let unread = Arc::new(Unread::new(self.room.clone()));
        let surface = Surface {
            surfaces: self.surfaces.clone(),
            caller,
            place,
            begun: Arc::clone(&begun),
            unread: Arc::clone(&unread),
        };
        let io = TokioIo::new(stream);
        let connection = self.http.serve_connection_with_upgrades(io, surface);
        let mut connection = std::pin::pin!(connection);
        let mut interruptions = self.interruptions();
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended: {error}");
                    }
                    return;
                }
                Some(interruption) = interruptions.next() => match interruption {
                    Interruption::Closing => connection.as_mut().graceful_shutdown(),
                    Interruption::TooLate if begun.load(Ordering::Relaxed) => (),
                    Interruption::TooLate => return,
                    Interruption::TurnOver if unread.is_stuck_after_turn() => {
                        tracing::debug!("a client did not take its answers");
                        return;
                    }
                    Interruption::TurnOver => interruptions.push(self.turn()),
                },
            }
        }
    }

    /// What can come between a client and us. Each is asked again only when it has something to say: a connection
    /// looks here after every request and every answer.
    fn interruptions(&self) -> FuturesUnordered<BoxFuture<'static, Interruption>> {
        let mut closed = self.closed.clone();
        // Telling HTTP/1.1 from HTTP/2 has no time limit of its own; this one covers it.
        let begin_within = self.begin_within;
        let interruptions = FuturesUnordered::<BoxFuture<'static, Interruption>>::new();
        interruptions.push(Box::pin(async move {
            // The sender gone means the same.
            let _ = closed.wait_for(|closed| *closed).await;
            Interruption::Closing
        }));
        interruptions.push(Box::pin(async move {
            nap(begin_within).await;
            Interruption::TooLate
        }));
        interruptions.push(self.turn());
        interruptions
    }

    /// Two turns are as long as an answer may take to be taken.
    fn turn(&self) -> BoxFuture<'static, Interruption> {
        let turn = self.take_within / 2;
        Box::pin(async move {
            nap(turn).await;
            Interruption::TurnOver
        })
    }
}

enum Interruption {
    /// The server ends.
    Closing,
    /// The time for a first request is over.
    TooLate,
    /// It is time to see whether the client takes its answers.
    TurnOver,
}

/// The first byte that a client sends, left where it is. `None` when it hangs up instead.
async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut byte = [0];
    let count = stream.peek(&mut byte).await.ok()?;
    (count == 1).then_some(byte[0])
}

/// How long a client may take to send a request's body: the largest, 1.5 MB, at 25 kB a second. Otherwise a few
/// thousand that send nothing more would hold all connections for ever.
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// A body that has to come in time. A body that is there when it is asked for costs no timer.
struct Patient {
    body: Incoming,
    too_late: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// A client took too long.
#[derive(Debug, thiserror::Error)]
#[error("the request's body did not come within {} s", BODY_WITHIN.as_secs())]
struct TooLate;

impl Patient {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            too_late: None,
        }
    }
}

impl hyper::body::Body for Patient {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let too_late = self
            .too_late
            .get_or_insert_with(|| Box::pin(nap(BODY_WITHIN)));
        match too_late.as_mut().poll(context) {
            Poll::Ready(()) => {
                let late = std::io::Error::new(std::io::ErrorKind::TimedOut, TooLate);
                Poll::Ready(Some(Err(late.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One connection's way to the surfaces.
struct Surface<S> {
    surfaces: S,
    caller: Caller,
    place: Place,
    begun: Arc<AtomicBool>,
    unread: Arc<Unread>,
}

impl<S: Surfaces> hyper::service::Service<Request<Incoming>> for Surface<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.begun.store(true, Ordering::Relaxed);
        let mut request = request.map(|body| Body::new(Patient::new(body)));
        request.extensions_mut().insert(self.caller);
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(self.place.clone());
        }
        let answer = self.surfaces.clone().call(request);
        let unread = Arc::clone(&self.unread);
        Box::pin(async move { answer.await.map(|response| unread.give(response)) })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::response::IntoResponse as _;
    use gridpost_model::Timestamp;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::config::{Config, Flags};

    /// A port that answers everything with 404, with these settings of the listener.
    fn listen(settings: &str) -> (Listener, SocketAddr, tempfile::TempDir) {
        serve(Router::new(), settings)
    }

    fn serve(surfaces: Router, settings: &str) -> (Listener, SocketAddr, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("[listener]\n{settings}\n");
        let config = Config::resolve(
            Some(("own.toml".into(), file)),
            &|_| None,
            &Flags::default(),
        )
        .unwrap();
        let certificates = crate::certificates::Folder::of(folder.path());
        let tls = certificates
            .ready(Timestamp::EPOCH, &[])
            .unwrap()
            .into_tls()
            .unwrap();
        let port = Port::take("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.address();
        let listener = port.serve(
            surfaces,
            tls,
            &config.listener,
            &Supervisor::of_this_runtime(),
        );
        (listener, address, folder)
    }

    /// Sends that much and returns what comes until the other side hangs up.
    async fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset is a way of hanging up as well.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn a_client_that_does_not_begin_is_let_go() {
        let (_listener, address, _folder) = listen("handshake_timeout_seconds = 0");
        assert!(answer_to(address, b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_handshake_is_let_go() {
        let (_listener, address, _folder) = listen("handshake_timeout_seconds = 1");
        assert!(answer_to(address, &[TLS_HANDSHAKE, 3, 1]).await.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_headers_is_let_go() {
        let (_listener, address, _folder) =
            listen("handshake_timeout_seconds = 1\nheader_timeout_seconds = 1");
        for begin in ["P", "GET / HTTP/1.1\r\nhost: here\r\nx-slow: "] {
            let answer = answer_to(address, begin.as_bytes()).await;
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
                "{answer:?}"
            );
        }
    }

    /// More than the operating system takes for a reader that does not read.
    const LARGE: usize = 64 << 20;

    fn large_page() -> Router {
        let page = Bytes::from(vec![b'x'; LARGE]);
        Router::new().fallback(move || async move {
            let mut page = page.into_response();
            page.extensions_mut()
                .insert(gridpost_api::operations::Shared);
            page
        })
    }

    #[tokio::test]
    async fn a_client_that_does_not_take_its_answer_is_let_go() {
        let (listener, address, _folder) = serve(large_page(), "header_timeout_seconds = 1");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
            .await
            .unwrap();
        stream.readable().await.unwrap();
        // The listener holds one place for whoever comes next.
        while listener.connections() > 1 {
            nap(Duration::from_millis(20)).await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.len() < LARGE);
    }

    #[tokio::test]
    async fn a_client_that_opens_no_window_for_its_answers_is_let_go() {
        let (_listener, address, _folder) = serve(
            Router::new().fallback(|| async { "some text" }),
            "header_timeout_seconds = 1",
        );
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(0)
                .handshake::<_, Body>(TokioIo::new(stream))
                .await
                .unwrap();
        let ended = tokio::spawn(connection);
        let request = Request::get("http://here/").body(Body::empty()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        // Ends when the other side hangs up, which is what this waits for: the sender and the answer are still here.
        let _ = ended.await.unwrap();
        drop((sender, answer));
    }

    #[tokio::test]
    async fn connections_are_bounded_and_the_next_is_served_when_one_ends() {
        let (listener, address, _folder) = listen("max_connections = 1");
        let request = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(request).await.unwrap();
        let mut answer = [0; 12];
        first.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");

        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(request).await.unwrap();
        assert_eq!(listener.connections(), 1);
        drop(first);
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");
    }

    #[tokio::test]
    async fn closing_ends_idle_connections_at_once() {
        let (listener, address, _folder) = listen("");
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        idle.read_exact(&mut answer).await.unwrap();
        let silent = TcpStream::connect(address).await.unwrap();
        assert!(listener.close(Duration::from_secs(20)).await);
        drop(silent);
        assert!(TcpStream::connect(address).await.is_err());
    }
}
