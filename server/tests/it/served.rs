//! `Served`: the real program, serving in a process of its own, for what a server inside the test cannot show.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A server in a process of its own.
pub(crate) struct Served {
    process: Child,
    out: BufReader<ChildStdout>,
}

impl Served {
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_gridpost"))
            .args(["serve", "--output", "json", "--data"])
            .arg(data)
            .args(arguments)
            .env("GRIDPOST_LOG_FILTER", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        Self { process, out }
    }

    /// The line it says when it is ready.
    pub(crate) fn ready(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_default()
    }

    /// Asks it to stop; the answer is what it logged.
    pub(crate) fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let mut log = String::new();
        let stream = self.process.stderr.as_mut().unwrap();
        stream.read_to_string(&mut log).unwrap();
        assert!(self.process.wait().unwrap().success(), "{log}");
        log
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Gone already, unless a test failed before it stopped the server.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
