//! RabbitMQ with its plugin for AMQP 1.0, as a process of our own, and hands to look into it over its own protocol.
//!
//! Promise: it has ports, a name and a folder of its own, keeps them over a stop and a start, and ends with the value.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::outage::Peer;
use crate::process::{End, Process, free_ports, is_listening, python, told};
use crate::world::until;

pub(crate) struct RabbitMq {
    folder: TempDir,
    port: u16,
    distribution: u16,
    names: u16,
    process: Process,
    /// What Erlang finds its nodes by. It is ended after them.
    _mapper: Process,
}

impl RabbitMq {
    pub(crate) async fn start() -> Self {
        let [port, distribution, names] = free_ports();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("plugins", "[rabbitmq_amqp1_0].").unwrap();
        // Nothing of a broker that the machine has already.
        write("rabbit.conf", "").unwrap();
        write("environment", "").unwrap();
        let mut mapper = Process::default();
        let mut command = Command::new("epmd");
        mapper.start(command.args(["-port", &names.to_string(), "-address", "127.0.0.1"]));
        until("the port mapper listens", || is_listening(names)).await;
        let mut rabbit = Self {
            folder,
            port,
            distribution,
            names,
            process: Process::default(),
            _mapper: mapper,
        };
        rabbit.start_again().await;
        rabbit
    }

    /// Where it is, as the configuration says it.
    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    pub(crate) fn declare(&self, queue: &str) {
        self.ask(&["declare", &self.port.to_string(), queue]);
    }

    pub(crate) fn bind(&self, queue: &str, exchange: &str, key: &str) {
        self.ask(&["bind", &self.port.to_string(), queue, exchange, key]);
    }

    /// All messages of a queue, taken out.
    pub(crate) fn read(&self, queue: &str) -> Vec<Value> {
        let text = self.ask(&["read", &self.port.to_string(), queue]);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn ask(&self, words: &[&str]) -> String {
        let done = python(words.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{words:?}: {said}");
        String::from_utf8(done.stdout).unwrap()
    }
}

impl Peer for RabbitMq {
    async fn stop(&mut self, how: End) {
        self.process.stop(how).await;
    }

    async fn start_again(&mut self) {
        let place = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(told("GRIDPOST_TEST_RABBITMQ"));
        command
            // With this the script becomes the server, and a signal reaches it.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_NODENAME", format!("gridpost{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("ERL_EPMD_PORT", self.names.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("HOME", self.folder.path())
            .env("RABBITMQ_CONF_ENV_FILE", place("environment"))
            .env("RABBITMQ_CONFIG_FILE", place("rabbit.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", place("plugins"))
            .env("RABBITMQ_MNESIA_BASE", place("data"))
            .env("RABBITMQ_LOG_BASE", place("log"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", place("generated"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 -noinput");
        self.process.start(&mut command);
        let port = self.port;
        until("RabbitMQ listens", || is_listening(port)).await;
    }
}
