//! `cargo xtask crash`: a server killed again and again, and an external ledger of what it acknowledged.
//!
//! Not here: the test itself, `gridpost crash-test`; a short form of it is among the server's own tests.

use anyhow::Result;

use crate::command::{program, run as run_command};
use crate::server::{Build, build, clean};

/// What `crash` can be told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often the server is killed
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Use a development build of the server, which is slower and checks more
    #[arg(long)]
    dev: bool,
    /// Further arguments for `gridpost crash-test`, such as --seed N
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<String>,
}

/// Builds the server and runs the test.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = build(if arguments.dev {
        Build::Development
    } else {
        Build::Release
    })?;
    let mut test = program(binary, ["crash-test", "--kills"]);
    run_command(clean(
        test.arg(arguments.kills.to_string()).args(&arguments.more),
    ))
}
