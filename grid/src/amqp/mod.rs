//! Peers that speak AMQP 1.0: where they are, who we are to them, and what their nodes are called.
//!
//! Promise: a connection string is understood whole or refused with what is wrong; the key never leaves the type but
//! to the peer, while a connection is opened.
//! Not here: which resource a peer has (`connections`), what a message says (`destination::message`).
//! Source: AMQP 1.0 parts 2 and 5; the connection strings of Service Bus and Event Hubs.

mod link;
mod verdict;

use std::fmt;

use gridpost_model::{ResourceId, Secret};
use percent_encoding::percent_decode_str;
use url::Url;

pub(crate) use link::Link;

/// A peer that messages are sent to.
#[derive(Clone)]
pub struct Peer {
    tls: bool,
    host: Box<str>,
    port: u16,
    login: Option<Login>,
    address: Box<str>,
}

/// Who we are, for SASL PLAIN. Without one it is ANONYMOUS.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) user: Box<str>,
    pub(crate) password: Secret,
}

/// A text that does not say where a peer is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPeer {
    /// It has neither of the two forms.
    #[error(
        "it is neither amqp(s)://user:password@host:port nor Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…"
    )]
    Malformed,
    /// The URL has a path or a query, which mean nothing here.
    #[error("its URL has something after the port")]
    TooMuch,
    /// A part has a name that means nothing to us.
    #[error("it has the unknown part '{0}'")]
    Unknown(String),
    /// A part is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A signature instead of a key.
    #[error("shared access signatures are not supported; use the one with a SharedAccessKey")]
    SharedAccessSignature,
}

/// What stands in an address for the name of the queue, topic or hub.
const NAME: &str = "{name}";

const PLAIN_PORT: u16 = 5672;
const TLS_PORT: u16 = 5671;

impl Peer {
    /// Reads where a peer is: `amqps://user:password@host:port`, or a connection string as the portal writes it.
    /// `address` is what its nodes are called, with `{name}` for the last segment of the resource id; `{name}` alone
    /// when it is not given, or the `EntityPath` of the connection string.
    ///
    /// # Errors
    /// It is neither, or lacks a part.
    pub fn read(text: &str, address: Option<&str>) -> Result<Self, BadPeer> {
        let text = text.trim();
        let (mut peer, entity) = if text.starts_with("amqp") {
            (Self::of_url(text)?, None)
        } else {
            Self::of_parts(text)?
        };
        if let Some(address) = address.or(entity) {
            peer.address = address.into();
        }
        Ok(peer)
    }

    fn of_url(text: &str) -> Result<Self, BadPeer> {
        let url = Url::parse(text).map_err(|_| BadPeer::Malformed)?;
        let (tls, usual) = match url.scheme() {
            "amqps" => (true, TLS_PORT),
            "amqp" => (false, PLAIN_PORT),
            _ => return Err(BadPeer::Malformed),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(BadPeer::TooMuch);
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = (!url.username().is_empty()).then(|| Login {
            user: decoded(url.username()).into(),
            password: Secret::new(decoded(url.password().unwrap_or_default())),
        });
        Ok(Self {
            tls,
            host: host.ok_or(BadPeer::Malformed)?.into(),
            port: url.port().unwrap_or(usual),
            login,
            address: NAME.into(),
        })
    }

    /// The second value is the entity that the string names.
    fn of_parts(text: &str) -> Result<(Self, Option<&str>), BadPeer> {
        let (mut endpoint, mut user, mut key, mut entity) = (None, None, None, None);
        let mut emulator = false;
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            let (name, value) = part.split_once('=').ok_or(BadPeer::Malformed)?;
            let value = value.trim();
            match &*name.trim().to_ascii_lowercase() {
                "endpoint" => endpoint = Some(value),
                "sharedaccesskeyname" => user = Some(value),
                "sharedaccesskey" => key = Some(value),
                "entitypath" => entity = Some(value),
                "usedevelopmentemulator" => emulator = value.eq_ignore_ascii_case("true"),
                "sharedaccesssignature" => return Err(BadPeer::SharedAccessSignature),
                _ => return Err(BadPeer::Unknown(name.trim().to_owned())),
            }
        }
        let endpoint = endpoint.ok_or(BadPeer::Missing("Endpoint"))?;
        let url = Url::parse(endpoint).map_err(|_| BadPeer::Malformed)?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let peer = Self {
            tls: !emulator,
            host: host.ok_or(BadPeer::Malformed)?.into(),
            port: url
                .port()
                .unwrap_or(if emulator { PLAIN_PORT } else { TLS_PORT }),
            login: Some(Login {
                user: user.ok_or(BadPeer::Missing("SharedAccessKeyName"))?.into(),
                password: Secret::new(key.ok_or(BadPeer::Missing("SharedAccessKey"))?),
            }),
            address: NAME.into(),
        };
        Ok((peer, entity))
    }

    /// Where it is, as the client that dials takes it: only host, port and TLS are looked at.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}/", self.host, self.port)
    }

    /// What the node is called that stands for a queue, topic or hub.
    pub fn address(&self, resource: &ResourceId) -> String {
        self.address.replace(NAME, resource.name())
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(peer: &Peer) -> (&str, &str) {
        let login = peer.login().unwrap();
        (&login.user, login.password.reveal())
    }

    fn queue() -> ResourceId {
        "/subscriptions/s/providers/Microsoft.ServiceBus/namespaces/ns/queues/Orders"
            .parse()
            .unwrap()
    }

    #[test]
    fn a_url_says_where_the_peer_is_and_who_we_are() {
        let peer = Peer::read("amqp://me:a%2Fb@localhost:1234", Some("/queue/{name}")).unwrap();
        assert_eq!(peer.url(), "http://localhost:1234/");
        assert_eq!(login(&peer), ("me", "a/b"));
        assert_eq!(peer.address(&queue()), "/queue/Orders");
        let peer = Peer::read("amqps://broker.example", None).unwrap();
        assert_eq!(peer.url(), "https://broker.example:5671/");
        assert!(peer.login().is_none());
        assert_eq!(peer.address(&queue()), "Orders");
    }

    #[test]
    fn what_the_portal_writes_is_understood() {
        let text = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=Send;SharedAccessKey=a2V5=";
        let peer = Peer::read(text, None).unwrap();
        assert_eq!(peer.url(), "https://ns.servicebus.windows.net:5671/");
        assert_eq!(login(&peer), ("Send", "a2V5="));
        assert_eq!(peer.address(&queue()), "Orders");
        let named = Peer::read(&format!("{text};EntityPath=hub"), None).unwrap();
        assert_eq!(named.address(&queue()), "hub");
        let emulator = format!("{text};UseDevelopmentEmulator=true");
        let emulator = Peer::read(&emulator, None).unwrap();
        assert_eq!(emulator.url(), "http://ns.servicebus.windows.net:5672/");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let table = [
            ("", BadPeer::Missing("Endpoint")),
            ("nonsense", BadPeer::Malformed),
            ("amqp:", BadPeer::Malformed),
            ("amqp://host/vhost", BadPeer::TooMuch),
            ("Endpoint=sb://a/", BadPeer::Missing("SharedAccessKeyName")),
            (
                "Endpoint=sb://a/;SharedAccessKeyName=n",
                BadPeer::Missing("SharedAccessKey"),
            ),
            ("Endpint=sb://a/", BadPeer::Unknown("Endpint".into())),
            (
                "Endpoint=sb://a/;SharedAccessSignature=x",
                BadPeer::SharedAccessSignature,
            ),
        ];
        for (text, wrong) in table {
            assert_eq!(Peer::read(text, None).unwrap_err(), wrong, "{text}");
        }
    }

    #[test]
    fn a_peer_is_shown_without_its_key() {
        let peer = Peer::read("amqp://me:s3cret@localhost", None).unwrap();
        assert_eq!(format!("{peer:?}"), "amqp://localhost:5672/{name}");
    }
}
