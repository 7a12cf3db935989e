//! `cargo xtask bench`: `gridpost bench` in an optimised build.
//!
//! Not here: what is measured and how (`gridpost bench`, docs/performance.md).

use anyhow::Result;

use crate::command::{self, program};
use crate::server::{Build, build, clean};

/// What is passed on.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments for `gridpost bench`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds and runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = build(Build::Release)?;
    let mut bench = program(binary, ["bench"]);
    command::run(clean(bench.args(&arguments.arguments)))
}
