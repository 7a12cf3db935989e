//! A Gridpost server of our own: a binary we built, a free port, a temporary data folder.
//!
//! Promise: it is ended with the value, by its own process id, and its folder goes with it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::clock;
use crate::command::{capture, cargo, program, run, target};
use crate::http::Client;

/// How long a start may take, an unoptimised build on a busy machine included.
const START: Duration = Duration::from_secs(60);

/// Which build of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// The one the tests use.
    Development,
    /// Optimised.
    Release,
}

/// Builds the binary and returns where it is.
pub(crate) fn build(build: Build) -> Result<PathBuf> {
    let mut arguments = vec!["build", "--package", "gridpost", "--locked"];
    if build == Build::Release {
        arguments.push("--release");
    }
    run(&mut cargo(arguments))?;
    let folder = match build {
        Build::Development => "debug",
        Build::Release => "release",
    };
    Ok(target().join(folder).join("gridpost"))
}

/// A server that runs, or that was killed and can be started again on the same data and port.
pub(crate) struct Server {
    binary: PathBuf,
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts a server with an empty data folder and waits until it is ready.
    pub(crate) fn start(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a data folder")?;
        let address = free_address()?;
        let child = spawn(binary, folder.path(), address)?;
        let mut server = Self {
            binary: binary.to_path_buf(),
            folder,
            address,
            child,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its log, standard error and output in one.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log.txt")
    }

    /// Ends it with SIGKILL, in the middle of whatever it does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().context("killing the server")?;
        self.child.wait().context("waiting for the killed server")?;
        Ok(())
    }

    /// Starts it again after a kill, and tells how long it took to be ready.
    pub(crate) fn restart(&mut self) -> Result<Duration> {
        let started = clock::now();
        self.child = spawn(&self.binary, self.folder.path(), self.address)?;
        self.wait_until_ready()?;
        Ok(started.elapsed())
    }

    /// What `gridpost env --json` says about it: names and values for a client's environment.
    pub(crate) fn environment(&self) -> Result<Vec<(String, String)>> {
        let mut command = program(&self.binary, ["env", "--json", "--data"]);
        let printed = capture(clean(command.arg(self.data())))?;
        let Value::Object(values) =
            serde_json::from_str(&printed).context("gridpost env --json")?
        else {
            bail!("`gridpost env --json` printed no object");
        };
        let text = |value: Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        Ok(values
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let (address, log, data) = (self.address, self.log(), self.data());
        let process = self.child.id();
        clock::until("the server's start", START, || {
            if let Some(status) = self.child.try_wait()? {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("the server ended at its start ({status}) and said:\n{said}");
            }
            let ready = Client::new(address).send("GET", "/readyz", &[], b"");
            let answers = ready.is_ok_and(|response| response.status() == 200);
            Ok((answers && left_its_note(&data, process)).then_some(()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the note by which commands find a server is that of this process, and not of one that was killed.
fn left_its_note(data: &Path, process: u32) -> bool {
    let note = std::fs::read(data.join("server.json")).unwrap_or_default();
    serde_json::from_slice::<Value>(&note).is_ok_and(|note| note["process"] == process)
}

fn spawn(binary: &Path, folder: &Path, address: SocketAddr) -> Result<Child> {
    ensure!(binary.is_file(), "{} is not built", binary.display());
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("log.txt"))?;
    let mut command = Command::new(binary);
    command
        .args(["serve", "--listen", &address.to_string(), "--data"])
        .arg(folder.join("data"));
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    clean(&mut command)
        .spawn()
        .with_context(|| format!("starting {}", binary.display()))
}

/// The person's own settings are not for this server.
pub(crate) fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GRIDPOST_") {
            command.env_remove(name);
        }
    }
    command
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("finding a free port")?;
    Ok(listener.local_addr()?)
}
