//! `gridpost config`: every setting, its default and what it is for.

use crate::config::DEFAULTS;
use crate::output;

/// Prints the documented defaults, which are a valid configuration file.
pub(super) fn run() {
    output::print(DEFAULTS);
}
