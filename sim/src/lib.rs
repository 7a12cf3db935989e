//! Gridpost: sim.
