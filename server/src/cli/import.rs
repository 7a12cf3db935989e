//! `gridpost import`: a simulator's configuration as a file of resources.

use std::path::PathBuf;

use serde_json::json;

use crate::declare::imported;
use crate::output::{Exit, Failure, Format, Output, print};

/// Which file.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The appsettings.json of AzureEventGridSimulator or of the Workleap Event Grid emulator
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let file = arguments.from.display();
    let wrong = |why: String| Failure::said(Exit::Usage, format!("cannot import {file}: {why}"));
    let text =
        std::fs::read_to_string(&arguments.from).map_err(|error| wrong(error.to_string()))?;
    let imported = imported::import(&text).map_err(wrong)?;
    match output.format() {
        Format::Human => print(&imported),
        Format::Json => output.result(&json!({ "toml": imported }), |_| String::new()),
    }
    Ok(())
}
