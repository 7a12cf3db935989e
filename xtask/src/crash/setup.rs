//! What the crash test needs in the server, made by the public surface.

use std::collections::HashSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::endpoint::{Endpoint, MOODY, STEADY, TEXTS};
use crate::http::{Client, Message};
use crate::server::Server;

const GROUP: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost";

/// The custom topic the ledger publishes to.
#[derive(Clone)]
pub(crate) struct Topic {
    /// Where events go.
    pub(crate) path: String,
    /// Its access key.
    pub(crate) key: String,
}

/// Makes a topic with a steady and a moody subscriber, and a subscriber for inbound text messages.
pub(crate) fn provision(server: &Server, endpoint: &Endpoint) -> Result<Topic> {
    let mut manager = Manager::sign_in(server)?;
    let topic = format!("{GROUP}/providers/Microsoft.EventGrid/topics/ledger");
    manager.call("PUT", &topic, &json!({ "location": "local" }))?;
    let keys = manager
        .call("POST", &format!("{topic}/listKeys"), &json!({}))?
        .json()?;
    let key = keys["key1"]
        .as_str()
        .context("listKeys answered no key1")?
        .to_owned();
    let phone = format!("{GROUP}/providers/Microsoft.Communication/communicationServices/dev");
    let received = ["Microsoft.Communication.SMSReceived"];
    manager.subscribe(&topic, STEADY, endpoint, &json!({}))?;
    manager.subscribe(&topic, MOODY, endpoint, &json!({}))?;
    manager.subscribe(
        &phone,
        TEXTS,
        endpoint,
        &json!({ "includedEventTypes": received }),
    )?;
    Ok(Topic {
        path: "/topics/ledger/api/events".to_owned(),
        key,
    })
}

/// The dead letters the server keeps: lane and event.
pub(crate) fn dead_letters(server: &Server) -> Result<HashSet<(String, String)>> {
    let mut client = Client::new(server.address());
    let response = client.send("GET", "/_gridpost/v1/dead-letters?limit=100000", &[], b"")?;
    ensure!(
        response.status() == 200,
        "{}: {}",
        response.first_line,
        response.text()
    );
    let listed = response.json()?;
    let letters = listed["value"]
        .as_array()
        .context("dead-letters answered no list")?;
    Ok(letters.iter().filter_map(lane_and_event).collect())
}

fn lane_and_event(letter: &Value) -> Option<(String, String)> {
    let subscription = letter["subscription"].as_str()?;
    let name = subscription.rsplit('/').next()?;
    Some((
        name.to_ascii_lowercase(),
        letter["event"]["id"].as_str()?.to_owned(),
    ))
}

struct Manager {
    client: Client,
    token: String,
}

impl Manager {
    fn sign_in(server: &Server) -> Result<Self> {
        let credentials = server.data().join("credentials.json");
        let credentials: Value = serde_json::from_slice(&std::fs::read(&credentials)?)?;
        let text = |name: &str| {
            credentials[name]
                .as_str()
                .with_context(|| format!("no {name}"))
        };
        let (tenant, id, secret) = (
            text("tenant_id")?,
            text("client_id")?,
            text("client_secret")?,
        );
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let mut client = Client::new(server.address());
        let path = format!("/{tenant}/oauth2/v2.0/token");
        let response = client.send("POST", &path, &headers, form.as_bytes())?;
        let answer = response.json()?;
        let token = answer["access_token"]
            .as_str()
            .with_context(|| response.text())?
            .to_owned();
        Ok(Self { client, token })
    }

    fn subscribe(
        &mut self,
        source: &str,
        lane: &str,
        endpoint: &Endpoint,
        filter: &Value,
    ) -> Result<()> {
        let path = format!("{source}/providers/Microsoft.EventGrid/eventSubscriptions/{lane}");
        let destination = json!({
            "endpointType": "WebHook",
            "properties": { "endpointUrl": endpoint.url(lane) },
        });
        let body = json!({ "properties": { "destination": destination, "filter": filter } });
        self.call("PUT", &path, &body).map(drop)
    }

    fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Message> {
        let token = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        let path = format!("{path}?api-version=2025-02-15");
        let response = self
            .client
            .send(method, &path, &headers, &serde_json::to_vec(body)?)?;
        ensure!(
            matches!(response.status(), 200 | 201),
            "{method} {path}: {}: {}",
            response.first_line,
            response.text()
        );
        Ok(response)
    }
}
