//! Azurite: the storage service as a process of our own, and hands to look into it.
//!
//! Promise: it listens on free ports, keeps them and its content over a stop and a start, and ends with the value.

use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gridpost_grid::outbound::{Client, Outcome, Reach, Request, Response, Settings};
use gridpost_grid::storage::StorageAccount;
use gridpost_model::{Clock, Timestamp};
use gridpost_sim::VirtualClock;
use http::{HeaderMap, Method};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{End, Peer, Process, free_ports, is_listening, told};
use crate::world::until;

pub(crate) struct Azurite {
    folder: TempDir,
    ports: [u16; 3],
    process: Process,
    account: Arc<StorageAccount>,
    client: Client,
    clock: VirtualClock,
}

impl Azurite {
    pub(crate) async fn start() -> Self {
        let ports = free_ports();
        let account = format!(
            "AccountName=devstoreaccount1;\
             AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;\
             BlobEndpoint=http://127.0.0.1:{}/devstoreaccount1;QueueEndpoint=http://127.0.0.1:{}/devstoreaccount1",
            ports[0], ports[1]
        );
        let clock = VirtualClock::at(Timestamp::from_seconds(1_800_000_000));
        let settings = Settings {
            reach: Reach {
                loopback: true,
                ..Reach::default()
            },
            plain_http: true,
            ..Settings::default()
        };
        let mut azurite = Self {
            folder: tempfile::tempdir().unwrap(),
            ports,
            process: Process::default(),
            account: Arc::new(StorageAccount::from_connection_string(&account).unwrap()),
            client: Client::new(&settings, Arc::new(clock.clone())).unwrap(),
            clock,
        };
        azurite.start_again().await;
        azurite
    }

    /// How to reach it.
    pub(crate) fn account(&self) -> Arc<StorageAccount> {
        Arc::clone(&self.account)
    }

    pub(crate) async fn make_queue(&self, name: &str) {
        let url = format!("{}/{name}", self.account.queues());
        assert_eq!(self.ask(Method::PUT, &url).await.status, 201);
    }

    pub(crate) async fn make_container(&self, name: &str) {
        let url = format!("{}/{name}?restype=container", self.account.blobs());
        assert_eq!(self.ask(Method::PUT, &url).await.status, 201);
    }

    /// Up to 32 messages that nobody has got yet, each decoded.
    pub(crate) async fn messages(&self, queue: &str) -> Vec<Value> {
        let url = format!(
            "{}/{queue}/messages?numofmessages=32&visibilitytimeout=86400",
            self.account.queues()
        );
        let answer = self.ask(Method::GET, &url).await;
        assert_eq!(answer.status, 200);
        let decode = |text: String| {
            let bytes = STANDARD.decode(text).unwrap();
            serde_json::from_slice(&bytes).unwrap()
        };
        let texts = between(&answer, "<MessageText>", "</MessageText>");
        texts.into_iter().map(decode).collect()
    }

    /// The names of a container's blobs.
    pub(crate) async fn blobs(&self, container: &str) -> Vec<String> {
        let url = format!(
            "{}/{container}?restype=container&comp=list",
            self.account.blobs()
        );
        between(&self.ask(Method::GET, &url).await, "<Name>", "</Name>")
    }

    pub(crate) async fn blob(&self, container: &str, name: &str) -> Value {
        let url = format!("{}/{container}/{name}", self.account.blobs());
        let answer = self.ask(Method::GET, &url).await;
        assert_eq!(answer.headers["content-type"], "application/json");
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn ask(&self, method: Method, url: &str) -> Response {
        let mut headers = HeaderMap::new();
        let whole = url.parse().unwrap();
        self.account
            .sign(&method, &whole, &mut headers, 0, self.clock.now());
        let request = Request {
            method,
            endpoint: self.client.endpoint(url).unwrap(),
            headers,
            body: bytes::Bytes::new(),
        };
        match self.client.send(request).await {
            Outcome::Answered(answer) => answer,
            Outcome::Failed(failure) => panic!("{url}: {failure}"),
        }
    }
}

impl Peer for Azurite {
    /// In good order, as a service is: what it took is on disk.
    async fn stop(&mut self, how: End) {
        self.process.stop(how).await;
    }

    async fn start_again(&mut self) {
        let [blobs, queues, tables] = self.ports.map(|port| port.to_string());
        let mut command = Command::new("node");
        command
            .arg(told("GRIDPOST_TEST_AZURITE"))
            .args(["--silent", "--disableTelemetry"]);
        command.arg("--location").arg(self.folder.path());
        command.args([
            "--blobPort",
            &blobs,
            "--queuePort",
            &queues,
            "--tablePort",
            &tables,
        ]);
        self.process.start(&mut command);
        let [blobs, queues, _] = self.ports;
        until("the storage service listens", || {
            is_listening(blobs) && is_listening(queues)
        })
        .await;
    }
}

fn between(answer: &Response, open: &str, close: &str) -> Vec<String> {
    let text = std::str::from_utf8(&answer.body).unwrap();
    let parts = text.split(open).skip(1);
    parts
        .map(|part| part.split(close).next().unwrap().to_owned())
        .collect()
}
