//! One HTTP connection, driven by whoever uses it: HTTP/2 where the destination chose it, HTTP/1.1 otherwise.
//!
//! Promise: `exchange` sends one request and returns its whole answer, and no other task takes part in it: the
//! connection is polled by the same task that waits, which saves two task switches an event. Over HTTP/2, too, a
//! connection carries one request at a time: how many a destination is sent at once is the lane's affair.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Response as Head;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::http2::Http2;
use super::{BODY_LIMIT, Failure, Request, Response};

/// Objects up to this size are copied into their array: at 1 KB that was measured to cost 0.2 us less than three
/// frames. Larger ones are shared.
const COPIED: usize = 8 << 10;

/// A connection between requests.
pub(crate) struct Connection {
    line: Line,
    closed: bool,
}

enum Line {
    Http1(Http1),
    Http2(Box<Http2>),
}

struct Http1 {
    sender: http1::SendRequest<Body>,
    driver: Pin<Box<http1::Connection<TokioIo<Stream>, Body>>>,
}

impl Connection {
    pub(super) async fn open(stream: Stream) -> Result<Self, Failure> {
        let line = if stream.chose_http2() {
            Line::Http2(Box::new(Http2::open(stream).await?))
        } else {
            Line::Http1(Http1::open(stream).await?)
        };
        Ok(Self {
            line,
            closed: false,
        })
    }

    /// Whether another request can be sent: the last answer was read to its end and nobody hung up.
    pub(crate) fn is_open(&self) -> bool {
        !self.closed
            && match &self.line {
                Line::Http1(line) => line.sender.is_ready(),
                Line::Http2(line) => line.is_ready(),
            }
    }

    /// Lets the connection notice that the other side hung up. Registers the task's waker.
    pub(crate) fn poll_idle(&mut self, context: &mut Context<'_>) {
        if !self.closed && self.line.poll_drive(context).is_ready() {
            self.closed = true;
        }
    }

    /// Sends one request and reads its whole answer.
    pub(crate) async fn exchange(
        &mut self,
        request: http::Request<Body>,
    ) -> Result<Response, Failure> {
        match &mut self.line {
            Line::Http1(line) => {
                let answer = read_answer(line.sender.send_request(request));
                let driver = &mut line.driver;
                drive(answer, &mut self.closed, |context| {
                    driver.as_mut().poll(context).map(drop)
                })
                .await
            }
            Line::Http2(line) => {
                let (head, driver) = line.send(request)?;
                let answer = read_answer(head);
                drive(answer, &mut self.closed, |context| {
                    driver.poll_drive(context)
                })
                .await
            }
        }
    }
}

impl Line {
    fn poll_drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(line) => line.driver.as_mut().poll(context).map(drop),
            Self::Http2(line) => line.driver().poll_drive(context),
        }
    }
}

impl Http1 {
    async fn open(stream: Stream) -> Result<Self, Failure> {
        let (sender, driver) = http1::Builder::new()
            // An answer's head is small; a large read buffer would stay with each of thousands of connections.
            .max_buf_size(32 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| protocol(&error))?;
        Ok(Self {
            sender,
            driver: Box::pin(driver),
        })
    }
}

/// Waits for an answer while it moves the connection.
async fn drive(
    answer: impl Future<Output = Result<Response, Failure>>,
    closed: &mut bool,
    mut poll_drive: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Result<Response, Failure> {
    let mut answer = pin!(answer);
    poll_fn(|context| {
        // The request is queued by the first poll, moved by the driver, and the answer found by the second.
        if !*closed && poll_drive(context).is_ready() {
            *closed = true;
        }
        answer.as_mut().poll(context)
    })
    .await
}

async fn read_answer(
    head: impl Future<Output = hyper::Result<Head<Incoming>>>,
) -> Result<Response, Failure> {
    let (head, body) = head.await.map_err(|error| protocol(&error))?.into_parts();
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        read_body(body).await?
    };
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body,
    })
}

/// Reads the body, keeping its first [`BODY_LIMIT`] bytes. A longer one ends the connection, not the answer.
async fn read_body(mut body: Incoming) -> Result<Bytes, Failure> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| protocol(&error))?.into_data() else {
            continue;
        };
        let room = BODY_LIMIT - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        if room < data.len() {
            break;
        }
    }
    Ok(kept.freeze())
}

pub(super) fn protocol(error: &hyper::Error) -> Failure {
    use std::error::Error as _;
    if error.is_parse() {
        return Failure::Protocol(error.to_string());
    }
    Failure::Socket(
        error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string),
    )
}

/// A request as it goes out, from the parts of a [`Request`].
pub(super) fn message(request: Request) -> http::Request<Body> {
    let body = if request.body.is_empty() {
        Body::Empty
    } else {
        Body::Whole(request.body)
    };
    let mut message = http::Request::new(body);
    *message.method_mut() = request.method;
    *message.uri_mut() = request.endpoint.target().clone();
    *message.headers_mut() = request.headers;
    message
        .headers_mut()
        .insert(http::header::HOST, request.endpoint.authority().clone());
    message
}

/// A request's body.
#[derive(Debug)]
pub(crate) enum Body {
    /// None.
    Empty,
    /// These bytes.
    Whole(Bytes),
    /// An array of the one large object: `[`, the object, `]`. The object is shared, not copied.
    ArrayOfOne(Bytes, Part),
}

/// The next part of an array of one to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// `[`.
    Open,
    /// The object.
    Object,
    /// `]`.
    Close,
}

impl Body {
    /// At most so many bytes of what is still to be sent.
    pub(crate) fn beginning(&self, limit: usize) -> Vec<u8> {
        let head = |bytes: &Bytes| bytes[..bytes.len().min(limit)].to_vec();
        match self {
            Self::Empty => Vec::new(),
            Self::Whole(bytes) => head(bytes),
            Self::ArrayOfOne(object, Part::Open) => {
                let mut beginning = vec![b'['];
                beginning.extend(head(object));
                if object.len() < limit {
                    beginning.push(b']');
                }
                beginning.truncate(limit);
                beginning
            }
            Self::ArrayOfOne(object, Part::Object) => head(object),
            Self::ArrayOfOne(_, Part::Close) => vec![b']'],
        }
    }

    /// What is still to be sent, part by part.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let parts: [&[u8]; 3] = match self {
            Self::Empty => [b"", b"", b""],
            Self::Whole(bytes) => [bytes, b"", b""],
            Self::ArrayOfOne(object, Part::Open) => [b"[", object, b"]"],
            Self::ArrayOfOne(object, Part::Object) => [object, b"]", b""],
            Self::ArrayOfOne(_, Part::Close) => [b"]", b"", b""],
        };
        parts.into_iter()
    }

    /// How many bytes are still to be sent.
    pub(crate) fn size(&self) -> usize {
        let size = self.size_hint().exact().unwrap_or_default();
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    /// The array that holds this one object.
    pub(crate) fn array_of_one(object: Bytes) -> Self {
        if COPIED < object.len() {
            return Self::ArrayOfOne(object, Part::Open);
        }
        let mut array = Vec::with_capacity(object.len() + 2);
        array.push(b'[');
        array.extend_from_slice(&object);
        array.push(b']');
        Self::Whole(array.into())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                bytes
            }
            Self::ArrayOfOne(object, part) => match part {
                Part::Open => {
                    *part = Part::Object;
                    Bytes::from_static(b"[")
                }
                Part::Object => {
                    *part = Part::Close;
                    std::mem::take(object)
                }
                Part::Close => {
                    *self = Self::Empty;
                    Bytes::from_static(b"]")
                }
            },
        };
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Empty => 0,
            Self::Whole(bytes) => bytes.len() as u64,
            Self::ArrayOfOne(object, Part::Open) => object.len() as u64 + 2,
            Self::ArrayOfOne(object, Part::Object) => object.len() as u64 + 1,
            Self::ArrayOfOne(_, Part::Close) => 1,
        })
    }
}

/// The bytes beneath: with or without TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the destination chose HTTP/2 while TLS was set up. Without TLS nothing is chosen.
    fn chose_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}
