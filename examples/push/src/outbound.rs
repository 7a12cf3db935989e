//! One HTTP request to a push service.
//!
//! Promise: a certificate is always verified, an answer is waited for no longer than `PATIENCE`, and no more of it is read
//! than an error message needs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a push service may take, from the connection to the answer. See `push::AT_ONCE` for what depends on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A sentence of explanation. What is longer is a page for people.
const MAX_ANSWER_BYTES: usize = 4096;

/// Posts over HTTP/1.1, which every push service takes.
pub(crate) struct Outbound {
    tls: TlsConnector,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The explanation, if there was a short one.
    pub(crate) text: String,
}

impl Outbound {
    /// With the system's root certificates.
    pub(crate) fn new() -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Sends the request to where its URI says.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        tokio::time::timeout(PATIENCE, self.exchange(request))
            .await
            .map_err(|_| anyhow!("no answer within {} s", PATIENCE.as_secs()))?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let uri = request.uri().clone();
        let host = uri.host().context("an address without a host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_plain = uri.scheme_str() == Some("http");
        let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        let tcp = TcpStream::connect((host, port))
            .await
            .context("connecting")?;
        if is_plain {
            return converse(tcp, &uri, request).await;
        }
        let name = ServerName::try_from(host.to_owned())?;
        let tls = self.tls.connect(name, tcp).await.context("TLS")?;
        converse(tls, &uri, request).await
    }
}

/// One request and its answer; the connection ends with them.
async fn converse<S>(stream: S, uri: &Uri, mut request: Request<Full<Bytes>>) -> Result<Answer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let authority = uri.authority().context("an address without a host")?;
    request
        .headers_mut()
        .insert(header::HOST, authority.as_str().parse()?);
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    *request.uri_mut() = path.parse()?;

    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It carries the bytes, and ends by itself once `sender` is gone.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let text = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_or_else(
            |_| String::new(),
            |body| String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        );
    Ok(Answer { status, text })
}
