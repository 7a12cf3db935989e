//! The product as a client sees it.
