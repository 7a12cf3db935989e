//! To come: settle.
