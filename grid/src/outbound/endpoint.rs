//! Where a request goes: a URL, taken apart once.
//!
//! Promise: an `Endpoint` has a host, a port and a path with its query; its secret query is never printed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderValue;
use http::uri::{PathAndQuery, Uri};
use url::{Host, Url};

use super::AddressKind;

/// A place to send requests to.
#[derive(Clone)]
pub struct Endpoint(Arc<Parts>);

struct Parts {
    tls: bool,
    host: Box<str>,
    literal: Option<IpAddr>,
    port: u16,
    authority: HeaderValue,
    target: Uri,
}

/// A URL that cannot be a destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not an absolute URL of HTTP.
    #[error("not an absolute http or https URL")]
    Malformed,
    /// Only `https` is taken.
    #[error("only https URLs are allowed")]
    NotHttps,
    /// It names an address that is not allowed.
    #[error("the host is {0}, which is not allowed as a destination")]
    Forbidden(AddressKind),
    /// It is not a URL but a resource that the configuration does not know.
    #[error(transparent)]
    NotConfigured(#[from] crate::connections::NotConfigured),
}

impl Endpoint {
    /// Whether requests are encrypted.
    pub fn is_tls(&self) -> bool {
        self.0.tls
    }

    /// The host as the URL writes it; IPv6 addresses in brackets.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The port, given or implied.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The address, when the host is one.
    pub(crate) fn literal_address(&self) -> Option<IpAddr> {
        self.0.literal
    }

    /// The host as a resolver takes it.
    pub(crate) fn bare_host(&self) -> &str {
        self.0.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether both were made from one parse: a connection to one is a connection to the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The value of the `host` header.
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.0.authority
    }

    /// Path and query, as the request line carries them.
    pub(crate) fn target(&self) -> &Uri {
        &self.0.target
    }
}

impl FromStr for Endpoint {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let url = Url::parse(text).map_err(|_| BadUrl::Malformed)?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(BadUrl::Malformed),
        };
        let host = url.host_str().ok_or(BadUrl::Malformed)?;
        let port = url.port_or_known_default().ok_or(BadUrl::Malformed)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let target = PathAndQuery::from_maybe_shared(target).map_err(|_| BadUrl::Malformed)?;
        Ok(Self(Arc::new(Parts {
            tls,
            host: host.into(),
            literal: match url.host() {
                Some(Host::Ipv4(ip)) => Some(ip.into()),
                Some(Host::Ipv6(ip)) => Some(ip.into()),
                _ => None,
            },
            port,
            authority: HeaderValue::from_str(&authority).map_err(|_| BadUrl::Malformed)?,
            target: target.into(),
        })))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.0.tls { "https" } else { "http" };
        write!(
            f,
            "{scheme}://{}:{}{}",
            self.0.host,
            self.0.port,
            self.0.target.path()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_its_query_stays_secret() {
        let endpoint: Endpoint = "https://Example.com/hook?code=s3cret".parse().unwrap();
        assert!(endpoint.is_tls());
        assert_eq!(endpoint.port(), 443);
        assert_eq!(endpoint.authority(), "example.com");
        assert_eq!(endpoint.target().to_string(), "/hook?code=s3cret");
        assert_eq!(format!("{endpoint:?}"), "https://example.com:443/hook");
    }

    #[test]
    fn odd_spellings_of_an_address_are_the_address() {
        for text in ["http://127.1/", "http://0x7f.0.0.1/", "http://2130706433/"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(
                endpoint.literal_address(),
                Some("127.0.0.1".parse().unwrap()),
                "{text}"
            );
        }
        let six: Endpoint = "http://[::1]:8080/x".parse().unwrap();
        assert_eq!(
            (six.host(), six.bare_host(), six.port()),
            ("[::1]", "::1", 8080)
        );
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in ["ftp://a/", "/relative", "https://", "data:text/plain,x"] {
            assert_eq!(
                text.parse::<Endpoint>().unwrap_err(),
                BadUrl::Malformed,
                "{text}"
            );
        }
    }
}
