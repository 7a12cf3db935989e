//! TLS towards destinations: the system's roots, plus those we are given.
//!
//! Promise: a certificate is always verified. The system's roots are read at the first TLS connection, because a
//! process that never makes one should not wait for them at its start.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

use super::Failure;

/// An extra root certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("an extra root is not a certificate")]
pub struct BadSettings(#[from] rustls::Error);

/// Verified TLS.
pub(super) struct Tls {
    extra: Vec<CertificateDer<'static>>,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(extra_roots: &[Vec<u8>]) -> Result<Self, BadSettings> {
        let extra: Vec<_> = extra_roots.iter().map(|der| der.clone().into()).collect();
        let mut probe = RootCertStore::empty();
        for root in &extra {
            probe.add(CertificateDer::clone(root))?;
        }
        Ok(Self {
            extra,
            config: OnceLock::new(),
        })
    }

    /// Shakes hands and verifies the certificate for `host`.
    pub(super) async fn connect(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let config = Arc::clone(self.config.get_or_init(|| Arc::new(self.configure())));
        shake_hands(config, host, tcp).await
    }

    /// As `connect` does, without naming a protocol of HTTP.
    pub(super) async fn connect_unnamed(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let config = self.config.get_or_init(|| Arc::new(self.configure()));
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols.clear();
        shake_hands(Arc::new(config), host, tcp).await
    }

    fn configure(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            warn!(%error, "some of the system's root certificates could not be read");
        }
        roots.add_parsable_certificates(system.certs);
        roots.add_parsable_certificates(self.extra.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the ring provider supports both protocol versions we compile in")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

async fn shake_hands(
    config: Arc<ClientConfig>,
    host: &str,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let name = ServerName::try_from(bare).map_err(|error| Failure::Tls(error.to_string()))?;
    TlsConnector::from(config)
        .connect(name, tcp)
        .await
        .map_err(|error| Failure::Tls(error.to_string()))
}
