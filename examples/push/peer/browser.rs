//! Firefox's side: Mozilla's protocol of JSON over a WebSocket.
//!
//! What Firefox says: `hello`, `register`, `unregister`, `ack`, and `{}` to see whether we are there. What it hears: answers
//! to these, and `notification`.
//!
//! Promise: the log says what Firefox made of every message: whether it could decrypt it and whether the service worker ran.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::channels::Addressed;
use crate::{Service, say};

/// More than one test pushes at once.
const QUEUE: usize = 16;

/// The one browser. Firefox drops its subscriptions when a push service calls it by another name.
const BROWSER: &str = "the-browser";

#[derive(Deserialize)]
#[serde(tag = "messageType", rename_all = "lowercase")]
enum Said {
    Hello,
    Register {
        #[serde(rename = "channelID")]
        channel: String,
        key: Option<String>,
    },
    Unregister {
        #[serde(rename = "channelID")]
        channel: String,
    },
    Ack {
        updates: Vec<Update>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Update {
    #[serde(rename = "channelID")]
    channel: String,
    version: String,
    code: Option<u16>,
}

/// A browser connects.
pub(crate) async fn connect(
    State(service): State<Arc<Service>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .protocols(["push-notification"])
        .on_upgrade(move |socket| converse(service, socket))
}

async fn converse(service: Arc<Service>, mut socket: WebSocket) {
    let (browser, mut messages) = mpsc::channel(QUEUE);
    loop {
        let answers = tokio::select! {
            Some(message) = messages.recv() => vec![notification(&message)],
            frame = socket.recv() => match frame {
                Some(Ok(Frame::Text(text))) => hear(&service, &browser, &text),
                Some(Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_))) => Vec::new(),
                Some(Ok(Frame::Close(_)) | Err(_)) | None => break,
            },
        };
        for answer in answers {
            if socket.send(Frame::text(answer.to_string())).await.is_err() {
                return;
            }
        }
    }
}

/// What is answered to what Firefox said.
fn hear(service: &Service, browser: &mpsc::Sender<Addressed>, text: &str) -> Vec<Value> {
    if text.trim() == "{}" {
        return vec![json!({})];
    }
    let Ok(said) = serde_json::from_str(text) else {
        say("the browser said something that is not known here");
        return Vec::new();
    };
    match said {
        Said::Hello => {
            say("the browser is here");
            let hello = json!({
                "messageType": "hello",
                "status": 200,
                "uaid": BROWSER,
                "use_webpush": true,
            });
            let waiting = service.channels.attach(browser.clone());
            let waiting = waiting.iter().map(notification);
            std::iter::once(hello).chain(waiting).collect()
        }
        Said::Register { channel, key } => vec![register(service, &channel, key.as_deref())],
        Said::Unregister { channel } => {
            service.channels.unregister(&channel);
            vec![json!({"messageType": "unregister", "channelID": channel, "status": 200})]
        }
        Said::Ack { updates } => {
            for update in updates {
                acknowledge(service, &update);
            }
            Vec::new()
        }
        Said::Other => Vec::new(),
    }
}

fn register(service: &Service, channel: &str, key: Option<&str>) -> Value {
    let read = |text| BASE64_URL_SAFE.decode(text);
    let Ok(key) = key.map(read).transpose() else {
        return json!({"messageType": "register", "channelID": channel, "status": 400});
    };
    service.channels.register(channel, key);
    say("the browser subscribed");
    json!({
        "messageType": "register",
        "channelID": channel,
        "status": 200,
        "pushEndpoint": format!("{}/push/{channel}", service.origin),
    })
}

/// Firefox's codes: 100 is good.
fn acknowledge(service: &Service, update: &Update) {
    let version = &update.version;
    say(&match update.code.unwrap_or(100) {
        100 => format!("the browser decrypted {version} and woke the service worker"),
        101 => format!("the browser COULD NOT DECRYPT {version}"),
        102 => format!("the browser had nobody to give {version} to"),
        code => format!("the browser refused {version}: {code}"),
    });
    service.channels.acknowledge(&update.channel, version);
}

fn notification((channel, message): &Addressed) -> Value {
    json!({
        "messageType": "notification",
        "channelID": channel,
        "version": message.version,
        "headers": {"encoding": "aes128gcm"},
        "data": BASE64_URL_SAFE_NO_PAD.encode(&message.data),
    })
}
