//! Reading what will be changed once more, with its tag, so that a change counts only while it is as it was read.
//!
//! Promise: one call for each resource that will be changed, none for the others.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::AT_ONCE;
use super::plan::{Action, Step, planned};
use super::present::keep_secrets;
use crate::output::Failure;
use crate::session::Session;

/// The same steps by what is there now.
///
/// # Errors
/// The server is not there, or does not let us read.
pub(super) async fn read_again(
    session: &Session<'_>,
    steps: Vec<Step>,
) -> Result<Vec<Step>, Failure> {
    stream::iter(steps)
        .map(|step| again(session, step))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn again(session: &Session<'_>, step: Step) -> Result<Step, Failure> {
    let (Action::Change(_), Some(before)) = (&step.action, &step.present) else {
        return Ok(step);
    };
    let found = session.find_tagged(&step.entry.id).await?;
    let (now, tag) = match found {
        None => (None, None),
        Some((mut now, tag)) => {
            keep_secrets(before, &mut now);
            (Some(now), tag)
        }
    };
    Ok(Step {
        tag,
        ..planned(step.entry, now, step.usual_schema)
    })
}
