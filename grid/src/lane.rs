//! To come: lane.
