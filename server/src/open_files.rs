//! How many files and sockets the process may have open.
//!
//! Promise: the process may have open what the system grants at all, and connections from outside leave some of it for
//! the store and for deliveries: a client that only connects cannot keep the journal from its next segment.
//! Not here: accepting connections (`listener`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The files that the store has open: segments of the journal within the usual retention, and its tables.
const STORE_FILES: u64 = 64;

/// Raises the limit of open files as far as it goes, and returns how many connections fit under it: what is
/// configured, or fewer, which is said in the log.
pub fn fit(max_connections: usize) -> usize {
    let limit = raise();
    let fitting = fitting(limit, max_connections);
    if fitting < max_connections {
        tracing::warn!(
            "listener.max_connections is {max_connections}, but the limit of open files is {}: {fitting} connections are served at once (raise it with ulimit -n or LimitNOFILE)",
            limit.unwrap_or_default()
        );
    }
    fitting
}

/// The limit from now on; `None` when there is none.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let before = current?;
    if maximum == current {
        return current;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => {
            let now = maximum.map_or_else(|| "none".to_owned(), |most| most.to_string());
            tracing::debug!("the limit of open files was raised from {before} to {now}");
            maximum
        }
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays at {before}: {error}");
            current
        }
    }
}

/// A quarter, and what the store needs, are kept; of very few files half.
fn fitting(limit: Option<u64>, max_connections: usize) -> usize {
    let Some(limit) = limit else {
        return max_connections;
    };
    let kept = (limit / 4).max(STORE_FILES).min(limit / 2);
    let room = usize::try_from(limit - kept).unwrap_or(usize::MAX);
    max_connections.min(room).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_store() {
        let table = [
            (None, 4096),
            (Some(1_048_576), 4096),
            (Some(20_000), 4096),
            (Some(1024), 768),
            (Some(200), 136),
            (Some(64), 32),
            (Some(0), 1),
        ];
        for (limit, connections) in table {
            assert_eq!(fitting(limit, 4096), connections, "{limit:?}");
        }
        assert_eq!(fitting(Some(1024), 10), 10);
    }

    #[test]
    fn the_limit_is_as_high_as_the_system_lets_it_be() {
        let limit = raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(limit, now.maximum);
        assert_eq!(now.current, now.maximum);
    }
}
