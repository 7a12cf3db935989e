//! Gridpost: comms.
