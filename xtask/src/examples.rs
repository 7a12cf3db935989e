//! `cargo xtask examples [NAME]`: the scenario of the mission, as a person would run it.
//!
//! Promise: every folder in `examples/` is run, with the server that was built here and the real `az`; what has become
//! of the text is read from the system on the other side, and has to be the text that was sent.
//! Not here: what an example does; it is told in `examples/`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::{answers, capture, cargo, program, root, run as run_command};
use crate::server::{Build, build, clean};
use crate::{output, tools};

/// What `examples` can be told.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// The name of a folder in `examples/`; all of them if not given
    name: Option<String>,
}

/// Runs the examples; all of them, even when one fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let names = names(arguments.name.as_deref())?;
    let binary = build(Build::Development)?;
    let folder = binary.parent().context("the binary lies in a folder")?;
    tools::python_for_az(&root().join("conformance/az/requirements.txt"))?;
    let mut failed = Vec::new();
    for name in names {
        output::line(&format!("\nexample: {name}"));
        // Another text each time, and one that is not easily copied from hand to hand.
        let text = format!(
            "Where's \"parcel {}\"? <b>50 % & ünpaid</b> \\o/",
            std::process::id()
        );
        let mut command = program(place().join(&name).join("run"), ["--once", &text]);
        clean(&mut command).env("PATH", tools::path_with(folder)?);
        let checked = prepare(&name)
            .and_then(|()| capture(&mut command))
            .and_then(|printed| check(&printed, &text));
        if let Err(error) = checked {
            output::line(&format!("{error:#}"));
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn place() -> PathBuf {
    root().join("examples")
}

/// The examples there are, or the one that is wanted. None can be forgotten: a folder is enough.
fn names(wanted: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(place()).context("reading examples/")? {
        let entry = entry?;
        if entry.path().join("run").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let all = names.join("`, `");
    names.retain(|name| wanted.is_none_or(|wanted| wanted == name));
    ensure!(!names.is_empty(), "there are the examples `{all}`");
    Ok(names)
}

/// What an example needs beside `az`.
fn prepare(name: &str) -> Result<()> {
    match name {
        "database" => tools::system_package("postgresql", &postgresql),
        "push" => {
            tools::system_package("firefox-esr", &firefox)?;
            // Together with the server, so that what both stand on is compiled once.
            let packages = [
                "--package",
                "gridpost",
                "--package",
                "gridpost-example-push",
            ];
            run_command(cargo(["build", "--locked"]).args(packages))
        }
        _ => Ok(()),
    }
}

/// Any Firefox will do; Debian has the one of long support.
fn firefox() -> bool {
    let on_path = |name: &str| answers(&mut program(name, ["--version"]));
    on_path("firefox-esr") || on_path("firefox")
}

/// Where Debian puts the programs of its database server; elsewhere they are on the path.
fn postgresql() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = versions
        .flatten()
        .any(|version| version.path().join("bin/initdb").is_file());
    debian || answers(&mut program("initdb", ["--version"]))
}

/// An example prints what the other system holds, as one JSON object with the text as `message`.
fn check(printed: &str, text: &str) -> Result<()> {
    let held: Value =
        serde_json::from_str(printed).with_context(|| format!("not JSON:\n{printed}"))?;
    ensure!(
        held["message"] == text,
        "the text was `{text}`, and the other system has\n{printed}"
    );
    output::line(printed.trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_that_was_sent_passes() {
        assert!(check(r#"{"message": "Hello", "sender": "1"}"#, "Hello").is_ok());
        for wrong in [r#"{"message": "Hell"}"#, "{}", "", "[]"] {
            assert!(check(wrong, "Hello").is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_folder_with_a_run_is_an_example() {
        assert!(names(None).unwrap().contains(&"database".to_owned()));
        assert_eq!(names(Some("database")).unwrap(), ["database"]);
        let error = names(Some("cobol")).expect_err("there is none");
        assert!(error.to_string().contains("`database`"), "{error}");
    }
}
