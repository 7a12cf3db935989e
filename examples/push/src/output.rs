//! What the program says to the person who started it.
//!
//! Promise: one line per happening, on standard output. No text of a message and no address of a browser is in it: the
//! address is all that somebody needs to push to that browser.

#![expect(clippy::print_stdout, reason = "this is the module that prints")]

/// Prints one line.
pub(crate) fn line(text: &str) {
    println!("{text}");
}
