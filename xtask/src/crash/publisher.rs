//! A publisher that goes on whatever happens to the server.
//!
//! Promise: an id enters the ledger only when its acknowledgement was read; every id is new.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::endpoint::{MOODY, STEADY, TEXTS};
use super::ledger::Ledger;
use super::setup::Topic;
use crate::clock;
use crate::http::Client;

/// How events get in.
pub(crate) enum Route {
    /// Published to a custom topic, in batches.
    Topic(Topic),
    /// A text message arrives at the development number.
    Text,
}

/// One of the concurrent publishers.
pub(crate) struct Publisher {
    number: u32,
    client: Client,
    route: Route,
    ledger: Arc<Ledger>,
    sent: u64,
}

impl Publisher {
    /// A publisher with its own connection.
    pub(crate) fn new(number: u32, server: SocketAddr, route: Route, ledger: Arc<Ledger>) -> Self {
        Self {
            number,
            client: Client::new(server),
            route,
            ledger,
            sent: 0,
        }
    }

    /// Publishes until told to stop; returns how many requests were not acknowledged.
    pub(crate) fn run(mut self, stop: &AtomicBool) -> u64 {
        let mut refused = 0;
        while !stop.load(Ordering::Relaxed) {
            self.sent += 1;
            if self.publish().is_err() {
                refused += 1;
                // The server is dead or not ready; asking as fast as possible would only slow its start.
                clock::pause(Duration::from_millis(5));
            }
        }
        refused
    }

    fn publish(&mut self) -> Result<()> {
        match &self.route {
            Route::Topic(topic) => {
                let count = 1 + self.sent % 3;
                let ids: Vec<String> = (0..count)
                    .map(|n| format!("{}-{}-{n}", self.number, self.sent))
                    .collect();
                let events: Vec<Value> = ids.iter().map(|id| event(id)).collect();
                let headers = [
                    ("aeg-sas-key", topic.key.as_str()),
                    ("content-type", "application/json"),
                ];
                let body = serde_json::to_vec(&events)?;
                let response = self.client.send("POST", &topic.path, &headers, &body)?;
                ensure!(response.status() == 200, "{}", response.text());
                for id in ids {
                    self.ledger.acknowledge(id, &[STEADY, MOODY]);
                }
            }
            Route::Text => {
                let text = format!("message {} of publisher {}", self.sent, self.number);
                let body = json!({ "from": "+15555550199", "to": "+15555550100", "message": text });
                let headers = [("content-type", "application/json")];
                let path = "/_gridpost/v1/sms/receive";
                let response =
                    self.client
                        .send("POST", path, &headers, &serde_json::to_vec(&body)?)?;
                ensure!(
                    matches!(response.status(), 200..=202),
                    "{}",
                    response.text()
                );
                let id = response.json()?["messageId"]
                    .as_str()
                    .context("no messageId")?
                    .to_owned();
                self.ledger.acknowledge(id, &[TEXTS]);
            }
        }
        Ok(())
    }
}

fn event(id: &str) -> Value {
    json!({
        "id": id,
        "subject": format!("ledger/{id}"),
        "eventType": "Gridpost.Test.Entry",
        "eventTime": "2026-01-01T00:00:00Z",
        "dataVersion": "1.0",
        "data": { "note": "x".repeat(200) },
    })
}
