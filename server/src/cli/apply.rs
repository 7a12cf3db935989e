//! `gridpost apply` and `gridpost export`: resources as a file, and back.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::naming::segment;
use crate::client::Client;
use crate::config::Config;
use crate::declare::document::Document;
use crate::declare::{self, Extent};
use crate::output::{Exit, Failure, Format, Output, print};

/// Which file, and whether to change anything.
#[derive(clap::Args)]
pub(super) struct Apply {
    /// The file, or - for the standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
}

/// Of what.
#[derive(clap::Args)]
pub(super) struct Export {
    /// Only this resource group
    #[arg(short = 'g', long, value_name = "NAME", value_parser = segment)]
    resource_group: Option<String>,
}

pub(super) async fn apply(
    arguments: &Apply,
    config: &Config,
    output: Output,
) -> Result<(), Failure> {
    let document = read(&arguments.file)?;
    let client = Client::find(config)?;
    let extent = if arguments.dry_run {
        Extent::Plan
    } else {
        Extent::Whole
    };
    let work = declare::apply(&client, document, extent, output);
    let report = output.waiting("for the server", work).await?;
    output.result(&report, declare::Report::told);
    match report.failed.len() {
        0 => Ok(()),
        failed => Err(Failure::said(
            Exit::Refused,
            format!("{failed} could not be applied; see above"),
        )),
    }
}

/// Reads a file of resources.
pub(super) fn read(path: &Path) -> Result<Document, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::said(
            Exit::Usage,
            format!("cannot read {}: {error}", path.display()),
        )
    };
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    } else {
        text = std::fs::read_to_string(path).map_err(unreadable)?;
    }
    Document::read(&path.display().to_string(), &text).map_err(|bad| Failure::new(Exit::Usage, bad))
}

pub(super) async fn export(
    arguments: &Export,
    config: &Config,
    output: Output,
) -> Result<(), Failure> {
    let client = Client::find(config)?;
    let text = declare::export(&client, arguments.resource_group.as_deref()).await?;
    match output.format() {
        Format::Human => print(&text),
        Format::Json => output.result(&json!({ "toml": text }), |_| String::new()),
    }
    Ok(())
}
