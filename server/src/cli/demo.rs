//! `gridpost demo`: the main job, seen from outside.
//!
//! Everything goes over the wire, by TLS, as any client would do it: a subscription with the filter of the mission, a
//! text from a handset, and the webhook request that it causes.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::Serving;
use super::render;
use crate::assembly::{Server, Sources};
use crate::client::Client;
use crate::config::{Config, environment};
use crate::credentials::{COMMUNICATION_RESOURCE, NUMBER};
use crate::drain::StopSignals;
use crate::output::{Exit, Failure, Output, print, remark};

/// From starting to the request being printed.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// How long `demo --once` waits for its own connections to end.
const BRIEF: Duration = Duration::from_secs(1);

const HANDSET: &str = "+15555550123";
const SINK: &str = "demo";

/// How to demonstrate.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Use a temporary folder and a free port, print the webhook request as JSON, and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    pub(super) serving: Serving,
}

/// The webhook request that arrived.
#[derive(Serialize)]
struct Delivered {
    method: Value,
    path: Value,
    headers: Value,
    body: Value,
}

impl Delivered {
    fn of(request: &Value) -> Self {
        let field = |name: &str| request[name].clone();
        Self {
            method: field("method"),
            path: field("path"),
            headers: field("headers"),
            body: field("body"),
        }
    }
}

pub(super) async fn run(
    arguments: &Arguments,
    config: Config,
    output: Output,
) -> Result<(), Failure> {
    if arguments.once {
        return Box::pin(once(config)).await;
    }
    let mut signals = StopSignals::listen().map_err(|error| Failure::new(Exit::Failed, error))?;
    let drain = config.drain.timeout();
    let server = Server::start(config, Sources::real()).await?;
    let client = Client::of(server.running().clone(), server.data())?;
    let request = in_time(show(&client)).await?;
    let connection_string = client.connection_string().await?;
    let shown = json!({
        "address": server.running().url, "connectionString": connection_string, "request": request,
    });
    output.result(&shown, |_| told(&server, &request, &connection_string));
    signals.next().await;
    tokio::select! {
        () = server.stop(drain) => Ok(()),
        signal = signals.next() => Err(Failure::said(Exit::Failed, format!("ended at once by a second {signal}"))),
    }
}

async fn once(mut config: Config) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(|error| Failure::new(Exit::Failed, error))?;
    config.data = folder.path().join("data");
    config.listen.set_port(0);
    let shown = in_time(async {
        let server = Server::start(config, Sources::real()).await?;
        remark(&format!(
            "Started at {} on a temporary folder.",
            server.running().url
        ));
        let client = Client::of(server.running().clone(), server.data())?;
        let request = Box::pin(show(&client)).await?;
        server.stop(BRIEF).await;
        Ok(request)
    })
    .await?;
    print(&serde_json::to_string_pretty(&shown).unwrap_or_default());
    Ok(())
}

async fn in_time(
    show: impl Future<Output = Result<Delivered, Failure>>,
) -> Result<Delivered, Failure> {
    tokio::time::timeout(TIME_LIMIT, show)
        .await
        .unwrap_or_else(|_| {
            let limit = TIME_LIMIT.as_secs();
            Err(Failure::said(
                Exit::TimedOut,
                format!("the demonstration did not end within {limit} seconds"),
            ))
        })
}

/// The main job: subscribe, text, and take the webhook request that arrives.
async fn show(client: &Client) -> Result<Delivered, Failure> {
    let url = format!("{}/_gridpost/v1/sinks/{SINK}", client.server().url);
    let subscription =
        format!("{COMMUNICATION_RESOURCE}/providers/Microsoft.EventGrid/eventSubscriptions/{SINK}");
    client
        .manage(
            Method::PUT,
            &subscription,
            Some(&with_the_missions_filter(&url)),
        )
        .await?;
    remark(
        "Subscribed a webhook to the texts and delivery reports of numbers that begin with 1555.",
    );

    let message = "Hello from the demonstration";
    let text = json!({ "from": HANDSET, "to": NUMBER, "message": message });
    let received = client.own(Method::POST, "sms/receive", Some(&text)).await?;
    let id = render::plain(&received["messageId"]);
    remark(&format!(
        "{HANDSET} texted {NUMBER}; the service calls the message {id}."
    ));

    arrived(client, &id).await
}

fn with_the_missions_filter(url: &str) -> Value {
    json!({ "properties": {
        "destination": { "endpointType": "WebHook", "properties": { "endpointUrl": url } },
        "filter": {
            "includedEventTypes": [
                "Microsoft.Communication.SMSReceived",
                "Microsoft.Communication.SMSDeliveryReportReceived",
            ],
            "subjectBeginsWith": "phonenumber/1555",
        },
    }})
}

/// The webhook request that carries that message. Others, of an earlier demonstration, are passed over.
async fn arrived(client: &Client, id: &str) -> Result<Delivered, Failure> {
    let mut after = 0;
    loop {
        let path = format!(
            "sinks/{SINK}/wait?eventType=Microsoft.Communication.SMSReceived&after={after}&timeoutSeconds={}",
            TIME_LIMIT.as_secs()
        );
        let answer = client.wait(&path, TIME_LIMIT).await?;
        let request = &answer["requests"][0];
        if request["body"].to_string().contains(id) {
            return Ok(Delivered::of(request));
        }
        after = request["number"].as_u64().unwrap_or(after + 1);
    }
}

fn told(server: &Server, request: &Delivered, connection_string: &str) -> String {
    let running = server.running();
    let url = &running.url;
    let data = server.data().display();
    let authority = running
        .authority
        .as_deref()
        .map_or_else(String::new, |path| path.display().to_string());
    format!(
        "The webhook was sent:

{request}

Serving at {url} (http and https) until Ctrl-C.
Connection string: {connection_string}

Try next, in another terminal:
  export GRIDPOST_DATA='{data}'
  {gridpost} sms receive --from {HANDSET} --to {NUMBER} 'Hello again'
  {gridpost} sms send --to {HANDSET} --report 'Hello to you'
  {gridpost} events tail
  curl --cacert '{authority}' {url}/_gridpost/v1/sinks/{SINK}/requests
  eval \"$({gridpost} env)\"        # and your Python, JavaScript or az works against this server
  {gridpost} doctor",
        gridpost = this_program(),
        request = indented(&render::request(&json!(request))),
    )
}

/// How this program is called from a shell: by its name where the shell would find it, else by its path.
fn this_program() -> String {
    const NAME: &str = "gridpost";
    let Ok(path) = std::env::current_exe() else {
        return NAME.to_owned();
    };
    let folders = environment("PATH").unwrap_or_default();
    let is_found = path
        .parent()
        .is_some_and(|own| folders.split(':').any(|folder| own == Path::new(folder)));
    if is_found {
        NAME.to_owned()
    } else {
        path.display().to_string()
    }
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}
