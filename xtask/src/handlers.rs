//! `cargo xtask handlers`: destinations beside webhooks, against the real thing.
//!
//! Promise: the peers are installed under `target/xtask`, saying so first; the tests start them on free ports, stop
//! them, start them again and end them. Not one of these tests is passed over: they are those that a plain test run
//! names as ignored.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{cargo, root, run as run_command};
use crate::tools::{self, Tool};

/// What `handlers` can be told.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Deliver 10,000 events in the tests that stop and start a peer; 1,000 otherwise
    #[arg(long)]
    long: bool,
    /// Only tests whose name contains this
    #[arg(long)]
    test: Option<String>,
}

/// Installs the peers and runs the tests.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let azurite = azurite()?;
    let python = tools::python(&root().join("conformance/rabbitmq/requirements.txt"))?;
    let mut command = tests(arguments.test.as_deref());
    command.env("GRIDPOST_TEST_AZURITE", azurite);
    command.env("GRIDPOST_TEST_RABBITMQ", rabbitmq()?);
    command.env("GRIDPOST_TEST_PYTHON", python);
    let events = if arguments.long { "10000" } else { "1000" };
    command.env("GRIDPOST_TEST_EVENTS", events);
    run_command(&mut command)
}

/// The program of the storage service, installed.
fn azurite() -> Result<PathBuf> {
    let place = tools::node(&root().join("conformance/azurite"))?;
    let program = place.join("node_modules/azurite/dist/src/azurite.js");
    ensure!(
        program.is_file(),
        "{} is not there although its package is installed",
        program.display()
    );
    Ok(program)
}

/// The program of the message broker. It comes from the system's packages; the tests start it with a name, ports and
/// folders of their own, so one that runs already is left alone.
fn rabbitmq() -> Result<PathBuf> {
    let program = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
    tools::system_package("rabbitmq-server", &|| program.is_file())?;
    ensure!(
        program.is_file(),
        "{} is not there: install RabbitMQ (Debian: rabbitmq-server)",
        program.display()
    );
    Ok(program)
}

fn tests(filter: Option<&str>) -> Command {
    let target = [
        "--package=gridpost-grid",
        "--test=handlers",
        // The schedule of a whole day, with its blob at the end.
        "--package=gridpost",
        "--test=it",
        "--locked",
    ];
    match tools::cargo_tool(Tool::Nextest) {
        Ok(mut nextest) => {
            nextest.args(["nextest", "run"]).args(target);
            nextest.args(["--run-ignored", "only"]).args(filter);
            // What took how long is said by the tests themselves.
            nextest.args(["--success-output", "final"]);
            nextest
        }
        Err(_) => {
            let mut test = cargo(["test"]);
            test.args(target).args(filter);
            test.args(["--", "--ignored", "--nocapture"]);
            test
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_that_need_a_peer_are_the_ones_that_are_run() {
        let words: Vec<_> = tests(Some("queue"))
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let line = words.join(" ");
        assert!(line.contains("ignored") && line.contains("queue"), "{line}");
    }
}
