//! `cargo xtask fuzz`: each fuzz target for a while, and what it found.
//!
//! Promise: what is needed is said first, and its lack is an error that tells how to get it. A finding of one target
//! does not hide the others; the end is a table, and an error when anything was found.
//! Not here: what the targets try (`fuzzing` in the crates), their seeds (`fuzz/seeds`), which a plain test run tries.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{answers, program, root, run as run_command};
use crate::output;

const TARGETS: &[&str] = &[
    "resource_ids",
    "filters",
    "events",
    "sas_tokens",
    "publish_bodies",
    "journal",
];

/// What makes the compiler count where an input goes, as the fuzzer wants it.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// What `fuzz` can be told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// How many targets run at once
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Only these targets
    targets: Vec<String>,
}

/// Builds the targets, runs them and prints the table.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let targets = choose(&arguments.targets)?;
    output::line(&format!(
        "fuzzing needs a nightly compiler, which nothing else here does, and a C++ compiler; it takes {} s for each of {}",
        arguments.seconds,
        targets.join(", ")
    ));
    ensure!(
        answers(&mut nightly(["rustc", "--version"])),
        "there is no nightly compiler; `rustup toolchain install nightly --profile minimal` brings it"
    );
    let host = host()?;
    let mut build = nightly(["cargo", "build", "--release", "--bins", "--target", &host]);
    run_command(build.current_dir(folder()).env("RUSTFLAGS", COVERAGE))?;

    let mut finished = Vec::new();
    for together in targets.chunks(arguments.jobs.max(1)) {
        let started: Result<Vec<Run>> = together
            .iter()
            .map(|target| Run::start(target, &host, arguments.seconds))
            .collect();
        for run in started? {
            finished.push(run.finish()?);
        }
    }
    output::heading("fuzzing");
    output::line(&table(&finished));
    let found = finished.iter().filter(|one| one.finding.is_some()).count();
    if found > 0 {
        bail!("{found} of {} targets found something", finished.len());
    }
    Ok(())
}

fn choose(named: &[String]) -> Result<Vec<&'static str>> {
    for name in named {
        ensure!(
            TARGETS.contains(&name.as_str()),
            "there is no target `{name}`; there are {}",
            TARGETS.join(", ")
        );
    }
    let wanted = |target: &&&str| named.is_empty() || named.iter().any(|name| name == **target);
    Ok(TARGETS.iter().filter(wanted).copied().collect())
}

/// A program of the nightly toolchain, whichever is pinned here.
fn nightly<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = program("rustup", ["run", "nightly"]);
    command.args(words);
    command
}

/// The name of this machine. Cargo leaves build scripts alone when the target is named, and they must not be counted.
fn host() -> Result<String> {
    let text = crate::command::capture(&mut nightly(["rustc", "-vV"]))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .context("the compiler names no host")
}

fn folder() -> PathBuf {
    root().join("fuzz")
}

/// One target at work.
struct Run {
    target: &'static str,
    child: Child,
    log: PathBuf,
}

impl Run {
    fn start(target: &'static str, host: &str, seconds: u32) -> Result<Self> {
        let folder = folder();
        let (corpus, artifacts) = (
            folder.join("corpus").join(target),
            folder.join("artifacts").join(target),
        );
        for made in [&corpus, &artifacts] {
            fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
        }
        let log = artifacts.join("log.txt");
        output::line(&format!("{target} runs; it tells {}", log.display()));
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let binary = folder
            .join("target")
            .join(host)
            .join("release")
            .join(target);
        let mut command = program(binary, [&corpus, &folder.join("seeds").join(target)]);
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"]);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {target}"))?;
        Ok(Self { target, child, log })
    }

    fn finish(mut self) -> Result<Finished> {
        let status = self.child.wait().context("waiting for the fuzzer")?;
        let log = fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        let log = String::from_utf8_lossy(&log);
        let finding = (!status.success()).then(|| finding(&log, &self.log));
        Ok(Finished {
            target: self.target,
            executions: executions(&log),
            finding,
        })
    }
}

/// What one target did.
struct Finished {
    target: &'static str,
    executions: u64,
    finding: Option<String>,
}

/// From the fuzzer's last words; one that was ended by a finding says it too.
fn executions(log: &str) -> u64 {
    log.lines()
        .filter_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

/// The input that was found, or where to read on.
fn finding(log: &str, place: &Path) -> String {
    let written = "Test unit written to ";
    log.lines()
        .find_map(|line| line.split_once(written))
        .map_or_else(
            || place.display().to_string(),
            |(_, input)| input.to_owned(),
        )
}

fn table(finished: &[Finished]) -> String {
    let line = |one: &Finished| {
        let finding = one.finding.as_deref().unwrap_or("none");
        format!("{:<16}  {:>12}  {finding}", one.target, one.executions)
    };
    let head = format!("{:<16}  {:>12}  finding", "target", "executions");
    let lines = std::iter::once(head).chain(finished.iter().map(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program_and_seeds() {
        for target in TARGETS {
            let program = folder().join("targets").join(format!("{target}.rs"));
            assert!(program.is_file(), "{}", program.display());
            let seeds = fs::read_dir(folder().join("seeds").join(target)).unwrap();
            assert!(seeds.count() > 0, "{target} has no seeds");
        }
        let programs = fs::read_dir(folder().join("targets")).unwrap();
        assert_eq!(programs.count(), TARGETS.len());
    }

    #[test]
    fn an_unknown_target_is_refused_rather_than_skipped() {
        assert_eq!(choose(&[]).unwrap(), TARGETS);
        assert_eq!(choose(&["journal".to_owned()]).unwrap(), ["journal"]);
        assert!(choose(&["jurnal".to_owned()]).is_err());
    }

    #[test]
    fn a_finding_is_named_beside_the_number_of_executions() {
        let log = "artifact_prefix='/a/'; Test unit written to /a/crash-1\n\
                   stat::number_of_executed_units: 4711\n";
        let place = Path::new("/a/log.txt");
        assert_eq!(executions(log), 4711);
        assert_eq!(finding(log, place), "/a/crash-1");
        assert_eq!(finding("killed", place), "/a/log.txt");
        let finished = Finished {
            target: "journal",
            executions: 4711,
            finding: Some("/a/crash-1".to_owned()),
        };
        let table = table(&[finished]);
        assert!(
            table.ends_with("journal                   4711  /a/crash-1"),
            "{table}"
        );
    }
}
