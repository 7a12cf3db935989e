//! `gridpost serve`: until a signal says to stop.

use std::path::Path;

use serde_json::{Value, json};

use super::apply;
use crate::assembly::{Server, Sources};
use crate::client::Client;
use crate::config::{Config, Principal, Profile};
use crate::declare::document::Document;
use crate::declare::{self, Extent, Report};
use crate::drain::StopSignals;
use crate::output::{Exit, Failure, Output};
use crate::running::Running;

/// Serves until SIGTERM or SIGINT. A second signal ends the process at once.
pub(super) async fn run(config: Config, output: Output) -> Result<(), Failure> {
    let mut signals = StopSignals::listen().map_err(|error| Failure::new(Exit::Failed, error))?;
    let drain = config.drain.timeout();
    // A file that cannot be read is found out before anything is started.
    let document = config.apply_file().map(apply::read).transpose()?;
    let principal = config.principal.clone();
    let server = Server::start(config, Sources::real()).await?;
    let running = server.running().clone();
    let mut told = json!({
        "ready": true, "url": running.url, "address": running.address, "process": running.process,
    });
    if let Some(document) = document {
        let applied = tokio::select! {
            applied = at_start(&server, document, &principal, output) => applied,
            signal = signals.next() => {
                tracing::info!(
                    signal,
                    "stopping after {signal}; what the file of resources names next is left to the next start"
                );
                server.stop(drain).await;
                return Ok(());
            }
        };
        match applied {
            Ok(counts) => told["applied"] = counts,
            Err(failure) => {
                server.stop(drain).await;
                let error = failure
                    .error
                    .context("the file of resources could not be applied");
                return Err(Failure::new(failure.exit, error));
            }
        }
    }
    output.item(&told, |_| ready(&running, server.data()));
    let signal = signals.next().await;
    tracing::info!(
        signal,
        "stopping after {signal}; requests in progress may finish"
    );
    tokio::select! {
        () = server.stop(drain) => Ok(()),
        signal = signals.next() => {
            Err(Failure::said(Exit::Failed, format!("ended at once by a second {signal}")))
        }
    }
}

/// Makes the resources of a file; the answer is how many there were of each kind. The server answers already, so a
/// webhook behind it can agree to its handshake.
async fn at_start(
    server: &Server,
    document: Document,
    principal: &Principal,
    output: Output,
) -> Result<Value, Failure> {
    let mut client = Client::of(server.running().clone(), server.data())?;
    if let Some((client_id, file)) = principal.given() {
        client.sign_in_as(client_id, file)?;
    }
    let report = declare::apply(&client, document, Extent::Whole, output).await?;
    log(&report);
    Ok(json!({
        "created": report.created.len(), "changed": report.changed.len(),
        "unchanged": report.unchanged, "failed": report.failed.len(),
    }))
}

/// An endpoint that does not answer yet is no reason to refuse everybody else.
fn log(report: &Report) {
    for one in &report.failed {
        tracing::error!(
            resource = one.resource,
            "{} (line {}) could not be applied: {}",
            one.resource,
            one.line,
            one.reason
        );
    }
    tracing::info!("applied the file of resources: {}", report.summary());
}

/// Where it is, and what to do next in the application's terminal.
fn ready(running: &Running, data: &Path) -> String {
    let (address, data) = (running.address, data.display());
    let next = match running.profile {
        Profile::Development => {
            format!("\nIn your application's terminal: eval \"$(gridpost env --data '{data}')\"")
        }
        Profile::Production => String::new(),
    };
    format!(
        "Ready at {address} (http and https), with the data folder {data}. Stop with Ctrl-C.{next}"
    )
}
