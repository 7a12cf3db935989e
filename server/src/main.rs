//! Gridpost.

fn main() {}
