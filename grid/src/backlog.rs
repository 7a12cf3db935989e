//! To come: backlog.
