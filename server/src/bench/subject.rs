//! The server under measurement: a process of its own, so that its memory, its processor time and its writes are its own.
//!
//! It is set up through the same REST calls a user makes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::load::{Body, Target};
use super::relay::Shape;
use super::stopwatch;
use crate::credentials::Credentials;

/// The number that measured texts are sent to: the development resource's own.
pub(super) const NUMBER: &str = "+15555550100";

const RESOURCE_GROUP: &str =
    "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost";
const API_VERSION: &str = "api-version=2025-02-15";

/// What kind of process serves.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Gridpost on that data folder.
    Gridpost {
        /// Its data folder.
        data: PathBuf,
    },
    /// The relay without storage, posting to that endpoint.
    Relay {
        /// Where it posts.
        endpoint: SocketAddr,
        /// How it is built.
        shape: Shape,
    },
}

/// A running server.
pub(super) struct Subject {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// From starting the process to its being ready.
    pub(super) started_in: Duration,
    process: Child,
    token: String,
    /// The device that its data folder lies on.
    device: Option<(u32, u32)>,
}

/// What a process has used since it started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Processor time, user and system.
    pub(super) cpu: Duration,
    /// The largest resident set so far.
    pub(super) peak_bytes: u64,
    /// The resident set now.
    pub(super) resident_bytes: u64,
    /// Bytes that the disk was given, by whomever on this machine: the kernel's count for one process takes whole
    /// folios for a kilobyte.
    pub(super) written_bytes: u64,
}

impl Subject {
    /// Starts a server and waits until it is ready.
    pub(super) async fn start(kind: &Kind) -> anyhow::Result<Self> {
        let address = free_address()?;
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(program);
        match kind {
            Kind::Gridpost { data } => {
                command
                    .args(["serve", "--listen", &address.to_string(), "--data"])
                    .arg(data);
            }
            Kind::Relay { endpoint, shape } => {
                let shape = match shape {
                    Shape::Pooled => "pooled",
                    Shape::Lean => "lean",
                };
                command.args([
                    "bench-relay",
                    &address.to_string(),
                    &endpoint.to_string(),
                    shape,
                ]);
            }
        }
        let began = stopwatch::nanos();
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the server under measurement")?;
        let mut subject = Self {
            address,
            started_in: Duration::ZERO,
            process,
            token: String::new(),
            device: None,
        };
        subject.wait_until_ready(began).await?;
        subject.started_in = stopwatch::since(began);
        if let Kind::Gridpost { data } = kind {
            subject.token = subject.sign_in(data).await?;
            let device = rustix::fs::stat(data)?.st_dev;
            subject.device = Some((rustix::fs::major(device), rustix::fs::minor(device)));
        }
        Ok(subject)
    }

    async fn wait_until_ready(&mut self, began: u64) -> anyhow::Result<()> {
        while self.call(Method::GET, "/readyz", None).await.is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("the server under measurement ended early: {status}");
            }
            ensure!(
                stopwatch::since(began) < Duration::from_secs(60),
                "the server under measurement was not ready within a minute"
            );
            stopwatch::pause(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn sign_in(&self, data: &Path) -> anyhow::Result<String> {
        let credentials = Credentials::load(data).context("reading the server's credentials")?;
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            credentials.client_id,
            credentials.client_secret.reveal(),
        );
        let reply = self
            .call(Method::POST, "/adfs/oauth2/token", Some(form.into()))
            .await?;
        let token = reply["access_token"].as_str().context("a token")?;
        Ok(token.to_owned())
    }

    /// Makes a custom topic; the answer is where to publish to it.
    pub(super) async fn topic(&self, name: &str, batch: usize) -> anyhow::Result<Target> {
        let id = topic_id(name);
        let body = json!({ "location": "local", "properties": {} });
        self.manage(Method::PUT, &id, Some(&body)).await?;
        let keys = self
            .manage(Method::POST, &format!("{id}/listKeys"), None)
            .await?;
        let key = keys["key1"].as_str().context("an access key")?;
        Ok(Target {
            address: self.address,
            path: format!("/topics/{name}/api/events?api-version=2018-01-01"),
            headers: vec![("aeg-sas-key", key.to_owned())],
            body: Body::Events { batch },
        })
    }

    /// Where to send inbound texts.
    pub(super) fn inbound_texts(&self) -> Target {
        Target {
            address: self.address,
            path: "/_gridpost/v1/sms/receive".to_owned(),
            headers: Vec::new(),
            body: Body::InboundText,
        }
    }

    /// Subscribes an endpoint to the events of a topic whose subject begins so.
    pub(super) async fn subscribe(
        &self,
        source: &str,
        name: &str,
        endpoint: SocketAddr,
        subject_begins_with: &str,
    ) -> anyhow::Result<()> {
        let filter = json!({ "subjectBeginsWith": subject_begins_with });
        self.subscribe_with(source, name, endpoint, &filter, 1)
            .await
    }

    /// Subscribes an endpoint with this filter, up to so many events a request.
    pub(super) async fn subscribe_with(
        &self,
        source: &str,
        name: &str,
        endpoint: SocketAddr,
        filter: &Value,
        max_events_per_batch: u32,
    ) -> anyhow::Result<()> {
        let body = json!({ "properties": {
            "destination": {
                "endpointType": "WebHook",
                "properties": {
                    "endpointUrl": format!("http://{endpoint}/hook"),
                    "maxEventsPerBatch": max_events_per_batch,
                    "preferredBatchSizeInKilobytes": 1024,
                },
            },
            "filter": filter,
        }});
        let id = format!("{source}/providers/Microsoft.EventGrid/eventSubscriptions/{name}");
        self.manage(Method::PUT, &id, Some(&body)).await?;
        Ok(())
    }

    async fn manage(
        &self,
        method: Method,
        id: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let path = format!("{id}?{API_VERSION}");
        self.call(method, &path, body.map(|body| body.to_string().into()))
            .await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Bytes>) -> anyhow::Result<Value> {
        let answer = self.fetch(method, path, body).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    async fn fetch(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> anyhow::Result<Bytes> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        super::spawn(async move {
            // The end of the connection shows in the sender.
            let _ = connection.await;
        });
        let form = path.ends_with("/token");
        let kind = if form {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("content-type", kind);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        let request = request.body(Full::new(body.unwrap_or_default()))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{path} answered {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }

    /// Deliveries that wait for their next attempt.
    pub(super) async fn waiting(&self) -> anyhow::Result<u64> {
        const GAUGE: &str = "gridpost_pending_deliveries{state=\"waiting\"}";
        let metrics = self.fetch(Method::GET, "/metrics", None).await?;
        let metrics = String::from_utf8_lossy(&metrics);
        Ok(number_after(&metrics, GAUGE))
    }

    /// What the process has used so far.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        let written_bytes = self.device.map_or(Ok(0), disk_written_bytes)?;
        Ok(Usage {
            written_bytes,
            ..usage_of(self.process.id())?
        })
    }

    /// Ends the process as a power switch would.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Already ended when it was killed before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The resource id of a measured topic.
pub(super) fn topic_id(name: &str) -> String {
    format!("{RESOURCE_GROUP}/providers/Microsoft.EventGrid/topics/{name}")
}

/// The resource id of the development communication resource.
pub(super) fn communication_id() -> String {
    format!("{RESOURCE_GROUP}/providers/Microsoft.Communication/communicationServices/dev")
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?)
}

fn usage_of(process: u32) -> anyhow::Result<Usage> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}"));
    let (stat, status) = (read("stat")?, read("status")?);
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Usage {
        cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64),
        peak_bytes: number_after(&status, "VmHWM:") * 1024,
        resident_bytes: number_after(&status, "VmRSS:") * 1024,
        written_bytes: 0,
    })
}

/// The sectors written, from the kernel's statistics of that device.
fn disk_written_bytes((major, minor): (u32, u32)) -> anyhow::Result<u64> {
    const SECTOR_BYTES: u64 = 512;
    let (major, minor) = (major.to_string(), minor.to_string());
    let statistics = std::fs::read_to_string("/proc/diskstats")?;
    let sectors = statistics.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ours =
            fields.first() == Some(&major.as_str()) && fields.get(1) == Some(&minor.as_str());
        ours.then(|| fields.get(9)?.parse::<u64>().ok()).flatten()
    });
    Ok(sectors.unwrap_or(0) * SECTOR_BYTES)
}

fn number_after(text: &str, label: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
