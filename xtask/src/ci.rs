//! `cargo xtask ci`: everything the gate runs.
//!
//! Promise: what passes here passes there. Cheap checks come first, and each can be run alone with `--only`.

use anyhow::{Result, ensure};

use crate::command::{cargo, run as run_command};
use crate::steps::Step;
use crate::tools::{self, Tool};
use crate::{conformance, demo, examples, handlers, output, steps, tidy};

const STEPS: &[Step] = &[
    Step {
        name: "format",
        about: "cargo fmt --check",
        run: format,
    },
    Step {
        name: "tidy",
        about: "layering, headings, links, generated pages",
        run: tidy::run,
    },
    Step {
        name: "dependencies",
        about: "licences, duplicates and sources",
        run: dependencies,
    },
    Step {
        name: "lints",
        about: "clippy on everything, warnings are errors",
        run: lints,
    },
    Step {
        name: "documentation",
        about: "rustdoc, warnings are errors",
        run: documentation,
    },
    Step {
        name: "tests",
        about: "unit, property and whole-server tests",
        run: tests,
    },
    Step {
        name: "build",
        about: "the binary the next steps use",
        run: build,
    },
    Step {
        name: "demo",
        about: "gridpost demo --once delivers an SMSReceived",
        run: demo::run,
    },
    Step {
        name: "conformance",
        about: "the unmodified public clients",
        run: conformance,
    },
    Step {
        name: "examples",
        about: "az subscribes, a handset texts, and a webhook changes something elsewhere",
        run: every_example,
    },
    Step {
        name: "handlers",
        about: "queues and blobs of a real storage service, stopped and started meanwhile",
        run: handlers,
    },
];

/// What `ci` can be told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only these steps
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Leave these steps out
    #[arg(long, value_delimiter = ',')]
    skip: Vec<String>,
    /// List the steps and stop
    #[arg(long)]
    list: bool,
}

/// Runs the steps.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for step in STEPS {
            output::line(&format!("{:<14} {}", step.name, step.about));
        }
        return Ok(());
    }
    steps::run(&choose(&arguments.only, &arguments.skip)?)
}

fn choose(only: &[String], skip: &[String]) -> Result<Vec<&'static Step>> {
    for name in only.iter().chain(skip) {
        let known = STEPS.iter().any(|step| step.name == name);
        ensure!(
            known,
            "there is no step `{name}`; `cargo xtask ci --list` names them"
        );
    }
    let wanted = |step: &&Step| {
        let named = |names: &[String]| names.iter().any(|name| name == step.name);
        (only.is_empty() || named(only)) && !named(skip)
    };
    Ok(STEPS.iter().filter(wanted).collect())
}

fn format() -> Result<()> {
    run_command(&mut cargo(["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    run_command(&mut cargo(arguments))
}

fn documentation() -> Result<()> {
    let mut doc = cargo(["doc", "--workspace", "--no-deps", "--locked"]);
    run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn tests() -> Result<()> {
    match tools::cargo_tool(Tool::Nextest) {
        Ok(mut nextest) => {
            run_command(nextest.args(["nextest", "run", "--workspace", "--locked"]))?;
        }
        Err(error) => {
            output::line(&format!(
                "cargo-nextest is not to be had, using `cargo test`: {error:#}"
            ));
            run_command(&mut cargo([
                "test",
                "--workspace",
                "--locked",
                "--all-targets",
            ]))?;
        }
    }
    // Examples in documentation; nextest does not run them.
    run_command(&mut cargo([
        "test",
        "--workspace",
        "--locked",
        "--doc",
        "--quiet",
    ]))
}

fn dependencies() -> Result<()> {
    output::line("security advisories are not checked here: their database is not in any registry");
    let mut deny = tools::cargo_tool(Tool::Deny)?;
    run_command(deny.args([
        "deny", "check", "-D", "warnings", "bans", "licenses", "sources",
    ]))
}

fn build() -> Result<()> {
    run_command(&mut cargo(["build", "--package", "gridpost", "--locked"]))
}

fn conformance() -> Result<()> {
    // All of `az` takes minutes: `cargo xtask conformance az`.
    conformance::run(&conformance::Arguments::of_gate())
}

fn every_example() -> Result<()> {
    examples::run(&examples::Arguments::default())
}

fn handlers() -> Result<()> {
    handlers::run(&handlers::Arguments::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &[&Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn all_steps_run_unless_told_otherwise() {
        assert_eq!(choose(&[], &[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn steps_are_chosen_by_name_and_keep_their_order() {
        let only = ["tidy".to_owned(), "format".to_owned()];
        assert_eq!(names(&choose(&only, &[]).unwrap()), ["format", "tidy"]);
        assert_eq!(
            names(&choose(&only, &["tidy".to_owned()]).unwrap()),
            ["format"]
        );
    }

    #[test]
    fn an_unknown_step_is_refused_rather_than_skipped() {
        assert!(choose(&["tests-typo".to_owned()], &[]).is_err());
    }
}
