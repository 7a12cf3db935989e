//! A Gridpost server of our own: a binary we built, a free port, a temporary data folder.
//!
//! Promise: it is ended with the value, by its own process id, and its folder goes with it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{capture, cargo, program, run, target};

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

/// A server that runs.
pub(crate) struct Server {
    binary: PathBuf,
    folder: TempDir,
    child: Child,
}

impl Server {
    /// Starts a server with an empty data folder, and with a configuration file if need be; waits until it is ready.
    pub(crate) fn start(binary: &Path, configuration: Option<&Path>) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a data folder")?;
        let mut command = Command::new(binary);
        command.args([
            "serve",
            "--output",
            "json",
            "--listen",
            "127.0.0.1:0",
            "--data",
        ]);
        command
            .arg(data(&folder))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(file) = configuration {
            command.arg("--config").arg(file);
        }
        command.stderr(File::create(log(&folder))?);
        let starting = clean(&mut command).spawn();
        let child = starting.with_context(|| format!("starting {}", binary.display()))?;
        let mut server = Self {
            binary: binary.to_path_buf(),
            folder,
            child,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log(&self.folder)).unwrap_or_default()
    }

    /// What `gridpost env --az` says about it: names and values for a client's environment.
    pub(crate) fn environment(&self) -> Result<Vec<(String, String)>> {
        // What `az` needs is harmless to the others.
        let mut command = program(&self.binary, ["env", "--az", "--output", "json", "--data"]);
        let printed = capture(clean(command.arg(data(&self.folder))))?;
        let values: Value =
            serde_json::from_str(&printed).context("gridpost env --az --output json")?;
        let pairs = values
            .as_object()
            .context("`gridpost env` printed no object")?;
        let text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        Ok(pairs
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect())
    }

    /// Its first line says that it is ready; the end of its output, that it never will be.
    fn wait_until_ready(&mut self) -> Result<()> {
        let output = self
            .child
            .stdout
            .take()
            .context("the server's output is ours")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if said["ready"] != true {
            bail!(
                "the server did not get ready and said:\n{line}{}",
                self.log()
            );
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

fn log(folder: &TempDir) -> PathBuf {
    folder.path().join("log.txt")
}
