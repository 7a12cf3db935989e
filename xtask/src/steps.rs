//! A list of named steps, run one after the other.
//!
//! Promise: a failing step does not hide the ones after it; the end is a table of all of them and one line that counts.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{clock, output};

/// One step of a run.
pub(crate) struct Step {
    /// The word it is called by on the command line.
    pub(crate) name: &'static str,
    /// What it checks, in a few words.
    pub(crate) about: &'static str,
    /// Does it.
    pub(crate) run: fn() -> Result<()>,
}

struct Finished {
    name: &'static str,
    took: Duration,
    error: Option<String>,
}

/// Runs the steps and prints the table; an error if any failed.
pub(crate) fn run(steps: &[&Step]) -> Result<()> {
    let finished: Vec<Finished> = steps.iter().map(|step| run_one(step)).collect();
    output::heading("summary");
    output::line(&table(&finished));
    let failed = finished.iter().filter(|step| step.error.is_some()).count();
    output::line(&format!(
        "{} passed, {failed} failed",
        finished.len() - failed
    ));
    if failed > 0 {
        bail!("{failed} of {} steps failed", finished.len());
    }
    Ok(())
}

fn run_one(step: &Step) -> Finished {
    output::heading(&format!("{}: {}", step.name, step.about));
    let started = clock::now();
    let error = (step.run)().err().map(|error| format!("{error:#}"));
    let took = started.elapsed();
    match &error {
        None => output::line(&format!("{} passed in {}", step.name, seconds(took))),
        Some(error) => output::line(&format!(
            "{} FAILED in {}: {error}",
            step.name,
            seconds(took)
        )),
    }
    Finished {
        name: step.name,
        took,
        error,
    }
}

fn table(finished: &[Finished]) -> String {
    let width = finished
        .iter()
        .map(|step| step.name.len())
        .max()
        .unwrap_or(0);
    let mut table = String::new();
    for Finished { name, took, error } in finished {
        let result = if error.is_none() { "passed" } else { "FAILED" };
        let _ = writeln!(table, "{name:<width$}  {result}  {:>8}", seconds(*took));
        if let Some(error) = error {
            let _ = writeln!(
                table,
                "{:<width$}  {}",
                "",
                error.lines().next().unwrap_or_default()
            );
        }
    }
    let total: Duration = finished.iter().map(|step| step.took).sum();
    let _ = write!(table, "{:<width$}          {:>8}", "all", seconds(total));
    table
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Step = Step {
        name: "good",
        about: "passes",
        run: || Ok(()),
    };
    const BAD: Step = Step {
        name: "bad",
        about: "fails",
        run: || bail!("no luck"),
    };

    #[test]
    fn one_failing_step_fails_the_run_and_the_others_still_run() {
        let error = run(&[&BAD, &GOOD]).expect_err("one failed");
        assert_eq!(error.to_string(), "1 of 2 steps failed");
        assert!(run(&[&GOOD]).is_ok());
    }

    #[test]
    fn the_table_names_every_step_with_its_result() {
        let finished = [run_one(&GOOD), run_one(&BAD)];
        let table = table(&finished);
        let first_words = |line: &str| {
            line.split_whitespace()
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let lines: Vec<_> = table.lines().map(first_words).collect();
        assert_eq!(lines, ["good passed", "bad FAILED", "no luck", "all 0.0"]);
    }
}
