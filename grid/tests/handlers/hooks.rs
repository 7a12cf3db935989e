//! Webhooks and functions, in a process that is stopped and started again.

use std::path::PathBuf;

use gridpost_grid::connections::Connections;
use gridpost_model::subscription::{AzureFunction, Batch, WebHook};
use gridpost_model::{Destination, Secret};
use tempfile::TempDir;

use crate::outage::{self, Peer};
use crate::process::{End, Process, free_ports, is_listening, python};
use crate::world::{World, until};

const FUNCTION: &str =
    "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Web/sites/app/functions/f";

struct Hook {
    folder: TempDir,
    port: u16,
    process: Process,
}

impl Hook {
    async fn start() -> Self {
        let [port] = free_ports();
        let mut hook = Self {
            folder: tempfile::tempdir().unwrap(),
            port,
            process: Process::default(),
        };
        hook.start_again().await;
        hook
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    fn notes(&self) -> PathBuf {
        self.folder.path().join("ids")
    }

    fn seen(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.notes()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Peer for Hook {
    async fn stop(&mut self, how: End) {
        self.process.stop(how).await;
    }

    async fn start_again(&mut self) {
        let (port, notes) = (self.port.to_string(), self.notes());
        let mut command = python(["webhook", &port]);
        self.process.start(command.arg(notes));
        let port = self.port;
        until("the webhook listens", || is_listening(port)).await;
    }
}

#[tokio::test]
#[ignore = "needs a process to stop: cargo xtask handlers"]
async fn no_event_is_lost_while_a_webhook_is_stopped_and_started_twice() {
    let mut hook = Hook::start().await;
    let world = World::knowing(Connections::default());
    let destination = Destination::WebHook(WebHook::new(hook.url()));
    world.subscribe_to("es1", destination, |_| ()).await;
    outage::endure(&world, &mut hook, End::Sudden).await;
    outage::check("WebHook", hook.seen());
}

#[tokio::test]
#[ignore = "needs a process to stop: cargo xtask handlers"]
async fn no_event_is_lost_while_a_function_is_stopped_and_started_twice() {
    let mut hook = Hook::start().await;
    let world = World::knowing(Connections {
        functions: [(FUNCTION.parse().unwrap(), Secret::new(hook.url()))].into(),
        ..Connections::default()
    });
    let destination = Destination::AzureFunction(AzureFunction {
        resource_id: FUNCTION.parse().unwrap(),
        batch: Batch::default(),
        attributes: Vec::new(),
    });
    world.subscribe_to("es1", destination, |_| ()).await;
    outage::endure(&world, &mut hook, End::Sudden).await;
    outage::check("AzureFunction", hook.seen());
}
