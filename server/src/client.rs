//! A client of our own server, as small as the commands need it.
//!
//! Promise: what it sends is what any client could send; the server is trusted by its authority, never blindly. A command
//! acts as the principal that the environment names, and as nobody else when there is one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use gridpost_api::auth::machine;
use gridpost_api::path;
use gridpost_model::Clock as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::assembly;
use crate::config::{Config, Profile};
use crate::credentials::{self, Credentials};
use crate::output::{Exit, Failure, text_of};
use crate::real::SystemClock;
use crate::running::Running;

mod identity;
mod signature;
mod stream;

use identity::{Identity, credentials_of, named};
pub use signature::{Signature, sign};
pub use stream::Stream;

/// The versions we speak ourselves.
pub(crate) const MANAGEMENT_VERSION: &str = "2025-02-15";

/// A server that does not take a connection within this long is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The longest that a call which does not wait for anything may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The longest that a call may take in which the server asks an endpoint: twice 30 s, and 5 s in between.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(90);

/// The longest that a call of Resource Manager may take.
pub(crate) fn answer_within(method: &Method, path: &str) -> Duration {
    let changes = matches!(*method, Method::PUT | Method::PATCH);
    match changes && path.to_ascii_lowercase().contains("/eventsubscriptions/") {
        true => HANDSHAKE_WITHIN,
        false => ANSWER_WITHIN,
    }
}

/// A connection to a server.
pub struct Client {
    running: Running,
    tls: Option<TlsConnector>,
    identity: Identity,
    /// The data folder.
    data: PathBuf,
}

impl Client {
    /// The client of the server that runs on this configuration's data folder. It acts as the principal that the
    /// environment names.
    ///
    /// # Errors
    /// There is none.
    pub fn find(config: &Config) -> Result<Self, Failure> {
        let mut found = Self::find_as_own(config)?;
        if let Identity::BuiltIn(own) = found.identity {
            found.identity = Identity::choose(Some(own), named());
        }
        Ok(found)
    }

    /// The same, acting as the built-in principal where there is one, whatever the environment says.
    ///
    /// # Errors
    /// There is none.
    pub fn find_as_own(config: &Config) -> Result<Self, Failure> {
        let running = Running::find(&config.data).ok_or_else(|| {
            Failure::said(
                Exit::NoServer,
                format!(
                    "no server is running on the data folder {}; start one with `gridpost serve`, or name its folder \
                     with --data or GRIDPOST_DATA, which `gridpost env` prints",
                    config.data.display()
                ),
            )
        })?;
        Ok(Self::of(running, &config.data)?)
    }

    /// The client of a server whose data folder is known. It acts as the built-in principal where there is one.
    ///
    /// # Errors
    /// The authority it names cannot be read.
    pub fn of(running: Running, data: &Path) -> anyhow::Result<Self> {
        let tls = running.authority.as_deref().map(trusting).transpose()?;
        // Those of a folder that was in the development profile once open nothing in another.
        let built_in = match running.profile {
            Profile::Development => Credentials::load(data).ok(),
            Profile::Production => None,
        };
        let identity = match built_in {
            Some(own) => Identity::BuiltIn(own),
            None => Identity::choose(None, named()),
        };
        Ok(Self {
            running,
            tls,
            identity,
            data: data.to_owned(),
        })
    }

    /// Signs in as this principal from now on; `file` holds its secret.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sign_in_as(&mut self, client_id: &str, file: &Path) -> anyhow::Result<()> {
        let secret = std::fs::read_to_string(file)
            .with_context(|| format!("reading the secret of {client_id} in {}", file.display()))?;
        self.identity = Identity::Named(credentials_of(client_id.to_owned(), secret.trim()));
        Ok(())
    }

    /// The server.
    pub fn server(&self) -> &Running {
        &self.running
    }

    /// Calls our own REST: the path is what follows `/_gridpost/v1/`.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn own(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let token = self.token_if_needed().await?;
        self.call(
            method,
            &format!("/_gridpost/v1/{path}"),
            body,
            token.as_deref(),
            ANSWER_WITHIN,
        )
        .await
    }

    /// Calls our own REST about how somebody else signs in, for which one has to sign in everywhere.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn own_signed_in(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let token = self.token().await?;
        let path = format!("/_gridpost/v1/{path}");
        self.call(method, &path, body, Some(&token), ANSWER_WITHIN)
            .await
    }

    /// Calls our own REST where the answer may take that long.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn wait(&self, path: &str, within: Duration) -> Result<Value, Failure> {
        let token = self.token_if_needed().await?;
        let path = format!("/_gridpost/v1/{path}");
        self.call(
            Method::GET,
            &path,
            None,
            token.as_deref(),
            within + ANSWER_WITHIN,
        )
        .await
    }

    /// Calls Resource Manager about a resource.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn manage(
        &self,
        method: Method,
        id: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let token = self.token().await?;
        let path = format!("{}?api-version={MANAGEMENT_VERSION}", path::escaped(id));
        let within = answer_within(&method, id);
        self.call(method, &path, body, Some(&token), within).await
    }

    /// The connection string of the development communication resource.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn connection_string(&self) -> Result<String, Failure> {
        let id = format!("{}/listKeys", credentials::COMMUNICATION_RESOURCE);
        let keys = self.manage(Method::POST, &id, None).await?;
        Ok(text_of(&keys, "primaryConnectionString").to_owned())
    }

    /// Posts to the data plane of communication services, signed with a connection string's key.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn signed(
        &self,
        connection_string: &str,
        date: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let key = connection_string
            .split(';')
            .find_map(|part| part.trim().strip_prefix("accesskey="))
            .context("the connection string has no access key")?;
        let host = self.running.address.to_string();
        let body = Bytes::from(body.to_string());
        let signature = sign(key, path, date, &host, &body)?;
        let request = Request::post(path)
            .header(header::HOST, &host)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-ms-date", date)
            .header("x-ms-content-sha256", &signature.body_hash)
            .header(header::AUTHORIZATION, &signature.authorization)
            .body(Full::new(body))
            .context("making a request")?;
        self.answered(request, ANSWER_WITHIN).await
    }

    /// Calls the data plane of communication services with a user's token.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn as_user(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.call(method, path, body, Some(token), ANSWER_WITHIN)
            .await
    }

    /// Opens the stream of server-sent events at a path of our own REST.
    ///
    /// # Errors
    /// The server is not there, or refused.
    pub async fn stream(&self, path: &str) -> Result<Stream, Failure> {
        let mut request = self.request(Method::GET, &format!("/_gridpost/v1/{path}"));
        request = request.header(header::ACCEPT, "text/event-stream");
        if let Some(token) = self.token_if_needed().await? {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::default()).context("making a request")?;
        let response = self.send(request).await?;
        if !response.status().is_success() {
            let status = response.status();
            let body = response
                .into_body()
                .collect()
                .await
                .context("reading an answer")?
                .to_bytes();
            return Err(refused(status, &body));
        }
        Ok(Stream::of(response.into_body()))
    }

    /// Whether the server says that it is ready.
    ///
    /// # Errors
    /// It is not there, or not ready.
    pub async fn ready(&self) -> Result<Value, Failure> {
        self.call(Method::GET, "/readyz", None, None, ANSWER_WITHIN)
            .await
    }

    /// A token for our own REST, where a program of this machine needs none in the development profile: whoever was
    /// named does what its own roles allow there too.
    async fn token_if_needed(&self) -> Result<Option<String>, Failure> {
        let is_named = matches!(self.identity, Identity::Named(_));
        match self.running.profile {
            Profile::Development if !is_named => Ok(None),
            _ => self.token().await.map(Some),
        }
    }

    pub(crate) async fn token(&self) -> Result<String, Failure> {
        let Some(credentials) = self.identity.credentials() else {
            return self.token_of_this_machine();
        };
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &credentials.client_id)
            .append_pair("client_secret", credentials.client_secret.reveal())
            .append_pair("scope", "https://management.azure.com/.default")
            .finish();
        let request = self
            .request(Method::POST, "/adfs/oauth2/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))
            .context("making a request")?;
        let answered = self.answered(request, ANSWER_WITHIN).await;
        let answer = answered.map_err(|failure| match &self.identity {
            Identity::Named(named) if failure.exit == Exit::Refused => {
                let who = format!(
                    "signing in as {}, which AZURE_CLIENT_ID or the configuration names",
                    named.client_id
                );
                Failure::new(failure.exit, failure.error.context(who))
            }
            _ => failure,
        })?;
        Ok(text_of(&answer, "access_token").to_owned())
    }

    /// Whoever may read the data folder may do everything anyway.
    fn token_of_this_machine(&self) -> Result<String, Failure> {
        let keys = assembly::read_token_keys(&self.data).map_err(|error| {
            let needed = "this needs a sign-in: set AZURE_CLIENT_ID and AZURE_CLIENT_SECRET to a principal of the \
                          server, or run it as the user who runs the server";
            Failure::new(Exit::Refused, error.context(needed))
        })?;
        let now = SystemClock::default().now();
        let token = machine::token(&keys, credentials::TENANT, now);
        let token = token.context("signing a token")?;
        Ok(token.reveal().to_owned())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        token: Option<&str>,
        within: Duration,
    ) -> Result<Value, Failure> {
        let mut request = self.request(method, path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.answered(
            request.body(Full::from(body)).context("making a request")?,
            within,
        )
        .await
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.running.address.to_string())
    }

    async fn answered(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Value, Failure> {
        let path = request.uri().path().to_owned();
        let exchange = async {
            let response = self.send(request).await?;
            let status = response.status();
            let body = response
                .into_body()
                .collect()
                .await
                .context("reading an answer")?
                .to_bytes();
            Ok::<_, Failure>((status, body))
        };
        let (status, body) = tokio::time::timeout(within, exchange).await.map_err(|_| {
            Failure::said(
                Exit::TimedOut,
                format!("the server did not answer {path} within {within:?}"),
            )
        })??;
        if !status.is_success() {
            return Err(refused(status, &body));
        }
        Ok(serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into())))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.connect()
            .await?
            .send_request(request)
            .await
            .map_err(|error| self.gone(&error.to_string()))
    }

    /// A connection to the server.
    pub(crate) async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        tokio::time::timeout(
            CONNECT_WITHIN,
            open(self.running.address, self.tls.as_ref()),
        )
        .await
        .map_err(|_| self.gone("no connection within 5 seconds"))?
        .map_err(|error| self.gone(&format!("{error:#}")))
    }

    /// That the server does not answer.
    pub(crate) fn gone(&self, why: &str) -> Failure {
        let address = self.running.address;
        Failure::said(
            Exit::NoServer,
            format!(
                "the server at {address} does not answer ({why}); if it was killed, start it again with `gridpost \
                 serve`"
            ),
        )
    }
}

/// Opens a connection, by TLS when there is somebody to trust.
///
/// # Errors
/// Nobody answers there, or it is not who it should be.
pub async fn open(
    address: SocketAddr,
    tls: Option<&TlsConnector>,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match tls {
        None => converse(stream).await,
        Some(tls) => {
            let name = ServerName::IpAddress(address.ip().into());
            converse(tls.connect(name, stream).await?).await
        }
    }
}

async fn converse<S>(stream: S) -> anyhow::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // How the connection ended shows in the call that was on it.
        let _ = connection.await;
    });
    Ok(sender)
}

/// What dials with trust in one authority.
///
/// # Errors
/// The file cannot be read.
pub fn trusting(authority: &Path) -> anyhow::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(authority)
        .with_context(|| format!("reading the certificate authority {}", authority.display()))?;
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

pub(crate) fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = answer["error"]["message"]
        .as_str()
        .or_else(|| answer["error_description"].as_str());
    let message = match said {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    };
    if answer["error"]["code"] == "WaitTimedOut" {
        return Failure::said(Exit::TimedOut, message);
    }
    let message = format!("the server answered {status}: {message}");
    if answer["error"]["code"] == "ClockOnItsWay" {
        return Failure::new(Exit::Refused, OnItsWay(message));
    }
    Failure::said(Exit::Refused, message)
}

/// The clock was moved on, but not as far as it was asked to within one call.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OnItsWay(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_an_endpoint_may_take_as_long_as_the_server_asks_it() {
        let one = "/g/providers/Microsoft.EventGrid/topics/t/EventSubscriptions/s";
        let asked = Duration::from_secs(30 + 5 + 30);
        for method in [Method::PUT, Method::PATCH] {
            assert!(asked < answer_within(&method, one));
            assert_eq!(answer_within(&method, "/g/topics/t"), ANSWER_WITHIN);
        }
        assert_eq!(answer_within(&Method::GET, one), ANSWER_WITHIN);
    }
}
