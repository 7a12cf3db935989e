//! A webhook that turns incoming texts into push notifications, in any browser that asked for them.
//!
//! Read `webhook` first, then `push`, `encryption` and `vapid`; `page` and `subscriptions` are how browsers get on the
//! list. `run` beside this folder starts it all.
//!
//! Promise: it listens on this machine only, unless told otherwise. Whoever reaches it can subscribe, so in public it belongs
//! behind something that knows its users.

mod clock;
mod encryption;
mod outbound;
mod output;
mod page;
mod push;
mod subscriptions;
mod vapid;
mod webhook;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use clap::Parser;
use tokio::net::TcpListener;

use outbound::Outbound;
use page::Screen;
use push::Push;
use subscriptions::Subscriptions;
use vapid::Vapid;

#[derive(Parser)]
#[command(about = "Turns Microsoft.Communication.SMSReceived events into push notifications")]
struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:4280")]
    listen: SocketAddr,
    /// Keeps the key and the subscriptions
    #[arg(long, default_value = "push-data")]
    directory: PathBuf,
    /// Where the operators of push services reach you, `mailto:` or `https:`; some refuse pushes without
    #[arg(long, default_value = "mailto:operator@example.com")]
    contact: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments {
        listen,
        directory,
        contact,
    } = Arguments::parse();
    let push = open(&directory, contact).await?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listening on {listen}"))?;
    // By name: browsers run service workers on `localhost` without TLS.
    let port = listener.local_addr()?.port();
    output::line(&format!("the page is http://localhost:{port}/"));
    output::line(&format!("the webhook is http://localhost:{port}/events"));
    Ok(axum::serve(listener, routes(Arc::new(push))).await?)
}

/// Everything that is kept, made or found in the directory.
async fn open(directory: &Path, contact: String) -> Result<Push> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("making {}", directory.display()))?;
    Ok(Push {
        vapid: Vapid::open(&directory.join("vapid.key"), contact)?,
        subscriptions: Subscriptions::open(directory.join("subscriptions.json")).await?,
        outbound: Outbound::new()?,
    })
}

fn routes(push: Arc<Push>) -> Router {
    let events = Router::new()
        .route("/events", post(webhook::receive))
        .layer(DefaultBodyLimit::max(webhook::MAX_BODY_BYTES));
    let subscriptions = Router::new()
        .route("/key", get(page::key))
        .route("/subscriptions", post(page::subscribe))
        .layer(DefaultBodyLimit::max(page::MAX_BODY_BYTES));
    let screen = Router::new()
        .route("/received", get(page::shown).post(page::show))
        .layer(DefaultBodyLimit::max(page::MAX_BODY_BYTES))
        .with_state(Arc::new(Screen::default()));
    Router::new()
        .route("/", get(page::index))
        .route("/page.js", get(page::script))
        .route("/worker.js", get(page::worker))
        .merge(events)
        .merge(subscriptions)
        .with_state(push)
        .merge(screen)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;
    use crate::subscriptions::tests::subscription;

    #[tokio::test]
    async fn a_browser_subscribes_with_json_and_is_still_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || open(folder.path(), "mailto:operator@example.com".to_owned());
        let router = routes(Arc::new(open().await.unwrap()));
        let post = async |kind: &str, body: String| {
            let request = Request::post("/subscriptions")
                .header("content-type", kind)
                .body(Body::from(body))
                .unwrap();
            router.clone().oneshot(request).await.unwrap().status()
        };
        let browser = subscription("https://push.example.net/a");
        let good = serde_json::to_string(&browser).unwrap();
        let json = "application/json";
        let refused = [
            (post("text/plain", good.clone()).await, 415),
            (post(json, good.replace("https", "http")).await, 422),
            (post(json, " ".repeat(page::MAX_BODY_BYTES + 1)).await, 413),
        ];
        for (status, expected) in refused {
            assert_eq!(status.as_u16(), expected);
        }
        assert_eq!(post(json, good).await, StatusCode::CREATED);
        let kept = open().await.unwrap().subscriptions.all().await;
        assert_eq!(kept, [browser]);
    }
}
