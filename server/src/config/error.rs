//! Why a configuration cannot be used, in words that say what to do.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not valid TOML")]
    NotToml {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A setting does not exist.
    #[error("there is no setting `{setting}` (from {origin}); `gridpost config` shows all of them")]
    Unknown {
        /// Its path.
        setting: String,
        /// Where it came from.
        origin: String,
    },
    /// A variable that is no setting and nearly one.
    #[error(
        "the environment has {variable}, which is no setting: did you mean {meant}? `gridpost config` shows all of them"
    )]
    UnknownVariable {
        /// Its name.
        variable: String,
        /// The nearest one that is.
        meant: String,
    },
    /// A value is not of the setting's kind.
    #[error("{0}")]
    BadValue(String),
    /// A public address in the development profile.
    #[error(
        "the development profile answers local callers without a password, so it only listens on this machine, and \
         {0} is reachable from others.\nUse --listen 127.0.0.1:{port}, or --profile production with \
         tls.certificate_file, tls.key_file and a principal (see `gridpost config`).",
        port = .0.port()
    )]
    PublicAddress(SocketAddr),
    /// Production without certificates on a public address.
    #[error(
        "the production profile on {0} needs your own certificate: set tls.certificate_file and tls.key_file, or \
         listen on loopback behind a proxy that ends TLS."
    )]
    NoCertificate(SocketAddr),
}
