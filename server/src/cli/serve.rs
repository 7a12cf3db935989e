//! `gridpost serve`: until a signal says to stop.

use serde_json::json;

use crate::assembly::{Server, Sources};
use crate::config::Config;
use crate::drain::StopSignals;
use crate::output::{Exit, Failure, Output};

/// Serves until SIGTERM or SIGINT. A second signal ends the process at once.
pub(super) async fn run(config: Config, output: Output) -> Result<(), Failure> {
    let mut signals = StopSignals::listen().map_err(|error| Failure::new(Exit::Failed, error))?;
    let drain = config.drain.timeout();
    let server = Server::start(config, Sources::real()).await?;
    let running = server.running().clone();
    output.item(
        &json!({ "ready": true, "url": running.url, "address": running.address, "process": running.process }),
        |_| format!("Ready at {} (http and https). Stop with Ctrl-C.", running.address),
    );
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
