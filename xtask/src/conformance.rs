//! `cargo xtask conformance [NAME]`: the unmodified public clients, judged against a real server.
//!
//! Promise: each suite has its own server on a free port with its own data; the clients get its addresses and secrets
//! by environment variables alone, as a person would give them.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{program, root, run as run_command};
use crate::server::{Build, Server, build, clean};
use crate::{output, tools};

/// A suite: its name, and how to run it with a server's environment.
struct Suite {
    name: &'static str,
    /// What the server is configured with, from the root of the repository.
    configuration: Option<&'static str>,
    command: fn(&Arguments) -> Result<Command>,
}

const SUITES: &[Suite] = &[
    Suite {
        name: "python",
        configuration: None,
        command: python,
    },
    Suite {
        name: "javascript",
        configuration: None,
        command: javascript,
    },
    Suite {
        name: "az",
        configuration: Some("conformance/az/gridpost.toml"),
        command: az,
    },
];

/// What `conformance` can be told.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// `python`, `javascript` or `az`; all of them if not given
    name: Option<String>,
    /// Only tests whose name contains this
    #[arg(long)]
    test: Option<String>,
    /// Of `az` only what the gate runs
    #[arg(long)]
    gate: bool,
    /// Use a release build of the server
    #[arg(long)]
    release: bool,
    /// Use this server instead of building one
    #[arg(long, value_name = "FILE", conflicts_with = "release")]
    program: Option<std::path::PathBuf>,
}

impl Arguments {
    /// What the gate runs.
    pub(crate) fn of_gate() -> Self {
        Self {
            gate: true,
            ..Self::default()
        }
    }
}

/// Runs the suites; all of them, even when one fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let wanted = |suite: &&Suite| {
        arguments
            .name
            .as_ref()
            .is_none_or(|name| name == suite.name)
    };
    let suites: Vec<_> = SUITES.iter().filter(wanted).collect();
    ensure!(
        !suites.is_empty(),
        "there are the suites `python`, `javascript` and `az`"
    );
    let binary = match (&arguments.program, arguments.release) {
        (Some(program), _) => program.clone(),
        (None, true) => build(Build::Release)?,
        (None, false) => build(Build::Development)?,
    };
    let mut failed = Vec::new();
    for suite in suites {
        output::line(&format!("\nconformance: {}", suite.name));
        let mut command = (suite.command)(arguments)?;
        let configuration = suite.configuration.map(|file| root().join(file));
        let server = Server::start(&binary, configuration.as_deref())?;
        clean(&mut command).envs(server.environment()?);
        if let Err(error) = run_command(&mut command) {
            output::line(&format!("{error:#}"));
            output::line(&tail(&server.log()));
            failed.push(suite.name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn python(arguments: &Arguments) -> Result<Command> {
    let sources = root().join("conformance/python");
    let interpreter = tools::python(&sources.join("requirements.txt"))?;
    Ok(pytest(&interpreter, &sources, arguments))
}

/// `az` demands other versions of the packages that the Python suite tests.
fn az(arguments: &Arguments) -> Result<Command> {
    let sources = root().join("conformance/az");
    let interpreter = tools::python_for_az(&sources.join("requirements.txt"))?;
    let mut command = pytest(&interpreter, &sources, arguments);
    if arguments.gate {
        command.args(["-m", "gate"]);
    }
    Ok(command)
}

fn pytest(interpreter: &Path, sources: &Path, arguments: &Arguments) -> Command {
    let mut command = program(interpreter, ["-B", "-m", "pytest"]);
    command
        .current_dir(sources)
        .args(["-q", "-p", "no:cacheprovider"]);
    if let Some(filter) = &arguments.test {
        command.args(["-k", filter]);
    }
    command
}

fn javascript(arguments: &Arguments) -> Result<Command> {
    let place = tools::node(&root().join("conformance/javascript"))?;
    // Node.js 20 keeps `WebSocket` behind a flag; later ones ignore it.
    let mut command = program(
        "node",
        ["--experimental-websocket", "--test", "--test-reporter=spec"],
    );
    command.current_dir(&place);
    if let Some(filter) = &arguments.test {
        command.arg(format!("--test-name-pattern={filter}"));
    }
    let mut files: Vec<_> = std::fs::read_dir(&place)?
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    files.retain(|name| name.to_string_lossy().ends_with(".test.js"));
    files.sort();
    command.args(files);
    Ok(command)
}

/// The end of a server's log, for a failure's report.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let from = lines.len().saturating_sub(60);
    format!("the end of the server's log:\n{}", lines[from..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_carries_the_end_of_the_log() {
        let log = (0..100).map(|n| format!("line {n}\n")).collect::<String>();
        let tail = tail(&log);
        assert!(
            tail.ends_with("line 99") && tail.contains("line 40\n") && !tail.contains("line 39\n")
        );
    }

    #[test]
    fn an_unknown_suite_is_refused() {
        let arguments = Arguments {
            name: Some("cobol".to_owned()),
            ..Arguments::default()
        };
        assert!(run(&arguments).is_err());
    }
}
