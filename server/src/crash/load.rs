//! Those who publish, text and chat, whatever happens to the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Arguments;
use super::endpoint::{FAILING, REFUSED};
use super::ledger::Ledger;
use super::life::TOPIC;
use crate::client;
use crate::conversation::Conversation;
use crate::credentials::NUMBER;
use crate::real::nap;

/// While the server is dead, a publisher tries again this often.
const PAUSE: Duration = Duration::from_millis(5);

/// An answer slower than this is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Starts them. They end when `working` becomes false.
pub(super) fn start(
    arguments: &Arguments,
    address: SocketAddr,
    topic_key: &str,
    conversation: &Conversation,
    ledger: &Arc<Ledger>,
    working: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let publishers = (0..arguments.publishers).map(|number| Kind::Publisher {
        number,
        key: topic_key.to_owned(),
    });
    let handsets = (0..arguments.handsets).map(|number| Kind::Handset { number });
    let tokens = [&conversation.token, &conversation.other_token];
    let talkers = (0..arguments.talkers).map(|number| Kind::Talker {
        number,
        path: conversation.messages(),
        token: tokens[number as usize % 2].clone(),
    });
    publishers
        .chain(handsets)
        .chain(talkers)
        .map(|kind| {
            let (ledger, working) = (Arc::clone(ledger), Arc::clone(working));
            tokio::spawn(async move { work(&kind, address, &ledger, &working).await })
        })
        .collect()
}

enum Kind {
    Publisher {
        number: u32,
        key: String,
    },
    Handset {
        number: u32,
    },
    Talker {
        number: u32,
        path: String,
        token: String,
    },
}

async fn work(kind: &Kind, address: SocketAddr, ledger: &Ledger, working: &AtomicBool) {
    let mut connection: Option<SendRequest<Full<Bytes>>> = None;
    let mut count = 0_u64;
    while working.load(Ordering::Relaxed) {
        let Some(sender) = &mut connection else {
            match client::open(address, None).await {
                Ok(opened) => connection = Some(opened),
                Err(_) => nap(PAUSE).await,
            }
            continue;
        };
        count += 1;
        // A name is used once: after an attempt without an answer nobody knows whether it was kept.
        let name = kind.name(count);
        let Ok(request) = kind.request(&name) else {
            return;
        };
        match tokio::time::timeout(ANSWER_WITHIN, answered(sender, request)).await {
            Ok(Ok((status, body))) if status.is_success() => kind.note(name, &body, ledger),
            Ok(Ok(_)) => nap(PAUSE).await,
            _ => connection = None,
        }
    }
}

async fn answered(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<(StatusCode, Bytes)> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    // Only a whole answer counts: a client that sees half of one knows nothing.
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, body))
}

impl Kind {
    fn name(&self, count: u64) -> String {
        match self {
            Self::Publisher { number, .. } if count.is_multiple_of(10) => {
                format!("{REFUSED}{number}-{count}")
            }
            Self::Publisher { number, .. } if count.is_multiple_of(23) => {
                format!("{FAILING}{number}-{count}")
            }
            Self::Publisher { number, .. } => format!("event-{number}-{count}"),
            Self::Handset { number } => format!("text-{number}-{count}"),
            Self::Talker { number, .. } => format!("said-{number}-{count}"),
        }
    }

    /// Notes that the server said it keeps this.
    fn note(&self, name: String, answer: &[u8], ledger: &Ledger) {
        if !matches!(self, Self::Talker { .. }) {
            return ledger.acknowledge(name);
        }
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let message = answer["id"].as_str().unwrap_or_default();
        ledger.talk.acknowledge(message.to_owned(), name);
    }

    fn request(&self, name: &str) -> http::Result<Request<Full<Bytes>>> {
        let request = Request::builder()
            .method("POST")
            .header(header::HOST, "localhost");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        match self {
            Self::Publisher { key, .. } => {
                let events = json!([{
                    "id": name, "subject": "crash", "eventType": "Gridpost.Crash", "dataVersion": "1.0",
                    "eventTime": "2026-01-01T00:00:00Z", "data": {},
                }]);
                request
                    .uri(format!("/topics/{TOPIC}/api/events?api-version=2018-01-01"))
                    .header("aeg-sas-key", key)
                    .body(Full::from(events.to_string()))
            }
            Self::Handset { number } => {
                let text = json!({ "from": format!("+1555555{:04}", 200 + number), "to": NUMBER, "message": name });
                request
                    .uri("/_gridpost/v1/sms/receive")
                    .body(Full::from(text.to_string()))
            }
            Self::Talker { path, token, .. } => request
                .uri(path)
                .header(header::AUTHORIZATION, format!("Bearer {token}"))
                .body(Full::from(json!({ "content": name }).to_string())),
        }
    }
}
