//! One life of the server: a process, from its start to its death.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::client::Client;
use crate::conversation::OF_A_MESSAGE;
use crate::credentials::{COMMUNICATION_RESOURCE, RESOURCE_GROUP};
use crate::real::nap;
use crate::running::Running;

/// The custom topic that is published to.
pub(super) const TOPIC: &str = "crash";

/// A start slower than this is a defect, however much there is to recover.
const START_LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Life {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    ready: bool,
    data: PathBuf,
}

impl Life {
    /// Starts a server on the folder, on the port it had before.
    pub(super) fn begin(
        program: &Path,
        folder: &Path,
        port: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let data = folder.join("data");
        let listen = port.map_or_else(|| "127.0.0.1:0".to_owned(), |port| port.to_string());
        let mut process = Command::new(program)
            .args(["serve", "--output", "json", "--listen", &listen, "--data"])
            .arg(&data)
            .env("GRIDPOST_LOG_FILTER", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let said = process
            .stdout
            .take()
            .context("reading what the server says")?;
        Ok(Self {
            process,
            said: BufReader::new(said).lines(),
            ready: false,
            data,
        })
    }

    /// Waits until the server is ready.
    pub(super) async fn until_ready(&mut self) -> anyhow::Result<()> {
        let ready = self.ready_or_gone();
        tokio::time::timeout(START_LIMIT, ready)
            .await
            .context("the server did not become ready")?
    }

    /// Lets the server live that long; tells whether it was ready by then.
    pub(super) async fn ready_within(&mut self, span: Duration) -> anyhow::Result<bool> {
        let mut end = std::pin::pin!(nap(span));
        tokio::select! {
            ready = self.ready_or_gone() => ready?,
            () = end.as_mut() => return Ok(self.ready),
        }
        end.await;
        Ok(true)
    }

    async fn ready_or_gone(&mut self) -> anyhow::Result<()> {
        while !self.ready {
            let line = self.said.next_line().await?;
            let line = line.context("the server ended by itself; see what it said above")?;
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            self.ready = said["ready"] == json!(true);
        }
        Ok(())
    }

    /// Where it listens, once it is ready.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        Running::find(&self.data).map(|running| running.address)
    }

    /// A client of it.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let running = Running::find(&self.data).context("the server left no note")?;
        Client::of(running, &self.data)
    }

    /// Kills it with SIGKILL, at once.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill().await.context("killing the server")
    }
}

/// Makes the topic and the subscriptions; the answer is the topic's key.
pub(super) async fn prepare(client: &Client, endpoint: &str) -> anyhow::Result<String> {
    let call = async |method, id: &str, body: &Value| {
        client
            .manage(method, id, Some(body))
            .await
            .map_err(|failure| failure.error)
    };
    let topic = format!("{RESOURCE_GROUP}/providers/Microsoft.EventGrid/topics/{TOPIC}");
    call(Method::PUT, &topic, &json!({ "location": "local" })).await?;
    let [to_a_member, to_the_thread] = OF_A_MESSAGE;
    let of_communication = json!({ "includedEventTypes": [
        "Microsoft.Communication.SMSReceived", to_a_member, to_the_thread,
    ]});
    let sources = [
        (topic.as_str(), json!({})),
        (COMMUNICATION_RESOURCE, of_communication),
    ];
    for (source, filter) in sources {
        let subscription =
            format!("{source}/providers/Microsoft.EventGrid/eventSubscriptions/ledger");
        let body = json!({ "properties": {
            "destination": { "endpointType": "WebHook", "properties": { "endpointUrl": endpoint } },
            "filter": filter,
        }});
        call(Method::PUT, &subscription, &body).await?;
    }
    let keys = call(Method::POST, &format!("{topic}/listKeys"), &Value::Null).await?;
    keys["key1"]
        .as_str()
        .map(str::to_owned)
        .context("the topic has no key")
}
