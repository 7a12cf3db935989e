//! To come: retry.
