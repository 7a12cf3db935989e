//! Resources as they should be, written in a file.
//!
//! Promise: what the file names becomes as the file says, by calls that any client could make; a second time nothing is
//! written. What the file does not name is left alone, and a secret that it does not tell stays as it is.
//!
//! In order: `names` (what may be written), `document` (the file read), `present` (what is there), `plan` (the
//! difference), `latest` (read again with its tag what will be changed), `carry_out` (the calls), `hosts` (which
//! endpoints answer), `written` (a file made of what is there), and `imported` (a file made of a simulator's).

use crate::client::Client;
use crate::credentials::{RESOURCE_GROUP, SUBSCRIPTION};
use crate::output::{Exit, Failure, Output};
use crate::session::Session;

mod bodies;
mod carry_out;
pub mod document;
pub mod endpoint;
mod hosts;
pub mod imported;
mod latest;
mod names;
mod plan;
mod present;
mod same;
pub mod written;

pub(crate) use bodies::put;
pub use carry_out::Report;
use document::Document;
use present::Present;

/// How many calls are made at once. More would only wait for each other at the server.
const AT_ONCE: usize = 16;

/// Whether resources are changed, or only compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Only say what would change.
    Plan,
    /// Change it.
    Whole,
}

/// Makes everything as the document says.
///
/// # Errors
/// The server is not there, or what is there cannot be read. What it refuses of the document stands in the report.
pub async fn apply(
    client: &Client,
    document: Document,
    extent: Extent,
    output: Output,
) -> Result<Report, Failure> {
    let session = Session::open(client).await?;
    let present = Present::of(&session, &document).await?;
    if let Some((entry, before)) = plan::twin(&document.entries, &present) {
        let (line, label) = (entry.line, &entry.label);
        let words =
            format!("line {line}: `{label}` is the same resource as the one in line {before}");
        return Err(Failure::said(Exit::Usage, words));
    }
    let steps = plan::plan(document.entries, &present);
    Ok(match extent {
        Extent::Plan => Report::of_plan(steps),
        Extent::Whole => {
            let steps = latest::read_again(&session, steps).await?;
            carry_out::carry_out(&session, steps, output).await
        }
    })
}

/// A file of what is there: one resource group, or all of them.
///
/// # Errors
/// The server is not there, or does not let us read.
pub async fn export(client: &Client, group: Option<&str>) -> Result<String, Failure> {
    let session = Session::open(client).await?;
    let groups = match group {
        Some(name) => vec![group_id(name)],
        None => present::groups(&session).await?,
    };
    let present = Present::of_groups(&session, &groups).await?;
    let home = match group {
        Some(name) => group_id(name),
        None => RESOURCE_GROUP.to_owned(),
    };
    Ok(written::text(&present, &home))
}

/// The id of a resource group by its name.
fn group_id(name: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}")
}
