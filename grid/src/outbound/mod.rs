//! Dialling out, guarded. Everything the router sends leaves through here.
//!
//! Promise: a connection goes only to an address that was checked against the rules, over verified TLS where the URL
//! says so; redirects are not followed; an answer is cut at 64 KiB and waited for 30 s.
//! Not here: what is sent (`destination`, `handshake`), what an outcome means (`retry`).

mod address;
mod connection;
mod endpoint;
mod http2;
mod pool;
mod signature;
mod tls;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use gridpost_model::Clock;
use http::{HeaderMap, Method, StatusCode};
use tokio::net::{TcpStream, lookup_host};

use crate::connections::Connections;

pub use address::{AddressKind, Reach};
pub(crate) use connection::{Body, Connection};
pub use endpoint::{BadUrl, Endpoint};
pub(crate) use pool::Pool;
pub(crate) use signature::{SigningKey, message_id};
pub use tls::BadSettings;

use connection::Stream;
use tls::Tls;

/// How long a destination may take to answer, from the moment we start to dial or send. Source: reference event-grid 5.2.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one address of a host is dialled at most while there are others.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(5);

/// How much of an answer's body is kept. Nothing we wait for is longer than a validation answer.
pub const BODY_LIMIT: usize = 64 << 10;

/// Where we may dial to, and whom we believe.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which kinds of addresses are allowed beside public ones.
    pub reach: Reach,
    /// Whether `http://` URLs are allowed. The service takes `https://` only.
    pub plain_http: bool,
    /// Certificates to believe beside the system's, in DER form.
    pub extra_roots: Vec<Vec<u8>>,
    /// Where the resources are that subscriptions name.
    pub connections: Connections,
}

/// A single request, for handshakes and notices.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// Headers beside `host` and `content-length`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An answer came, whatever it says.
    Answered(Response),
    /// No answer came.
    Failed(Failure),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most [`BODY_LIMIT`] bytes of it.
    pub body: Bytes,
}

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The name has no address.
    #[error("the host name could not be resolved")]
    Resolution,
    /// The name resolves only to addresses that the rules refuse.
    #[error("the host is {0}, which is not allowed as a destination")]
    Forbidden(AddressKind),
    /// The connection could not be made, or broke.
    #[error("the connection failed: {0}")]
    Socket(String),
    /// The certificate was not accepted, or TLS failed otherwise.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The destination did not speak HTTP.
    #[error("the answer was not HTTP: {0}")]
    Protocol(String),
    /// Nothing came within the time limit.
    #[error("no answer within the time limit")]
    TimedOut,
    /// No token could be had for an Entra-protected endpoint; nothing was sent.
    #[error("no token could be had for the endpoint: {0}")]
    Token(String),
    /// A destination that is not an HTTP endpoint said so in its own way.
    #[error("{detail}")]
    Handler {
        /// What it means.
        outcome: crate::retry::Outcome,
        /// What it said.
        detail: String,
    },
}

/// The guarded client. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    clock: Arc<dyn Clock>,
    tls: Tls,
}

impl Client {
    /// A client by these rules.
    ///
    /// # Errors
    /// An extra root is not a certificate.
    pub fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, BadSettings> {
        let tls = Tls::new(&settings.extra_roots)?;
        Ok(Self {
            inner: Arc::new(Inner {
                settings: settings.clone(),
                clock,
                tls,
            }),
        })
    }

    /// The moment that others' clocks show, for requests that are signed with it.
    pub(crate) fn wall(&self) -> gridpost_model::Timestamp {
        self.inner.clock.wall()
    }

    /// Where the resources are that subscriptions name.
    pub fn connections(&self) -> &Connections {
        &self.inner.settings.connections
    }

    /// Reads a URL as a place this client would dial.
    ///
    /// # Errors
    /// It is not an absolute `https` URL (or `http`, where allowed), or names an address that is refused.
    pub fn endpoint(&self, url: &str) -> Result<Endpoint, BadUrl> {
        let endpoint: Endpoint = url.parse()?;
        if !endpoint.is_tls() && !self.inner.settings.plain_http {
            return Err(BadUrl::NotHttps);
        }
        match endpoint
            .literal_address()
            .map(|ip| self.inner.settings.reach.refuses(ip))
        {
            Some(Some(kind)) => Err(BadUrl::Forbidden(kind)),
            _ => Ok(endpoint),
        }
    }

    /// Sends one request on a connection of its own.
    pub async fn send(&self, request: Request) -> Outcome {
        let deadline = self.inner.clock.now() + RESPONSE_TIMEOUT;
        match self.within(deadline, self.exchange_once(request)).await {
            Ok(response) => Outcome::Answered(response),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn exchange_once(&self, request: Request) -> Result<Response, Failure> {
        let mut connection = self.connect(&request.endpoint).await?;
        let message = connection::message(request);
        connection.exchange(message).await
    }

    /// Ends with `TimedOut` at the deadline.
    async fn within<T>(
        &self,
        deadline: gridpost_model::Timestamp,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        let mut timer = self.inner.clock.sleep_until(deadline);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            timer
                .as_mut()
                .poll(context)
                .map(|()| Err(Failure::TimedOut))
        })
        .await
    }

    /// Resolves, checks every address, dials the allowed ones in order, and speaks TLS where the URL says so.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Failure> {
        let tcp = self.dial(endpoint).await?;
        // The destination's kernel gets each request as soon as it is written; there is never more to wait for.
        tcp.set_nodelay(true).map_err(socket)?;
        let stream = if endpoint.is_tls() {
            Stream::Tls(Box::new(
                self.inner.tls.connect(endpoint.host(), tcp).await?,
            ))
        } else {
            Stream::Plain(tcp)
        };
        Connection::open(stream).await
    }

    /// As `connect` does, for protocols other than HTTP.
    pub(crate) async fn stream(&self, endpoint: &Endpoint) -> Result<Stream, Failure> {
        let tcp = self.dial(endpoint).await?;
        tcp.set_nodelay(true).map_err(socket)?;
        if !endpoint.is_tls() {
            return Ok(Stream::Plain(tcp));
        }
        let tls = self.inner.tls.connect_unnamed(endpoint.host(), tcp).await?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<TcpStream, Failure> {
        let addresses = lookup_host((endpoint.bare_host(), endpoint.port()))
            .await
            .map_err(|_| Failure::Resolution)?;
        let (mut allowed, mut failure) = (Vec::new(), Failure::Resolution);
        for address in addresses {
            match self.inner.settings.reach.refuses(address.ip()) {
                Some(kind) if failure == Failure::Resolution => failure = Failure::Forbidden(kind),
                Some(_) => (),
                None => allowed.push(address),
            }
        }
        if allowed.is_empty() {
            return Err(failure);
        }
        self.dial_one_of(&allowed).await
    }

    /// Dials addresses in order until one takes the connection. None but the last may use up the time of the others:
    /// a host whose IPv6 leads nowhere is reached all the same.
    async fn dial_one_of(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        let mut failure = Failure::Resolution;
        let among = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let share = (RESPONSE_TIMEOUT / among).min(ADDRESS_PATIENCE);
        for (index, address) in addresses.iter().enumerate() {
            let dialled = async { TcpStream::connect(address).await.map_err(socket) };
            let dialled = if index + 1 == addresses.len() {
                dialled.await
            } else {
                self.within(self.inner.clock.now() + share, dialled).await
            };
            match dialled {
                Ok(stream) => return Ok(stream),
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` takes")]
fn socket(error: std::io::Error) -> Failure {
    Failure::Socket(error.kind().to_string())
}

#[cfg(test)]
mod tests {
    use gridpost_model::Timestamp;
    use gridpost_sim::VirtualClock;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// An address that answers nothing: its backlog is full, so the system drops whoever knocks.
    async fn black_hole() -> (SocketAddr, TcpListener, TcpStream) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let only_one = TcpStream::connect(address).await.unwrap();
        (address, listener, only_one)
    }

    #[tokio::test]
    async fn an_address_that_leads_nowhere_does_not_take_the_time_of_the_next() {
        let (nowhere, _listener, _only_one) = black_hole().await;
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [nowhere, good.local_addr().unwrap()];
        let clock = VirtualClock::at(Timestamp::EPOCH);
        let client = Client::new(&Settings::default(), Arc::new(clock.clone())).unwrap();
        let dialled = client.dial_one_of(&addresses);
        tokio::pin!(dialled);
        let early = poll_fn(|context| Poll::Ready(dialled.as_mut().poll(context).is_pending()));
        assert!(early.await, "the first address does not answer");
        clock.turn_to(Timestamp::EPOCH + ADDRESS_PATIENCE);
        let stream = dialled.await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
    }
}
