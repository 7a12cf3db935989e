//! What was measured, for people and for programs.

use std::fmt::{self, Write as _};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Everything one run measured.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The machine, as far as figures depend on it.
    pub(super) machine: Machine,
    /// Throughput and latency, a row a case.
    pub(super) rows: Vec<Row>,
    /// The figures that have a goal.
    pub(super) goals: Vec<Goal>,
    /// Groups that could not be measured, and why.
    pub(super) failures: Vec<String>,
}

/// What the figures depend on.
#[derive(Debug, Default, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) kernel: String,
    pub(super) version: &'static str,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) case: String,
    pub(super) concurrency: usize,
    pub(super) events_a_request: usize,
    pub(super) accepted_per_second: f64,
    pub(super) delivered_per_second: f64,
    /// Publisher's view: request to answer.
    pub(super) publish: Latency,
    /// Publish to webhook.
    pub(super) delivery: Latency,
    /// The server's processor time, publisher and endpoint not counted.
    pub(super) cpu_us_per_event: f64,
    pub(super) peak_memory_mb: f64,
    /// Bytes sent to the block layer per byte of event body.
    pub(super) written_per_payload_byte: f64,
    /// Requests that were not answered 2xx.
    pub(super) refused: u64,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(micros: &Histogram<u64>) -> Self {
        let at = |quantile| micros.value_at_quantile(quantile) as f64 / 1_000.0;
        Self {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
        }
    }
}

/// A figure with a goal.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Goal {
    pub(super) name: String,
    pub(super) measured: f64,
    pub(super) floor: f64,
    pub(super) aim: Option<f64>,
    pub(super) unit: &'static str,
    pub(super) better: Better,
}

/// Which side of the floor is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Better {
    Higher,
    Lower,
}

impl Goal {
    fn reaches(&self, bound: f64) -> bool {
        match self.better {
            Better::Higher => self.measured >= bound,
            Better::Lower => self.measured <= bound,
        }
    }

    fn verdict(&self) -> &'static str {
        if self.aim.is_some_and(|aim| self.reaches(aim)) {
            "aim"
        } else if self.reaches(self.floor) {
            "ok"
        } else {
            "MISSED"
        }
    }
}

impl Report {
    /// Whether everything that was asked for could be measured.
    ///
    /// # Errors
    /// What could not, and why.
    pub fn complete(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.failures.is_empty(),
            "not everything could be measured:\n{}",
            self.failures.join("\n")
        );
        Ok(())
    }

    /// Whether every figure reached its floor.
    pub fn reached(&self) -> bool {
        self.goals.iter().all(|goal| goal.verdict() != "MISSED")
    }
}

/// Two tables in Markdown, readable as they are.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!(
            "{} cores, {}, gridpost {}\n\n",
            self.machine.cores, self.machine.kernel, self.machine.version
        );
        text.push_str(
            "| case | c | events a request | accepted/s | delivered/s | publish p50/p99/p99.9 ms | publish to webhook p50/p99/p99.9 ms | CPU us/event | peak MB | written/payload | refused |\n|---|--:|--:|--:|--:|---|---|--:|--:|--:|--:|\n",
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.0} | {:.0} | {} | {} | {:.1} | {:.0} | {:.2} | {} |",
                row.case,
                row.concurrency,
                row.events_a_request,
                row.accepted_per_second,
                row.delivered_per_second,
                row.publish.cell(),
                row.delivery.cell(),
                row.cpu_us_per_event,
                row.peak_memory_mb,
                row.written_per_payload_byte,
                row.refused,
            );
        }
        text.push_str("\n| figure | measured | floor | aim | |\n|---|--:|--:|--:|---|\n");
        for goal in &self.goals {
            let aim = goal.aim.map_or_else(String::new, number);
            let _ = writeln!(
                text,
                "| {} | {} {} | {} | {} | {} |",
                goal.name,
                number(goal.measured),
                goal.unit,
                number(goal.floor),
                aim,
                goal.verdict()
            );
        }
        f.write_str(&text)
    }
}

impl Latency {
    fn cell(&self) -> String {
        format!(
            "{:.2} / {:.2} / {:.2}",
            self.p50_ms, self.p99_ms, self.p999_ms
        )
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 1_000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(measured: f64, better: Better) -> Goal {
        let name = "ratio".to_owned();
        Goal {
            name,
            measured,
            floor: 0.7,
            aim: Some(0.85),
            unit: "",
            better,
        }
    }

    #[test]
    fn a_missed_floor_fails_the_report() {
        let missed = Report {
            goals: vec![goal(0.6, Better::Higher)],
            ..Report::default()
        };
        assert!(!missed.reached());
        assert!(missed.to_string().contains("MISSED"));
    }

    #[test]
    fn lower_is_better_turns_the_comparison() {
        assert_eq!(goal(0.6, Better::Lower).verdict(), "aim");
        assert_eq!(goal(0.6, Better::Higher).verdict(), "MISSED");
    }
}
