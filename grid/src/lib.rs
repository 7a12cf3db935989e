//! Gridpost: grid.
