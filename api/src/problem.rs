//! How each surface says no.
//!
//! Promise: below this crate nobody chooses a status; here, in one place, domain errors become the exact status and
//! body of the surface that was asked.
