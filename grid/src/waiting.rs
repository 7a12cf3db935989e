//! To come: waiting.
