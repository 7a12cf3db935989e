//! Processes of our own: started, stopped and started again, and ended with their value.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::world::until;

/// A process, or none while it is stopped.
#[derive(Default)]
pub(crate) struct Process(Option<Child>);

/// How a process is ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In good order: it may put away what it has.
    Orderly,
    /// At once, as a machine does that loses its power.
    Sudden,
}

/// Something that events are delivered to, in a process that can be ended.
pub(crate) trait Peer {
    async fn stop(&mut self, how: End);
    async fn start_again(&mut self);
}

impl Process {
    pub(crate) fn start(&mut self, command: &mut Command) {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.0 = Some(command.spawn().unwrap());
    }

    pub(crate) async fn stop(&mut self, how: End) {
        let mut process = self.0.take().unwrap();
        let signal = if how == End::Orderly {
            "-TERM"
        } else {
            "-KILL"
        };
        let mut end = Command::new("kill");
        let end = end.args([signal, &process.id().to_string()]);
        assert!(end.status().unwrap().success());
        until("the process has ended", || {
            process.try_wait().unwrap().is_some()
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut process) = self.0.take() {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Ports that nobody listens on, all different.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    // Held together, so that they differ.
    let listeners = [0; COUNT].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

pub(crate) fn is_listening(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// What `cargo xtask handlers` says of a peer.
#[expect(
    clippy::disallowed_methods,
    reason = "these tests are told where their peers are"
)]
pub(crate) fn told(variable: &str) -> String {
    std::env::var(variable).expect("run these tests with `cargo xtask handlers`")
}

/// The Python program that looks into peers.
pub(crate) fn python<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(told("GRIDPOST_TEST_PYTHON"));
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../conformance/rabbitmq/peer.py"
    );
    command.arg(script).args(words);
    command
}
