//! Long polls.

use std::time::Duration;

use super::problem::Problem;

/// How long a long poll lasts at most: proxies and clients give up soon after.
const LIMIT: Duration = Duration::from_secs(120);

/// How long a long poll lasts when nobody says.
const USUAL: Duration = Duration::from_secs(30);

/// How long to wait.
///
/// # Errors
/// Longer than anybody should.
pub(super) fn timeout(asked_seconds: Option<u64>) -> Result<Duration, Problem> {
    let timeout = asked_seconds.map_or(USUAL, Duration::from_secs);
    if timeout <= LIMIT {
        Ok(timeout)
    } else {
        Err(Problem::bad_request(
            "'timeoutSeconds' must be at most 120.",
        ))
    }
}
