//! The address a client dialled, which is the address it is told to come back to.
//!
//! Promise: every URL we hand out begins with the scheme and the host that the asking client used.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Uri, request};

use crate::Parts;
use crate::own::guard::is_own_host;

/// Who asks, and how; the listener puts it into the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The address at the other end of the connection.
    pub address: IpAddr,
    /// With or without TLS.
    pub scheme: Scheme,
}

/// A connection's place among those that may be open. The listener puts it into the extensions of a request that asks
/// for another protocol; whoever goes on with the connection keeps it as long.
#[derive(Clone)]
pub struct Place(pub Arc<dyn Any + Send + Sync>);

/// The scheme of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

/// `https://host:port` as the client dialled it, without a trailing slash.
pub fn base_url(parts: &Parts, request: &request::Parts) -> String {
    let caller = request.extensions.get::<Caller>();
    let scheme = match caller.map(|caller| caller.scheme) {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        None => parts.base_url.split(':').next().unwrap_or("https"),
    };
    match host(&request.uri, &request.headers) {
        Some(host) if is_plain(host) => format!("{scheme}://{host}"),
        _ => parts.base_url.clone(),
    }
}

/// What [`base_url`] says when the client dialled one of our names; otherwise the configured address. For what outlives
/// the call, lest a forged `Host` ends up in it.
pub fn own_base_url(parts: &Parts, request: &request::Parts) -> String {
    match host(&request.uri, &request.headers) {
        Some(host) if is_own_host(parts, host) => base_url(parts, request),
        _ => parts.base_url.clone(),
    }
}

/// `host:port` as the client dialled it: HTTP/2 has it in the target, HTTP/1.1 in a header.
pub fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let in_target = uri.authority().map(http::uri::Authority::as_str);
    in_target.or_else(|| headers.get(http::header::HOST)?.to_str().ok())
}

fn is_plain(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        })
}
