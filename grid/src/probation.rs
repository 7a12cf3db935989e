//! To come: probation.
