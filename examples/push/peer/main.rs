//! A push service for one browser, for the test: what Mozilla runs for every Firefox, small enough to read.
//!
//! Firefox speaks its own protocol over a WebSocket (hello, register, notification, ack) and application servers post by
//! RFC 8030; both are here. Mozilla's own server is open, but no registry has it: it would have to be compiled, with a
//! database beside it. In Rust because everything needed is in the workspace already.
//!
//! Promise: a push that is taken was signed by the key the browser subscribed to (`authorization`). This one cannot read a
//! message either; whether it was encrypted well, the browser says.
//! Not here: anything durable, and TLS.

mod authorization;
mod browser;
mod channels;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use clap::Parser;
use tokio::net::TcpListener;

use channels::{Channels, Message};

/// What RFC 8030, section 7.2, makes every push service take; the real ones take no more.
const MAX_MESSAGE_BYTES: usize = 4096;

#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// What every request may look at.
struct Service {
    /// Our address as it stands in endpoints, which tokens must name.
    origin: String,
    channels: Channels,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind(Arguments::parse().listen).await?;
    let address = listener.local_addr()?;
    let service = Service {
        origin: format!("http://{address}"),
        channels: Channels::default(),
    };
    say(&format!("browsers connect to ws://{address}/"));
    let router = Router::new()
        .route("/", get(browser::connect))
        .route("/push/{channel}", post(push))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .with_state(Arc::new(service));
    Ok(axum::serve(listener, router).await?)
}

/// RFC 8030, section 5: an application server has a message for a browser.
async fn push(
    State(service): State<Arc<Service>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match take(&service, &channel, &headers, &body) {
        Ok(version) => {
            say(&format!("201 {} bytes as {version}", body.len()));
            let location = format!("{}/message/{version}", service.origin);
            (StatusCode::CREATED, [(header::LOCATION, location)]).into_response()
        }
        Err((status, why)) => {
            say(&format!("{} {why}", status.as_u16()));
            (status, why).into_response()
        }
    }
}

/// Everything that a push must have, in the order of what is most telling when it is missing.
fn take(
    service: &Service,
    channel: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<String, (StatusCode, String)> {
    let bad = |why: &str| (StatusCode::BAD_REQUEST, why.to_owned());
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());

    let key = service
        .channels
        .key(channel)
        .ok_or((StatusCode::GONE, "nobody subscribes here".to_owned()))?;
    authorization::check(
        text("authorization").unwrap_or_default(),
        key.as_deref(),
        &service.origin,
        now_seconds(),
    )
    .map_err(|refused| (refused.status(), refused.to_string()))?;
    text("ttl")
        .and_then(|ttl| ttl.parse::<u32>().ok())
        .ok_or_else(|| bad("no TTL in seconds (RFC 8030, section 5.2)"))?;
    if text("content-encoding") != Some("aes128gcm") {
        return Err(bad("the content is not encrypted as RFC 8291 says"));
    }
    let topic = text("topic").map(str::to_owned);
    let is_topic = |topic: &String| {
        topic.len() <= 32
            && topic
                .bytes()
                .all(|letter| letter.is_ascii_alphanumeric() || b"-_".contains(&letter))
    };
    if !topic.as_ref().is_none_or(is_topic) {
        return Err(bad("not a topic (RFC 8030, section 5.4)"));
    }
    let data = body.to_vec();
    service
        .channels
        .put(channel, |version| Message {
            topic,
            version,
            data,
        })
        .ok_or((
            StatusCode::TOO_MANY_REQUESTS,
            "the browser takes nothing".to_owned(),
        ))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a token expires by the time of day; there is no virtual clock to turn"
)]
fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// One line for whoever reads the log of a test.
#[expect(clippy::print_stdout, reason = "its output is the log of the test")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: &str = "0d8a7c1e";

    fn service() -> Service {
        let service = Service {
            origin: "http://127.0.0.1:1".to_owned(),
            channels: Channels::default(),
        };
        service.channels.register(CHANNEL, None);
        service
    }

    fn status(channel: &str, without: &str) -> Option<StatusCode> {
        let mut headers = HeaderMap::new();
        let token = authorization::tests::good("http://127.0.0.1:1", now_seconds() + 60);
        headers.insert("authorization", token.parse().unwrap());
        headers.insert("ttl", "60".parse().unwrap());
        headers.insert("content-encoding", "aes128gcm".parse().unwrap());
        headers.remove(without);
        take(&service(), channel, &headers, b"sealed")
            .err()
            .map(|refused| refused.0)
    }

    #[test]
    fn a_push_needs_all_that_the_real_ones_ask_for() {
        assert_eq!(status(CHANNEL, ""), None);
        assert_eq!(
            status(CHANNEL, "authorization"),
            Some(StatusCode::UNAUTHORIZED)
        );
        assert_eq!(status(CHANNEL, "ttl"), Some(StatusCode::BAD_REQUEST));
        assert_eq!(
            status(CHANNEL, "content-encoding"),
            Some(StatusCode::BAD_REQUEST)
        );
        assert_eq!(status("another", ""), Some(StatusCode::GONE));
    }
}
