//! What a person sees.
//!
//! Promise: the only place that prints; standard output is flushed line by line, so it keeps its order with the tools
//! we run.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this module is the output"
)]

use std::io::Write as _;

/// Prints a line.
pub(crate) fn line(text: &str) {
    println!("{text}");
    // A closed pipe is no reason to stop checking.
    let _ = std::io::stdout().flush();
}

/// Prints the heading of a step.
pub(crate) fn heading(text: &str) {
    line(&format!("\n=== {text} ==="));
}

/// Prints a problem on standard error.
pub(crate) fn error(text: &str) {
    eprintln!("error: {text}");
}
