//! Gridpost: api.
