//! Gridpost: store.
