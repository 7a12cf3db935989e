//! A page in the Prometheus text format.
//!
//! Promise: a metric is written in one piece, with its name, kind and labels as the catalogue has them; values of
//! labels are escaped.
//! Not here: which metrics there are (`super::catalogue`), their values (`super`).

use std::fmt::{Display, Write as _};

use gridpost_grid::metrics::Histogram;

use super::catalogue::Metric;

/// A page being written. Writing into a `String` cannot fail.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
    /// The metrics begun so far, for the test that none is begun twice.
    #[cfg(test)]
    pub(super) begun: Vec<&'static str>,
}

impl Page {
    /// Begins a metric; its samples follow.
    pub(super) fn begin(&mut self, metric: &Metric) {
        #[cfg(test)]
        self.begun.push(metric.name);
        let (name, kind, help) = (metric.name, metric.kind.as_str(), metric.help);
        let _ = write!(self.text, "# HELP {name} {help}");
        if let Some(azure) = metric.azure {
            let _ = write!(self.text, " The service's {azure}.");
        }
        let _ = write!(self.text, "\n# TYPE {name} {kind}\n");
    }

    /// One sample. `labels` are the values of the metric's labels, in order.
    pub(super) fn sample(&mut self, metric: &Metric, labels: &[&str], value: impl Display) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        self.text.push_str(metric.name);
        let close = self.open_labels(metric, labels);
        let close = if close { "}" } else { "" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    /// All samples of one histogram.
    pub(super) fn histogram(&mut self, metric: &Metric, labels: &[&str], histogram: &Histogram) {
        for (bound, count) in histogram.cumulative() {
            let _ = write!(self.text, "{}_bucket", metric.name);
            let separator = if self.open_labels(metric, labels) {
                ','
            } else {
                '{'
            };
            let _ = match bound {
                Some(bound) => write!(self.text, "{separator}le=\"{}\"", bound.as_secs_f64()),
                None => write!(self.text, "{separator}le=\"+Inf\""),
            };
            let _ = writeln!(self.text, "}} {count}");
        }
        let sum = histogram.sum().as_secs_f64();
        for (part, value) in [("sum", sum), ("count", histogram.count() as f64)] {
            let _ = write!(self.text, "{}_{part}", metric.name);
            let close = if self.open_labels(metric, labels) {
                "}"
            } else {
                ""
            };
            let _ = writeln!(self.text, "{close} {value}");
        }
    }

    /// A metric without labels, whole.
    pub(super) fn single(&mut self, metric: &Metric, value: impl Display) {
        self.begin(metric);
        self.sample(metric, &[], value);
    }

    /// Writes the labels without the closing brace. Whether there are any.
    fn open_labels(&mut self, metric: &Metric, values: &[&str]) -> bool {
        for (index, (label, value)) in metric.labels.iter().zip(values).enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"");
            push_escaped(&mut self.text, value);
            self.text.push('"');
        }
        !values.is_empty()
    }
}

fn push_escaped(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Kind;
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let metric = |name, labels| Metric {
            name,
            kind: Kind::Counter,
            labels,
            help: "All of it.",
            azure: (name == "b").then_some("BCount"),
        };
        let mut page = Page::default();
        let labelled = metric("a_total", &["x", "y"]);
        page.begin(&labelled);
        page.sample(&labelled, &["q\"\\\n", "2"], 3);
        page.single(&metric("b", &[]), 1.5);
        assert_eq!(
            page.text,
            "# HELP a_total All of it.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n\",y=\"2\"} 3\n\
             # HELP b All of it. The service's BCount.\n# TYPE b counter\nb 1.5\n"
        );
    }
}
